"""Lines of JSON that are written alike are cut by array operations, with the result of parsing them one by one, or not at all."""

import json
import random

import pytest

from caudal.lake.readers import jsonl
from caudal.lake.readers.json_template import TemplateParser
from caudal.lake.readers.text import Block

COLUMNS = ({"name": "i", "logicalType": "integer"}, "naïve key", {"name": "long_name", "logicalType": "number"})
OTHERS = ({"name": "d", "logicalType": "date"}, {"name": "b", "logicalType": "boolean"}, "z")


@pytest.fixture
def contract(contract_of):
    return contract_of(*COLUMNS, *OTHERS)


def one_by_one(contract, data):
    """The rows, and the problems, by the parser of single lines."""
    batches = list(jsonl._Lines(contract, []).batches(Block(data, 1)))
    rows = [row for batch in batches for row in batch.select(list(contract.column_names)).to_pylist()]
    return rows, [p for batch in batches for p in batch["_problem"].to_pylist() if p is not None]


def usual(source, name):
    texts = {
        "i": ["0", "-5", "17850", "null"],
        "naïve key": ['"é, {x}: [y]"', '""', '"null"', "null", '"a\x7f"'],
        "long_name": ["1.5", "-0.25", "0", "1e5", "2.50", "null", "1.25E-3"],
        "d": ['"2017-01-31"', "null"],
        "b": ["true", "false", "null"],
        "z": ['"x"', '"007"'],
    }
    return source.choice(texts[name])


ODD = [
    '"1"', "007", "-", "-007", "+5", ".5", "5.", "1.2.3", "1-2", "--1", "1e", "NaN", "Infinity", "nul", "nulll", "None", "True", "TRUE", "1",
    '":"', '":x"', '"a" ', ' "a"', '"a"x', '"a', '"a""b"', "x", "", " ", "{}", "[]", '"\t"', '"\x01"', '"a","q":"b"', '5,"z":"6"', "5}", '"x"}',
    '"\\n"', '"\\u00e9"', "0x1F", "1_0", "٣", "9" * 400,
]  # fmt: skip


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",", ": ")])
@pytest.mark.parametrize("seed", range(4))
def test_the_result_is_that_of_single_lines(contract, seed, separators):
    source = random.Random(seed)
    parser = TemplateParser(contract)
    between, after = separators
    parsed = 0
    for _ in range(500):
        names = list(contract.column_names)
        source.shuffle(names)
        lines = []
        for _ in range(source.randint(1, 5)):
            values = {n: usual(source, n) for n in names}
            if source.random() < 0.12:
                values[source.choice(names)] = source.choice(ODD)
            pairs = [json.dumps(n, ensure_ascii=False) + after + v for n, v in values.items()]
            if source.random() < 0.05:
                source.shuffle(pairs)
            if source.random() < 0.05:
                pairs.pop()
            if source.random() < 0.05:
                pairs.append(source.choice(pairs))
            lines.append("{" + between.join(pairs) + "}" + source.choice([""] * 20 + [" ", "\r", "\n", "}", "{}"]))
        data = ("\n".join(lines) + "\n").encode()
        found = parser.parse(data)
        if found is not None:
            parsed += 1
            rows, problems = one_by_one(contract, data)
            assert problems == [], data
            assert [
                dict(zip(contract.column_names, row, strict=True)) for row in zip(*map(list, map(_texts, found)), strict=True)
            ] == rows
    assert parsed > 100


def _texts(array):
    array.validate(full=True)
    return array.to_pylist()


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["i", "naïve key", "long_name", "d", "b", "z"])
def test_an_odd_value_is_read_as_by_itself_or_not_at_all(contract, name, odd):
    good = {"i": "1", "naïve key": '"x"', "long_name": "1.5", "d": '"2017-01-31"', "b": "true", "z": '"y"'}
    lines = [good, good | {name: odd}, good]
    data = "".join("{" + ",".join(f'"{n}":{v}' for n, v in line.items()) + "}\n" for line in lines).encode()
    found = TemplateParser(contract).parse(data)
    rows, problems = one_by_one(contract, data)
    if problems:
        assert found is None
    if found is not None:
        assert [list(row) for row in zip(*map(_texts, found), strict=True)] == [list(row.values()) for row in rows]


def test_other_keys_and_nested_columns_are_left_to_the_parser(contract, contract_of):
    assert TemplateParser(contract).parse(b'{"i":1}\n') is None
    assert TemplateParser(contract_of("a")).parse(b'{"a":"x"}\n') is not None
    assert TemplateParser(contract_of("a")).parse(b'{"a":"x","b":1}\n') is None
    assert TemplateParser(contract_of("a")).parse(b"[]\n") is None
    assert TemplateParser(contract_of({"name": "a", "logicalType": "object"})).parse(b'{"a":{}}\n') is None
