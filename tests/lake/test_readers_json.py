"""JSON documents: the array is cut into its elements exactly, wherever it stands and however it is written."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.lake.options import JsonOptions
from caudal.lake.readers import json_arrays
from caudal.lake.readers.json_elements import ElementSplitter
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}
MONEY = {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(38,20)"}
UNDER = {"json": JsonOptions("data.items")}


def test_each_element_of_the_array_is_a_row_and_its_place_is_its_number(contract_of, take):
    written = '\n[ {"a": "x", "n": 1},\n  {"a": "y,]}\\"",\r\n   "n": 2}\t,{"n":3,"a":null}\n]\n'
    taken = take(contract_of("a", NUMBER), "json", written)
    assert taken.rows == [("x", 1), ('y,]}"', 2), (None, 3)]
    assert taken.places == [1, 2, 3]


def test_an_array_without_elements_is_a_file_without_rows(contract_of, take):
    for empty in ("[]", " [ \n ] "):
        assert take(contract_of("a"), "json", empty).result.files[0].rows_read == 0


def test_numbers_are_as_they_are_written_and_what_is_nested_is_json_text(contract_of, take):
    contract = contract_of(MONEY, {"name": "o", "logicalType": "object"}, {"name": "l", "logicalType": "array"})
    taken = take(contract, "json", '[{"m": 0.12345678901234567890, "o": {"b": 1.10,\n "k": [1e2]}, "l": [ ]}]')
    assert [(str(m), o, a) for m, o, a in taken.rows] == [("0.12345678901234567890", '{"b":1.10,"k":[1e2]}', "[]")]


def test_the_array_is_found_under_the_declared_keys(contract_of, take):
    document = {
        "items": [{"a": "no"}],
        "meta": {"data": [[{}], "]}"]},
        "data": {"n": None, "items": [{"a": "yes"}], "end": [1]},
        "z": 1,
    }
    for indent in (None, 2):
        assert take(contract_of("a"), "json", json.dumps(document, indent=indent), **UNDER).rows == [("yes",)]
    keys = {"json": JsonOptions("Einträge")}
    assert take(contract_of("a"), "json", json.dumps({"Einträge": [{"a": "é"}]}), **keys).rows == [("é",)]


REFUSED_PLACES = {
    '{"a": 1}': ("", "is an object; expected an array. Declare where the array stands: `json.records`"),
    '"x"': ("", '`"x"`; expected an array'),
    '[{"a": "x"}]': ("data", "is an array; expected an object"),
    '{"data": [{"a": "x"}]}': ("data.items", "an array stands under the key `data`; expected an object"),
    '{"data": {"items": {}}}': ("data.items", "an object stands under the key `data.items`; expected an array"),
    '{"data": {"items": null}}': ("data.items", "null stands under the key `data.items`; expected an array"),
    '{"data": {"other": []}}': ("data.items", "there is no key `data.items`"),
    '{"data": [{"a": "x"}], "data": []}': ("data", "the key `data` is given more than once"),
}


@pytest.mark.parametrize("written", REFUSED_PLACES)
def test_a_document_without_the_array_in_its_place_is_refused_with_what_stands_there(contract_of, take, written):
    records, told = REFUSED_PLACES[written]
    with pytest.raises(Unreadable) as refused:
        take(contract_of("a"), "json", written, json=JsonOptions(records))
    assert told in str(refused.value)
    assert "lake-file.json" in str(refused.value)


GOOD = '{"data": {"items": [{"a": "x"}, {"a": "y\\\\"}], "more": {"a": []}}}'


@pytest.mark.parametrize("cut", range(1, len(GOOD), 3))
def test_a_document_that_was_not_written_to_its_end_is_refused_wherever_it_ends(contract_of, take, cut):
    with pytest.raises(Unreadable):
        take(contract_of("a"), "json", GOOD[:cut], **UNDER)


@pytest.mark.parametrize(
    "written",
    ['[{"a":"x"},]', '[,{"a":"x"}]', '[{"a":"x"},,{"a":"y"}]', '[{"a":"x"}}', '[{"a":"x"}] x', '[{"a":"x"}][]', '[{"a":"x"}',
     '[{"a":"x]'],
)  # fmt: skip
def test_an_array_that_is_not_well_formed_is_refused(contract_of, take, written):
    with pytest.raises(Unreadable):
        take(contract_of("a"), "json", written)


def test_an_element_that_is_no_row_is_rejected_and_the_others_are_read(contract_of, take):
    elements = [
        '{"a":"x"}',
        "5",
        '{"a" 1}',
        '{"a":"x"} {"a":"y"}',
        '{"a":"new\nline"}',
        '{"a": 1 2}',
        '{"a":"x","a":"y"}',
        '{"a":"z"}',
    ]
    taken = take(contract_of("a"), "json", f"[{', '.join(elements)}]")
    assert taken.rows == [("x",), ("z",)]
    assert taken.places == [1, 8]
    assert [r[0] for r in taken.rejects] == [2, 3, 4, 5, 6, 7]


def test_other_encodings_are_read_as_declared(contract_of, take):
    written = '[{"a": "Zürich €"}]'
    assert take(contract_of("a"), "json", written.encode("cp1252"), encoding="cp1252").rows == [("Zürich €",)]
    assert take(contract_of("a"), "json", written.encode("utf-16"), encoding="utf-16").rows == [("Zürich €",)]
    assert take(contract_of("a"), "json", b"\xef\xbb\xbf" + written.encode()).rows == [("Zürich €",)]
    with pytest.raises(Unreadable, match=r"byte 10: 0xFC is not utf-8 text"):
        take(contract_of("a"), "json", written.encode("latin-1", "replace"))
    with pytest.raises(Unreadable, match=r"byte 8: a NUL byte"):
        take(contract_of("a"), "json", b'[{"a": \0}]')


@pytest.mark.parametrize("file_format", ["json", "jsonl"])
def test_the_encoding_may_be_found_and_is_recorded(contract_of, take, file_format):
    written = {"json": '[{"a": "Zürich €"}]', "jsonl": '{"a": "Zürich €"}\n'}[file_format]
    for encoding in ("utf-8", "cp1252", "utf-16"):
        taken = take(contract_of("a"), file_format, written.encode(encoding), encoding="auto")
        assert (taken.rows, taken.result.files[0].dialect) == ([("Zürich €",)], encoding)


def test_a_long_file_on_one_line_is_read_in_pieces(contract_of, take, monkeypatch):
    monkeypatch.setattr(json_arrays, "_PIECE_BYTES", 61)
    rows = [{"a": f'é{i} \\ " ]}}[{{,', "n": i} for i in range(300)]
    for indent in (None, 1):
        taken = take(
            contract_of("a", NUMBER), "json", json.dumps({"data": {"items": rows}}, indent=indent, ensure_ascii=False), **UNDER
        )
        assert taken.rows == [(r["a"], r["n"]) for r in rows]
        assert taken.places == list(range(1, 301))


def test_an_endless_element_is_refused(contract_of, take, monkeypatch):
    monkeypatch.setattr("caudal.lake.readers.json_elements.MAX_LINE_BYTES", 1000)
    with pytest.raises(Unreadable, match=r"element 2: longer than"):
        take(contract_of("a"), "json", '[{"a":"x"},{"a":"' + "x" * 5000 + '"}]')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\,[]{}\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\,]}', max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    elements=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    size=st.integers(1, 40),
    ascii_only=st.booleans(),
)
def test_the_elements_are_those_of_the_document_however_it_is_written_and_cut(elements, indent, size, ascii_only):
    written = (json.dumps(elements, indent=indent, ensure_ascii=ascii_only) + " tail").encode()
    splitter, found = ElementSplitter("f"), []
    for start in range(1, len(written), size):
        for block in splitter.feed(written[start : start + size]):
            assert block.first_line == len(found) + 1
            found += block.data.decode().split("\n")[:-1]
        if splitter.ended:
            assert (splitter.rest + written[start + size :]).strip() == b"tail"
            break
    assert splitter.ended
    assert [json.loads(line) for line in found] == elements
    assert splitter.count == len(elements)
