"""CSV: what is read, what is rejected with its line, and what is quarantined whole."""

import random

import pytest

from caudal.lake.dataset import CsvOptions
from caudal.lake.readers import csv as csv_reader
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}


@pytest.fixture
def ab(contract_of):
    return contract_of("a", "b")


def reason(take, contract, content, **settings):
    with pytest.raises(Unreadable) as refused:
        take(contract, "csv", content, **settings)
    told = str(refused.value)
    assert told.startswith("t/t/lake-file.csv")
    assert "/tmp" not in told
    return told


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_have_the_number_of_the_line_that_an_editor_shows(ab, take, end):
    taken = take(ab, "csv", end.join(["a,b", "1,2", "", '"x', 'y",3', "4,5"]))
    assert taken.rows == [("1", "2"), (f"x{end}y", "3"), ("4", "5")]
    assert taken.places == [2, 4, 6]


def test_a_byte_order_mark_is_no_part_of_the_first_name(ab, take):
    assert take(ab, "csv", "\ufeffa,b\n1,2\n").rows == [("1", "2")]
    assert take(ab, "csv", "\ufeff1,2\n", csv=CsvOptions(header=False)).rows == [("1", "2")]


def test_an_unquoted_empty_value_is_none_and_a_quoted_one_is_the_empty_text(contract_of, take):
    taken = take(contract_of("a", NUMBER), "csv", 'a,n\n,\n"",""\n"NA",1\nNA,NA\n', csv=CsvOptions(null_markers=("NA",)))
    assert taken.rows == [(None, None), ("", None), ("NA", 1), (None, None)]


def test_a_quoted_null_marker_is_none_where_it_can_mean_nothing_else(contract_of, take):
    taken = take(contract_of("a", NUMBER), "csv", 'a,n\n"-","-"\n', csv=CsvOptions(null_markers=("-",)))
    assert taken.rows == [("-", None)]


def test_blanks_are_kept_in_strings_and_mean_nothing_elsewhere(contract_of, take):
    assert take(contract_of("a", NUMBER), "csv", "a,n\n x , 5 \n").rows == [(" x ", 5)]


FAULTS = [
    ("too few values", "1", "1 values; expected 2"),
    ("too many values", "1,2,3", "3 values; expected 2"),
    ("a delimiter too many", "1,2,", "3 values; expected 2"),
    ("blanks alone", "  ", "1 values; expected 2"),
    ("text after a quote", '"x"y,2', "text after a closing quote"),
    ("a blank after a quote", '"x" ,2', "text after a closing quote"),
    ("a blank before a quote", ' "x",2', "blanks before an opening quote"),
    ("a quote that is not closed", '1,"x', "a quote is opened and never closed"),
    ("a carriage return inside", "1,x\ry", "a carriage return inside the line, outside quotes"),
    ("a backslash for a quote", '"x\\"y",2', "text after a closing quote"),
]


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize(("line", "fault"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_broken_line_is_rejected_with_its_text_and_the_others_are_loaded(ab, take, line, fault, long):
    good = 1_000 if long else 1
    taken = take(ab, "csv", "a,b\n" + "x,y\n" * good + line + "\n" + "x,y\n" * good)
    assert taken.rejects == [(good + 2, None, line, fault)]
    assert taken.rows == [("x", "y")] * good * 2
    assert taken.places == [*range(2, good + 2), *range(good + 3, 2 * good + 3)]


def test_a_quote_inside_a_value_is_text(ab, take):
    assert take(ab, "csv", 'a,b\n5" pipe,x"y"\n"say ""hi""",""""\n').rows == [('5" pipe', 'x"y"'), ('say "hi"', '"')]


def test_a_row_of_several_lines_with_a_wrong_number_of_values_is_rejected_whole(ab, take):
    taken = take(ab, "csv", 'a,b\n"x\ny,z\n"\n1,2\n')
    assert taken.rejects == [(2, None, '"x\ny,z\n"', "1 values; expected 2")]
    assert taken.places == [5]


def test_other_delimiters_and_quotes(ab, take):
    assert take(ab, "csv", "a\tb\n'x\ty'\tz\n", csv=CsvOptions(delimiter="\t", quote="'")).rows == [("x\ty", "z")]
    assert take(ab, "csv", 'a|b\n"x|y\n', csv=CsvOptions(delimiter="|", quote="")).rows == [('"x', "y")]
    assert take(ab, "csv", "a§b\n«x§y«§z\n", csv=CsvOptions(delimiter="§", quote="«")).rows == [("x§y", "z")]


def test_one_column_has_a_row_for_every_line(contract_of, take):
    taken = take(contract_of("a"), "csv", 'a\n1\n\n""\n')
    assert taken.rows == [("1",), (None,), ("",)]
    assert taken.places == [2, 3, 4]


def test_without_a_header_the_columns_are_those_of_the_contract(contract_of, take):
    taken = take(contract_of("a", NUMBER), "csv", "x,1\ny\n", csv=CsvOptions(header=False))
    assert (taken.rows, taken.places) == ([("x", 1)], [1])
    assert taken.rejects == [(2, None, "y", "1 values; expected 2")]


def test_columns_are_found_by_name_in_any_order(ab, take):
    assert take(ab, "csv", " b ,a\n2,1\n").rows == [("1", "2")]


def test_a_header_alone_is_no_row(ab, take):
    for content in ("a,b", "a,b\n", "\n\r\na,b\n\n"):
        taken = take(ab, "csv", content)
        assert (taken.result.part, taken.result.rejects, taken.result.files[0].rows_read) == (None, None, 0)


DRIFT = [
    ("a,c\n1,2\n", "line 1: columns missing: `b`; not in the contract: `c`"),
    ("a\n1\n", "columns missing: `b`. Correct the file, or the contract, or declare `driftPolicy: ignore`"),
    ("a,b,c,\n1,2,3,\n", "columns not in the contract: `c`, (column 4 without a name)"),
    ("A,b\n1,2\n", "`A` differs from `a` only in case"),
    ("a,b,a\n1,2,3\n", "line 1: `a` stands there more than once"),
    ("1,2\n3,4\n", "none of the declared columns is there: is this the header?"),
    ("a;b\n1;2\n", "missing: `a`, `b`; not in the contract: `a;b`"),
    ('a,"b\n1,2\n', "the header cannot be read: a quote is opened and never closed"),
]


@pytest.mark.parametrize(("content", "told"), DRIFT)
def test_other_columns_quarantine_the_file_and_are_named(ab, take, content, told):
    assert told in reason(take, ab, content)


def test_the_policy_ignore_leaves_out_what_is_more_and_fills_what_is_less(contract_of, take):
    contract = contract_of("a", NUMBER, drift="ignore")
    taken = take(contract, "csv", "x,a\n9,1\n8,2\n")
    assert taken.rows == [("1", None), ("2", None)]
    assert tuple(c.name for c in taken.result.undeclared) == ("x",)


def test_the_policy_ignore_does_not_do_without_a_required_column_or_take_another_case_for_another_name(contract_of, take):
    contract = contract_of("a", {"name": "b", "logicalType": "string", "required": True}, drift="ignore")
    assert "columns missing: `b`" in reason(take, contract, "a\n1\n")
    other_case = contract_of("a", "b", drift="ignore")
    assert "`B` differs from `b` only in case" in reason(take, other_case, "a,B\n1,2\n")
    assert "none of the declared columns" in reason(take, contract_of("a", drift="ignore"), "z\n1\n")


CONTENT = [
    (b"", "the file is empty (0 bytes); expected CSV text"),
    (b"\n\n", "there are only empty lines in the file; expected a header"),
    (b"\xef\xbb\xbf", "there are only empty lines"),
    (b"PAR1\x15\x04", "this is a Parquet file, not CSV text"),
    (b"PK\x03\x04\x14\x00", "the zip archive is damaged"),
    (b"\x1f\x8b\x08\x00", "the gzip data are damaged"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "this is an OLE document"),
    (b"\n <!DOCTYPE HTML><html>", "this is an HTML page"),
    (b"%PDF-1.7", "this is a PDF document"),
    (b"SQLite format 3\x00", "this is an SQLite database"),
    (b"a,b\r1,2\r", "its lines end in a carriage return alone"),
    (b"a,b\n1,x\x00y\n", "line 2, byte 4: a NUL byte"),
    ("a,b\n1,2\n".encode("utf-16-le"), "It looks like UTF-16: declare `encoding: utf-16-le`"),
    ("a,b\n1,2\n".encode("utf-16-be"), "declare `encoding: utf-16-be`"),
    ("a,b\n1,2\n".encode("utf-16"), "starts with the byte-order mark of utf-16, but the dataset declares `encoding: utf-8`"),
    ("a,b\n1,2\n1,café au lait\n".encode("cp1252"), "line 3, byte 6: 0xE9 is not utf-8 text"),
    ("a,b\n1,café au lait\n".encode("cp1252"), "If `1,café au lait` is what should stand there, declare `encoding: cp1252`"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "told"), CONTENT)
def test_what_is_no_such_text_is_quarantined_and_told_for_what_it_is(ab, take, content, told):
    assert told in reason(take, ab, content)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", "UTF_8"])
def test_text_in_a_declared_encoding_is_read(ab, take, encoding):
    content = "a,b\ncafé £5,é\n".encode(encoding)
    assert take(ab, "csv", content, csv=CsvOptions(encoding=encoding)).rows == [("café £5", "é")]


OTHER_ENCODINGS = [
    (b"\xef\xbb\xbfa,b\n1,2\n", "cp1252", "byte-order mark of utf-8, but the dataset declares `encoding: cp1252`"),
    (b"a,b\n1,\x81\n", "cp1252", "line 2: the bytes 81 (hexadecimal) are not cp1252 text"),
    ("a,b\n1,é\n".encode(), "ascii", "If `1,é` is what should stand there, declare `encoding: utf-8`"),
    ("a,b\n".encode("utf-16-le"), "utf-16", "utf-16 without a byte-order mark may be read in two ways"),
    (b"a,b\n", "klingon", "declares `encoding: klingon`, which is none that Python knows"),
    ("a,b\n1,2\n".encode("utf-16")[:-1], "utf-16", "are not utf-16 text"),
]


@pytest.mark.parametrize(("content", "encoding", "told"), OTHER_ENCODINGS)
def test_text_that_is_not_in_the_declared_encoding_is_quarantined(ab, take, content, encoding, told):
    assert told in reason(take, ab, content, csv=CsvOptions(encoding=encoding))


def test_a_bad_byte_far_inside_is_told_by_its_line(ab, take):
    content = b"a,b\n" + b"1,2\n" * 2_000_000 + b"caf\xe9,2\n"
    assert "line 2000002, byte 4: 0xE9" in reason(take, ab, content)


def test_a_line_without_end_is_refused(ab, take):
    assert "line 3: longer than 16 MiB" in reason(take, ab, b"a,b\n1,2\n" + b"x" * (17 << 20))


def test_a_quote_that_is_never_closed_costs_one_line_of_a_large_file(ab, take):
    lines = 1_500_000
    taken = take(ab, "csv", b'a,b\n1,"2\n' + b"some text,more text\n" * lines)
    assert taken.rejects == [(2, None, '1,"2', "a quote is opened and never closed")]
    assert len(taken.rows) == lines


def test_a_row_may_stand_over_the_border_of_a_block(ab, take, monkeypatch):
    original = csv_reader.read_blocks
    monkeypatch.setattr(csv_reader, "read_blocks", lambda file, path, encoding, *_: original(file, path, encoding, 3))
    taken = take(ab, "csv", 'a,b\n1,"x\n\ny"\n2,z\n')
    assert (taken.rows, taken.places) == ([("1", "x\n\ny"), ("2", "z")], [2, 5])


@pytest.mark.parametrize("seed", range(3))
def test_arrow_and_the_record_splitter_agree(seed, monkeypatch, tmp_path):
    """Random text, split with and without Arrow, in blocks of any size: the same rows, places and faults."""
    source = random.Random(seed)
    pieces = ["a", '"', '"', ",", ",", "\n", "\n", " ", "\t", "\r", "\r\n", "é", "NA", "1,2\n", '"x"', '""', '"a,b",c\n']
    original = csv_reader.read_blocks
    monkeypatch.setattr(csv_reader, "_LONG_RUN", 1)
    file = tmp_path / "f.csv"

    def rows(width, quote, block_bytes, *, by_arrow):
        monkeypatch.setattr(csv_reader, "read_blocks", lambda f, p, e, *_: original(f, p, e, block_bytes))
        names = tuple("abc"[:width])
        layout = csv_reader._Layout(CsvOptions(quote=quote, null_markers=("NA",)), names, tuple(range(width)), width, 0)
        if not by_arrow:
            layout.__dict__.update(well_formed=None, cut=lambda _data: None)
        return [row for batch in csv_reader._read(layout, file, "f") for row in batch.to_pylist()]

    for _ in range(150):
        text = "".join(source.choice(pieces) for _ in range(source.randint(0, 25)))
        file.write_bytes(text.encode())
        width, quote = source.choice([1, 2, 2, 3]), source.choice(['"', '"', ""])
        plain = rows(width, quote, 1 << 20, by_arrow=False)
        assert rows(width, quote, source.choice([1, 2, 7, 1 << 20]), by_arrow=True) == plain, (text, width, quote)


def test_a_file_that_vanishes_is_told_like_one_that_cannot_be_read(ab, take, tmp_path):
    with pytest.raises(Unreadable, match=r"t/t/gone.csv: cannot be opened: No such file"):
        take(ab, "csv", tmp_path / "gone.csv")
