"""Nested values go through JSON and come back the same, however they are read; one that does not fit is told with its path."""

import datetime as dt
import json
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caudal.contracts import Column
from caudal.lake.readers.json_slices import Slices
from caudal.lake.readers.jsonl_blocks import BlockParser
from caudal.warehouse.casting import cast_text
from caudal.warehouse.json_split import provide_split

SETTINGS = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

INNER = [
    {"name": "s", "logicalType": "string"},
    {"name": "i", "logicalType": "integer"},
    {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(12,3)"},
    {"name": "f", "logicalType": "number", "physicalType": "DOUBLE"},
    {"name": "b", "logicalType": "boolean"},
    {"name": "d", "logicalType": "date"},
    {"name": "l", "logicalType": "array", "items": {"logicalType": "integer"}},
]
ORDER = {
    "name": "order",
    "logicalType": "object",
    "properties": [*INNER, {"name": "lines", "logicalType": "array", "items": {"logicalType": "object", "properties": INNER}}],
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '{"m": "1"}', ":null", "007"]
)
values = {
    "s": texts,
    "i": st.integers(-(2**63), 2**63 - 1),
    "m": st.decimals(Decimal("-999999999.999"), Decimal("999999999.999"), places=3),
    "f": st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f + 0.0),
    "b": st.booleans(),
    "d": st.dates(),
    "l": st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3),
}
flat = st.fixed_dictionaries({}, optional={name: st.none() | kind for name, kind in values.items()})
orders = st.none() | st.builds(
    lambda own, lines: {**own, **lines},
    flat,
    st.fixed_dictionaries({}, optional={"lines": st.none() | st.lists(st.none() | flat, max_size=3)}),
)
misfits = [("i", 1.5), ("i", "007"), ("m", "1,5"), ("m", "007"), ("m", Decimal("1.2345")), ("f", "NaN"), ("b", "yes"), ("d", "2017-02-30"), ("i", [1]), ("l", 5), ("x", 1), ("S", "a")]  # fmt: skip


def written(value, *, ascii_only):
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)}:{written(v, ascii_only=ascii_only)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(written(v, ascii_only=ascii_only) for v in value) + "]"
        case Decimal():
            return str(value) if value != 0 else "0"
        case dt.date():
            return f'"{value}"'
        case _:
            return json.dumps(value, ensure_ascii=ascii_only)


def whole(value, fields=INNER):
    """The value with null for every key that is not there."""
    if value is None:
        return None
    found = {f["name"]: value.get(f["name"]) for f in fields}
    if fields is not INNER and found["lines"] is not None:
        found["lines"] = [whole(line) for line in found["lines"]]
    return found


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    from caudal.contracts import read_contract

    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "active"}
    path = tmp_path_factory.mktemp("contract") / "t.odcs.yaml"
    path.write_text(json.dumps(document | {"schema": [{"name": "t", "properties": [ORDER]}]}))
    return read_contract(path)


@pytest.fixture(scope="module")
def read(contract):
    with duckdb.connect() as connection:
        provide_split(connection, contract)
        (column,) = contract.columns
        cast = cast_text(column, "s")
        select = (
            f"SELECT {cast.value}, {cast.reason} FROM (SELECT *, {cast.prepared} AS sp FROM (SELECT unnest(?::VARCHAR[]) AS s))"
        )

        def become(given):
            return connection.execute(select, [given]).fetchall()

        yield become


@given(orders=st.lists(orders, min_size=1, max_size=5), ascii_only=st.booleans())
@SETTINGS
def test_what_is_written_as_json_comes_back_the_same_by_either_way_of_reading(read, orders, ascii_only):
    given_texts = [None if o is None else written(o, ascii_only=ascii_only) for o in orders]
    expected = [whole(o, ORDER["properties"]) for o in orders]
    found = read(given_texts)
    assert [value for value, _ in found] == expected
    assert [reason for value, reason in found if value is not None] == [None] * sum(o is not None for o in orders)
    one_by_one = read([*given_texts, "{"])
    assert [value for value, _ in one_by_one] == [*expected, None]


@given(order=orders.filter(bool), misfit=st.sampled_from(misfits), in_line=st.booleans())
@SETTINGS
def test_a_value_that_does_not_fit_is_told_with_its_path_and_nothing_is_loaded(read, order, misfit, in_line):
    name, value = misfit
    if in_line:
        lines = [line for line in order.get("lines") or [] if line is not None]
        bad = {**order, "lines": [*lines, {name: value}]}
        path = f"order.lines[{len(lines)}].{name}"
    else:
        bad, path = {k: v for k, v in order.items() if k != name} | {name: value}, f"order.{name}"
    if name == "S":
        (bad["lines"][-1] if in_line else bad).pop("s", None)
    ((found, reason),) = read([written(bad, ascii_only=False)])
    assert found is None
    assert reason.startswith(path)


@given(rows=st.lists(orders, min_size=1, max_size=5), ascii_only=st.booleans(), blank=st.sampled_from(["", " "]))
@SETTINGS
def test_a_block_of_lines_gives_each_value_as_it_is_written(contract, rows, ascii_only, blank):
    lines = [f'{{"order":{blank}{"null" if row is None else written(row, ascii_only=ascii_only)}{blank}}}' for row in rows]
    data = "".join(f"{line}\n" for line in lines).encode()
    expected = [None if row is None else line[len('{"order":') : -1].strip() for row, line in zip(rows, lines, strict=True)]
    slices = Slices(data)
    assert slices.texts("order") == expected
    assert slices.keys == len(rows)
    parsed = BlockParser(contract).parse(data)
    assert parsed is None or parsed.columns[0].to_pylist() == expected


def test_a_column_inside_another_is_no_other_column(contract):
    assert isinstance(contract.columns[0], Column)
    data = b'{"a":{"order":[1]},"order":[2]}\n{"order":[3],"a":"\\"order\\":[4]"}\n{"a":1,"order":null}\n'
    assert Slices(data).texts("order") == ["[2]", "[3]", None]
