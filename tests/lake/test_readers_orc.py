"""ORC: types are kept exactly, or refused; a damaged file is quarantined."""
# ruff: noqa: DTZ001 - some of these timestamps have no time zone, as their columns

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import orc

from caudal.lake.readers.rows import Unreadable

MONEY = {"logicalType": "number", "physicalType": "DECIMAL(10,2)"}
MOMENT = {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}}
AT = dt.datetime(2017, 1, 1, 0, 0, 0, 123456)

KEPT = [
    ("integers", {"logicalType": "integer"}, pa.array([1, None, -(2**63)]), [1, None, -(2**63)]),
    ("doubles", {"logicalType": "number", "physicalType": "DOUBLE"}, pa.array([0.1, None]), [0.1, None]),
    ("decimals", MONEY, pa.array([Decimal("1.5"), None], pa.decimal128(5, 1)), [Decimal("1.50"), None]),
    ("booleans", {"logicalType": "boolean"}, pa.array([True, None, False]), [True, None, False]),
    ("text", {"logicalType": "string"}, pa.array(["", None, " é"]), ["", None, " é"]),
    ("bytes that are text", {"logicalType": "string"}, pa.array(["é".encode()]), ["é"]),
    ("dates", {"logicalType": "date"}, pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)]), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("timestamps", {"logicalType": "timestamp"}, pa.array([AT, None]), [AT, None]),
    ("time zones", MOMENT, pa.array([AT], pa.timestamp("us", "UTC")), [AT.replace(tzinfo=dt.UTC)]),
    ("objects", {"logicalType": "object"}, pa.array([{"a": 1, "b": ["x"]}, None]), ['{"a":1,"b":["x"]}', None]),
    ("maps", {"logicalType": "object"}, pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), ['{"k":1}']),
    ("lists", {"logicalType": "array"}, pa.array([["é", None]]), ['["é",null]']),
]  # fmt: skip


def written(tmp_path, table, **settings):
    file = tmp_path / "lake-file.orc"
    orc.write_table(table, file, **settings)
    return file


@pytest.mark.parametrize(("declared", "values", "kept"), [k[1:] for k in KEPT], ids=[k[0] for k in KEPT])
def test_values_are_kept_exactly(contract_of, take, tmp_path, declared, values, kept):
    taken = take(contract_of({"name": "x", **declared}), "orc", written(tmp_path, pa.table({"x": values})))
    assert [x for (x,) in taken.rows] == kept


def test_a_file_is_read_stripe_by_stripe_and_rows_have_their_number(contract_of, take, tmp_path):
    rows = 200_000
    table = pa.table({"n": range(rows), "a.b": [f"x{i * 7919 % rows}" for i in range(rows)], "z": ["z"] * rows})
    file = written(tmp_path, table, stripe_size=64 << 10, compression="zstd")
    assert orc.ORCFile(file).nstripes > 3
    taken = take(contract_of({"name": "n", "logicalType": "integer"}, "a.b", "z"), "orc", file)
    assert taken.rows[-1] == (rows - 1, f"x{(rows - 1) * 7919 % rows}", "z")
    assert taken.places == list(range(1, rows + 1))


def test_text_that_is_not_utf8_costs_its_row_alone(contract_of, take, tmp_path):
    taken = take(contract_of("x"), "orc", written(tmp_path, pa.table({"x": [b"\xff", b"ok"]})))
    assert taken.rows == [("ok",)]
    assert taken.rejects[0][:2] == (1, "x")


def test_a_timestamp_that_nanoseconds_do_not_hold_is_no_other_timestamp(contract_of, take, tmp_path):
    file = written(tmp_path, pa.table({"x": pa.array([dt.datetime(9999, 12, 31)])}))
    with pytest.raises(Unreadable, match=r"t/t/lake-file.orc: .*out of range for nanosecond"):
        take(contract_of({"name": "x", "logicalType": "timestamp"}), "orc", file)


def test_columns_that_the_contract_does_not_have_are_told_with_their_types(contract_of, take, tmp_path):
    table = pa.table({"a": ["x"], "m": pa.array([Decimal("1.5")], pa.decimal128(7, 3)), "d": [dt.date(2020, 1, 1)]})
    with pytest.raises(Unreadable, match=r"not in the contract: `m`, `d`"):
        take(contract_of("a"), "orc", written(tmp_path, table))
    taken = take(contract_of("a", drift="ignore"), "orc", written(tmp_path, table))
    assert [(c.name, c.logical_type, c.precision) for c in taken.result.undeclared] == [("m", "number", 7), ("d", "date", None)]


def test_a_cut_or_damaged_file_is_refused(contract_of, take, tmp_path):
    content = written(tmp_path, pa.table({"x": [f"x{i}" for i in range(1000)]})).read_bytes()
    for cut in [*range(4, len(content), 97), len(content) - 1]:
        with pytest.raises(Unreadable, match=r"t/t/lake-file.orc: the ORC file is damaged"):
            take(contract_of("x"), "orc", content[:cut])
    for other, told in ((b"PAR1....", "this is a Parquet file, not an ORC file"), (b"a\n1\n", "something else, perhaps text")):
        with pytest.raises(Unreadable, match=told):
            take(contract_of("x"), "orc", other)
