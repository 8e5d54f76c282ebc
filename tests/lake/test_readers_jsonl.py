"""JSON lines: what is read, what is rejected with its line, and what is quarantined whole."""

import json
import random
import re
from decimal import Decimal

import pytest

from caudal.lake.readers import jsonl
from caudal.lake.readers.jsonl_blocks import BlockParser
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}
MONEY = {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(38,20)"}
DOUBLE = {"name": "d", "logicalType": "number", "physicalType": "DOUBLE"}
WRITTEN = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
NOTE = {"name": "o", "logicalType": "object"}


def lines(*texts):
    return "\n".join(texts) + "\n"


def test_rows_have_the_number_of_their_line_and_blank_lines_are_no_rows(contract_of, take):
    taken = take(contract_of("a", NUMBER), "jsonl", '\n{"a":"x","n":1}\r\n  \r\n{"n":2,"a":null}')
    assert taken.rows == [("x", 1), (None, 2)]
    assert taken.places == [2, 4]


def test_numbers_are_never_floats(contract_of, take):
    written = ["0.12345678901234567890", "12345678901234567.1", "1e3", "-0.0", "100"]
    taken = take(contract_of(MONEY), "jsonl", lines(*(f'{{"m": {w}}}' for w in written)))
    assert [str(m) for (m,) in taken.rows] == [
        "0.12345678901234567890", "12345678901234567.10000000000000000000", "1000.00000000000000000000", "0E-20",
        "100.00000000000000000000",
    ]  # fmt: skip
    big = take(contract_of(NUMBER), "jsonl", lines('{"n": 9223372036854775807}', '{"n": 9007199254740993}', '{"n": 17850.0}'))
    assert big.rows == [(2**63 - 1,), (2**53 + 1,), (17850,)]


def test_a_number_in_a_string_column_is_kept_as_it_is_written(contract_of, take):
    taken = take(contract_of("a"), "jsonl", lines('{"a": 1.50}', '{"a": 17850}', '{"a": true}', '{"a": "\\u00e9\\u0000"}'))
    assert taken.rows == [("1.50",), ("17850",), ("true",), ("é\0",)]


def test_what_is_in_quotes_keeps_its_leading_zero(contract_of, take):
    contract = contract_of({"name": "m", "logicalType": "number", "physicalType": "DECIMAL(10,2)"})
    for good in ("1.50", '"1.50"'):
        taken = take(contract, "jsonl", lines(f'{{"m": {good}}}', '{"m": "00.50"}'))
        assert taken.rows == [(Decimal("1.50"),)]
        assert taken.rejects[0][:3] == (2, "m", "00.50")


def test_an_object_is_kept_as_json_text_with_its_numbers_as_written(contract_of, take):
    contract = contract_of(NOTE, {"name": "l", "logicalType": "array"}, "s")
    taken = take(contract, "jsonl", lines('{"o": {"b": 1.10, "a": [1e2, null, "é\\""]}, "l": [], "s": [1.0]}'))
    assert taken.rows == [('{"b":1.10,"a":[1e2,null,"é\\""]}', "[]", "[1.0]")]


FAULTS = [
    ('{"a": "x"', "not valid JSON: expecting ',' delimiter (character 10)"),
    ("not json", "not valid JSON: expecting value (character 1)"),
    ('{"a": "x", "a": "y"}', "the key `a` is given more than once"),
    ('{"a": {"k": 1, "k": 2}}', "the key `k` is given more than once"),
    ('["x"]', "an array stands on the line; expected a JSON object"),
    ("null", "null stands on the line; expected a JSON object"),
    ("5", "a single value stands on the line; expected a JSON object"),
    ('{"a": NaN}', "NaN is not JSON; write null where there is no value"),
    ('{"a": "x"}{"a": "y"}', "not valid JSON: extra data (character 11)"),
    ('{"a": "x", "b": 1, "c": 2}', "keys not in the contract: `b`, `c`"),
    ("{}", "keys missing: `a`"),
    ('{"A": "x"}', "keys missing: `a`; not in the contract: `A`"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("line", "fault"), FAULTS, ids=[f[1] for f in FAULTS])
def test_a_broken_line_is_rejected_with_its_text_and_the_others_are_loaded(contract_of, take, line, fault):
    taken = take(contract_of("a"), "jsonl", lines('{"a": "1"}', line, '{"a": "3"}'))
    assert taken.rows == [("1",), ("3",)]
    assert taken.rejects == [(2, None, line, fault)]


def test_half_a_character_is_no_text(contract_of, take):
    taken = take(contract_of("a", "b"), "jsonl", lines('{"a": "x", "b": "\\ud800"}', '{"a": "\\ud83d\\ude00", "b": "y"}'))
    assert taken.rows == [("😀", "y")]
    assert taken.rejects == [(1, "b", '"\\ud800"', "half of a surrogate pair, which is no character")]


def test_the_policy_ignore_takes_each_object_as_it_is(contract_of, take):
    contract = contract_of("a", {"name": "n", "logicalType": "integer", "required": True}, drift="ignore")
    taken = take(contract, "jsonl", lines('{"n": 1, "x": {}}', '{"a": "y", "n": 2, "z": 0}', '{"a": "w"}'))
    assert taken.rows == [(None, 1), ("y", 2)]
    assert taken.rejects == [(3, "n", None, "no value, and one is required")]
    assert tuple(c.name for c in taken.result.undeclared) == ("x", "z")
    other_case = take(contract, "jsonl", lines('{"A": "x", "n": 1}'))
    assert other_case.rejects == [(1, None, '{"A": "x", "n": 1}', "keys missing: `a`; not in the contract: `A`")]
    plain = take(contract, "jsonl", lines('{"a": "y", "n": 1, "x": "9"}', '{"a": "z", "n": 2, "x": "8"}'))
    assert (plain.rows, tuple(c.name for c in plain.result.undeclared)) == ([("y", 1), ("z", 2)], ("x",))


CONTENT = [
    (b"", "the file is empty (0 bytes); expected JSON lines"),
    (b"\xef\xbb\xbf [\n{}\n]", "it starts with `[`, as a JSON array does"),
    (b"PAR1", "this is a Parquet file, not JSON lines"),
    (b"<html>", "this is an HTML page"),
    (b'{"a": "x"}\n{"a": "caf\xe9"}\n', "line 2, byte 11: 0xE9 is not utf-8 text"),
]


@pytest.mark.parametrize(("content", "told"), CONTENT)
def test_what_is_no_such_text_is_quarantined(contract_of, take, content, told):
    with pytest.raises(Unreadable) as refused:
        take(contract_of("a"), "jsonl", content)
    assert told in str(refused.value)


def test_text_in_a_declared_encoding_is_read(contract_of, take):
    content = '{"a": "é"}\n'.encode("utf-16")
    assert take(contract_of("a"), "jsonl", content, encoding="utf-16").rows == [("é",)]


def test_a_number_that_a_double_cannot_hold_is_rejected_wherever_it_stands(contract_of, take):
    good = ['{"d":0.5}'] * 100
    for bad in ("9007199254740993", "1e400", "1e-400"):
        taken = take(contract_of(DOUBLE), "jsonl", lines(*good, f'{{"d":{bad}}}', '{"d":0}'))
        assert [r[:3] for r in taken.rejects] == [(101, "d", bad)]
        assert len(taken.rows) == 101


def test_blocks_and_single_lines_give_the_same(contract_of, monkeypatch, tmp_path):
    """Random lines, parsed with and without Arrow: the same rows, places and faults, but for how a number is written."""
    contract = contract_of("a", NUMBER, {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(6,2)"}, DOUBLE)
    source = random.Random(0)
    file = tmp_path / "f.jsonl"
    dataset = type("D", (), {"contract": contract, "encoding": "utf-8"})
    original = BlockParser.parse
    parsed = 0

    def value():
        return source.choice(
            [
                "1",
                "-5",
                "0",
                "1.5",
                "1.50",
                "0.5",
                "null",
                '"x"',
                '"00.5"',
                '"1"',
                "1e2",
                "9007199254740993",
                "1e-400",
                "true",
                '"\\""',
                "1e-41",
                "0e-999999",
                "1e000001",
                "1" * 400,
                "0." + "0" * 330 + "1",
            ]
        )

    def usual():
        return [source.choice(choices) for choices in (['"x"', "null"], ["1", "null"], ["1.5", "0.25"], ["0.5", "-1.0", "0"])]

    def rows():
        read = jsonl.read_jsonl(dataset, file, "f")
        return [row for batch in read.batches() for row in batch.to_pylist()]

    def numbers(row):
        return {
            k: Decimal(str(v)) if k in "nmd" and v is not None and re.fullmatch(WRITTEN, str(v)) else v for k, v in row.items()
        }

    for _ in range(400):
        made = []
        for _ in range(source.randint(1, 4)):
            pairs = [f'"{k}":{" " * source.choice([0, 0, 1])}{v}' for k, v in zip("anmd", usual(), strict=True)]
            if source.random() < 0.3:
                pairs[source.randrange(4)] = f'"{source.choice("anmdz")}": {value()}'
            if source.random() < 0.1:
                pairs.pop()
            made.append("{" + ",".join(pairs) + "}" + source.choice([""] * 9 + ["{}"]))
        file.write_text(lines(*made))
        monkeypatch.setattr(BlockParser, "parse", lambda *_: None)
        single = rows()
        monkeypatch.setattr(BlockParser, "parse", original)
        parsed += BlockParser(contract).parse(file.read_bytes()) is not None
        assert [numbers(r) for r in rows()] == [numbers(r) for r in single], made
    assert parsed > 40


def test_a_large_file_is_read_in_bounded_batches(contract_of, take):
    many = "".join(json.dumps({"a": f"text {i}", "n": i}) + "\n" for i in range(300_000))
    taken = take(contract_of("a", NUMBER), "jsonl", many)
    assert taken.rows[-1] == ("text 299999", 299_999)
    assert taken.places == list(range(1, 300_001))
