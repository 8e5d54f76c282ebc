"""What BigQuery cannot store is told of a contract beforehand, and of each value with its place; nothing is lost in silence."""

import io
from datetime import date, datetime, time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.warehouse.bigquery.arrow_fields import NullInList, storable
from caudal.warehouse.bigquery.storable import NULL_ITEM, UnusableColumns, demand, problems, without_null_items

TAGS = {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}}
LINES = {"name": "lines", "logicalType": "array", "items": {"logicalType": "object", "properties": [
    {"name": "sku", "logicalType": "string"}, TAGS,
]}}  # fmt: skip
GRID = {"name": "grid", "logicalType": "array", "items": {"logicalType": "array", "items": {"logicalType": "integer"}}}


LAST_DAY = datetime.fromisoformat("9999-12-31")
LAST_MOMENT = datetime.fromisoformat("9999-12-31T23:59:59.999999")


def parquet(**columns):
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


def test_a_row_whose_list_has_an_item_without_a_value_is_rejected_with_the_place(contract_of, take):
    declared = contract_of(TAGS, LINES, GRID, drift="ignore")
    rows = (
        '{"tags": ["a", null]}\n'
        '{"tags": ["a"], "lines": [{"sku": "x", "tags": []}, {"tags": ["b", null]}]}\n'
        '{"tags": [], "lines": null}\n'
        '{"lines": [null]}\n'
        '{"grid": [[1, null], [2]]}\n'
        '{"grid": [[1], null]}\n'
    )
    taken = take(without_null_items(declared), "jsonl", rows)
    assert taken.places == [3, 5], "within an array of an array, which is JSON text, a null is kept"
    assert [(row, column, reason) for row, column, _, reason in taken.rejects] == [
        (1, "tags", f"tags[1]: {NULL_ITEM}"),
        (2, "lines", f"lines[1].tags[1]: {NULL_ITEM}"),
        (4, "lines", f"lines[0]: {NULL_ITEM}"),
        (6, "grid", f"grid[1]: {NULL_ITEM}"),
    ]
    assert take(declared, "jsonl", rows).places == [1, 2, 3, 4, 5, 6], "locally such rows are kept"


def test_so_is_one_of_a_file_with_types_of_its_own(contract_of, take):
    content = parquet(tags=pa.array([["a", None], ["a"], None], pa.list_(pa.string())))
    taken = take(without_null_items(contract_of(TAGS)), "parquet", content)
    assert taken.places == [2, 3]
    assert [(row, reason) for row, _, _, reason in taken.rejects] == [(1, f"tags[1]: {NULL_ITEM}")]


@pytest.mark.parametrize(
    ("declared", "kind", "unfit", "fits", "reason"),
    [
        ({"logicalType": "date"}, pa.date32(), 2_932_897, date(9999, 12, 31), "not of the years 1 to 9999"),
        ({"logicalType": "date"}, pa.date32(), -719_163, date(1, 1, 1), "not of the years 1 to 9999"),
        ({"logicalType": "date"}, pa.timestamp("us"), 253_402_300_800_000_000, LAST_DAY, "not of the years 1 to 9999"),
        (
            {"logicalType": "timestamp"}, pa.timestamp("us"), 253_402_300_800_000_000,
            LAST_MOMENT, "not of the years 1 to 9999",
        ),
        (
            {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}}, pa.timestamp("us", "UTC"),
            -62_135_596_800_000_001, LAST_DAY, "not of the years 1 to 9999",
        ),
        ({"logicalType": "time"}, pa.time64("us"), 86_400_000_000, time(23, 59, 59, 999_999), "expected less than 24:00"),
        ({"logicalType": "time"}, pa.time64("ns"), 86_400_000_000_000, time(23, 59, 59, 999_999), "expected less than 24:00"),
    ],
)  # fmt: skip
def test_a_moment_that_no_text_could_tell_is_rejected_on_both_engines(contract_of, take, declared, kind, unfit, fits, reason):
    number = pa.int32() if kind == pa.date32() else pa.int64()
    values = pa.concat_arrays([pa.array([unfit], number).cast(kind), pa.array([fits], kind), pa.array([None], kind)])
    taken = take(contract_of({"name": "at", **declared}), "parquet", parquet(at=values))
    assert taken.places == [2, 3]
    ((row, column, _, told),) = taken.rejects
    assert (row, column) == (1, "at")
    assert reason in told


def deep(levels):
    column = {"name": "s", "logicalType": "object", "properties": [{"name": "x", "logicalType": "string"}]}
    for _ in range(levels - 1):
        column = {"name": "s", "logicalType": "object", "properties": [column]}
    return column


def test_what_bigquery_cannot_have_of_a_contract_is_told_at_once(contract_of):
    inner = {"name": "o", "logicalType": "object", "properties": [{"name": "a.b", "logicalType": "string"}]}
    contract = contract_of("price $", inner, deep(16))
    told = list(problems(contract))
    assert [each.split(":")[0] for each in told] == [
        "`price $`", "`a.b` in `o`", "`s` has structs 16 deep, and 15 are the most",
    ]  # fmt: skip
    with pytest.raises(UnusableColumns) as refused:
        demand([contract, contract_of("plain")])
    assert str(refused.value).count(str(contract.path)) == 3
    assert list(problems(contract_of(deep(15), TAGS, LINES, GRID))) == []


@pytest.mark.parametrize(("columns", "fits"), [(9_996, True), (9_997, False)])
def test_a_table_has_ten_thousand_columns_with_those_of_lineage(contract_of, columns, fits):
    told = list(problems(contract_of(*(f"c{n}" for n in range(columns)))))
    assert told == (
        [] if fits else ["10,001 with those inside structs and of lineage, and 10,000 are the most: divide the dataset"]
    )


@pytest.mark.parametrize(
    ("values", "kind", "row"),
    [
        ([["a"], None, ["b", None]], pa.list_(pa.string()), 3),
        ([{"x": [1]}, {"x": [None]}], pa.struct([("x", pa.list_(pa.int64()))]), 2),
        ([[{"x": [1, None]}]], pa.list_(pa.struct([("x", pa.list_(pa.int64()))])), 1),
    ],
)
def test_rows_that_python_made_are_refused_with_column_and_row(values, kind, row):
    with pytest.raises(NullInList, match=f"Column v, row {row}: a list has an item without a value"):
        storable(pa.table({"v": pa.array(values, kind)}))
    storable(pa.table({"v": pa.array([None], kind)}))
