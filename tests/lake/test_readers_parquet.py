"""Parquet: types are kept exactly, or refused; a damaged file is quarantined."""
# ruff: noqa: DTZ001 - most of these timestamps have no time zone, as their columns

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.lake.readers.rows import Unreadable

UTC = dt.UTC
NS = 1_483_228_800_123_456_000
MOMENT = {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}}
MONEY = {"logicalType": "number", "physicalType": "DECIMAL(10,2)"}
DOUBLE = {"logicalType": "number", "physicalType": "DOUBLE"}
AT = dt.datetime(2017, 1, 1, 0, 0, 0, 123456)


@pytest.fixture
def column(contract_of, take, tmp_path):
    """Take a file of the one column `x`."""

    def taken(declared, values, **options):
        file = tmp_path / "x.parquet"
        pq.write_table(pa.table({"x": values}), file, **options)
        return take(contract_of({"name": "x", **declared}), "parquet", file)

    return taken


KEPT = [
    ("integers", {"logicalType": "integer"}, pa.array([1, None], pa.int8()), [1, None]),
    ("unsigned", {"logicalType": "integer"}, pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
    ("whole doubles", {"logicalType": "integer"}, pa.array([17850.0, -0.0, None]), [17850, 0, None]),
    ("whole decimals", {"logicalType": "integer"}, pa.array([Decimal("5.00")]), [5]),
    ("integers as numbers", MONEY, pa.array([5, -7]), [Decimal(5), Decimal(-7)]),
    ("doubles as decimals", MONEY, pa.array([1.39, 0.1, -0.07, 99999999.99]), [Decimal("1.39"), Decimal("0.10"), Decimal("-0.07"), Decimal("99999999.99")]),
    ("large doubles as decimals", {"logicalType": "number"}, pa.array([1e20, 123456789012.34]), [Decimal(10) ** 20, Decimal("123456789012.34")]),
    ("floats as decimals", MONEY, pa.array([1.39], pa.float32()), [Decimal("1.39")]),
    ("half floats", DOUBLE, pa.array([1.5], pa.float16()), [1.5]),
    ("decimals of fewer digits", MONEY, pa.array([Decimal("1.5")], pa.decimal128(5, 1)), [Decimal("1.50")]),
    ("decimals with zeros behind", MONEY, pa.array([Decimal("1.5000")], pa.decimal128(38, 4)), [Decimal("1.50")]),
    ("decimals of 256 bits", MONEY, pa.array([Decimal("1.5000")], pa.decimal256(76, 4)), [Decimal("1.50")]),
    ("decimals as doubles", DOUBLE, pa.array([Decimal("0.1")]), [0.1]),
    ("booleans", {"logicalType": "boolean"}, pa.array([True, None]), [True, None]),
    ("booleans of 0 and 1", {"logicalType": "boolean"}, pa.array([0, 1]), [False, True]),
    ("text", {"logicalType": "string"}, pa.array(["", None, " ä\0"], pa.large_string()), ["", None, " ä\0"]),
    ("dictionaries", {"logicalType": "string"}, pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
    ("bytes that are text", {"logicalType": "string"}, pa.array(["é".encode()]), ["é"]),
    ("integers as text", {"logicalType": "string"}, pa.array([17850]), ["17850"]),
    ("identifiers", {"logicalType": "string"}, pa.array([uuid.UUID(int=1).bytes], pa.uuid()), [str(uuid.UUID(int=1))]),
    ("nothing at all", {"logicalType": "date"}, pa.nulls(2), [None, None]),
    ("text as the contract's type", MONEY, pa.array(["1.5", ""]), [Decimal("1.50"), None]),
    ("dates", {"logicalType": "date"}, pa.array([dt.date(2017, 1, 1)]), [dt.date(2017, 1, 1)]),
    ("midnights as dates", {"logicalType": "date"}, pa.array([dt.datetime(2017, 1, 1)], pa.timestamp("ns")), [dt.date(2017, 1, 1)]),
    ("timestamps", {"logicalType": "timestamp"}, pa.array([AT]), [AT]),
    ("seconds", {"logicalType": "timestamp"}, pa.array([dt.datetime(2017, 1, 1)], pa.timestamp("s")), [dt.datetime(2017, 1, 1)]),
    ("nanoseconds that are none", {"logicalType": "timestamp"}, pa.array([NS], pa.timestamp("ns")), [AT]),
    ("time zones", MOMENT, pa.array([AT], pa.timestamp("us", "Europe/Berlin")), [AT.replace(tzinfo=UTC)]),
    ("nanoseconds and a time zone", MOMENT, pa.array([NS], pa.timestamp("ns", "UTC")), [AT.replace(tzinfo=UTC)]),
    ("times", {"logicalType": "time"}, pa.array([dt.time(10, 30)], pa.time32("ms")), [dt.time(10, 30)]),
    ("times in nanoseconds", {"logicalType": "time"}, pa.array([1000], pa.time64("ns")), [dt.time(0, 0, 0, 1)]),
    ("objects", {"logicalType": "object"}, pa.array([{"a": 1, "b": [Decimal("1.10")]}, None]), ['{"a":1,"b":[1.1]}', None]),
    ("maps", {"logicalType": "object"}, pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), ['{"k":1}']),
    ("lists", {"logicalType": "array"}, pa.array([["é", None]]), ['["é",null]']),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "values", "expected"), [k[1:] for k in KEPT], ids=[k[0] for k in KEPT])
def test_kept(column, declared, values, expected):
    taken = column(declared, values)
    assert taken.rejects == []
    assert [x for (x,) in taken.rows] == expected


LOST = [
    ({"logicalType": "integer"}, pa.array([1.5]), "1.5", "a fraction"),
    ({"logicalType": "integer"}, pa.array([2.0**53]), "9007199254740992.0", "a floating-point number from 2^53 on"),
    ({"logicalType": "integer"}, pa.array([float("nan")]), "nan", "not a finite number"),
    ({"logicalType": "integer"}, pa.array([2**63], pa.uint64()), "9223372036854775808", "outside the range"),
    ({"logicalType": "integer"}, pa.array([Decimal("5.5")]), "5.5", "a fraction"),
    (MONEY, pa.array([1.394]), "1.394", "more than 2 decimals"),
    (MONEY, pa.array([0.1 + 0.2]), "0.30000000000000004", "more than 2 decimals"),
    (MONEY, pa.array([1e9]), "1000000000.0", "more than 8 digits"),
    (MONEY, pa.array([float("inf")]), "inf", "not a finite number"),
    (MONEY, pa.array([Decimal("1.505")]), "1.505", "more than 2 decimals"),
    (MONEY, pa.array([10**8]), "100000000", "more than 8 digits"),
    (DOUBLE, pa.array([float("-inf")]), "-inf", "not a finite number"),
    (DOUBLE, pa.array([2**53 + 1]), "9007199254740993", "an integer that a DOUBLE cannot hold"),
    ({"logicalType": "boolean"}, pa.array([2]), "2", "not a boolean"),
    ({"logicalType": "date"}, pa.array([AT]), "2017-01-01 00:00:00.123456", "a time of day"),
    ({"logicalType": "timestamp"}, pa.array([NS + 1], pa.timestamp("ns")), "2017-01-01 00:00:00.123456001", "finer than a microsecond"),
    (MOMENT, pa.array([NS + 1], pa.timestamp("ns", "UTC")), "2017-01-01 00:00:00.123456001", "finer than a microsecond"),
    ({"logicalType": "time"}, pa.array([1], pa.time64("ns")), "1 ns", "finer than a microsecond"),
    ({"logicalType": "string"}, pa.array([b"caf\xe9"]), "caf\\xe9", "not UTF-8 text"),
    ({"logicalType": "object"}, pa.array([{"a": float("nan")}]), '{"a":NaN}', "not JSON"),
    ({"logicalType": "timestamp"}, pa.array([2**63 - 1], pa.timestamp("us")), "infinity", "infinite"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "values", "shown", "reason"), LOST, ids=[f"{v.type} {s}" for _, v, s, _ in LOST])
def test_a_value_that_would_lose_something_is_rejected(column, declared, values, shown, reason):
    ((row, name, value, told),) = column(declared, values).rejects
    assert (row, name, value) == (1, "x", shown)
    assert told.startswith(reason)


MISUNDERSTOOD = [
    ({"logicalType": "timestamp"}, pa.array([NS], pa.timestamp("ns", "UTC")), "timestamps with a time zone and the contract declares timestamp"),
    (MOMENT, pa.array([AT]), "timestamps without a time zone and the contract declares timestamp with a time zone"),
    ({"logicalType": "timestamp"}, pa.array([dt.date(2017, 1, 1)]), "dates and the contract declares timestamp"),
    ({"logicalType": "date"}, pa.array([1]), "integers and the contract declares date"),
    ({"logicalType": "string"}, pa.array([1.5]), "floating-point numbers and the contract declares string"),
    ({"logicalType": "integer"}, pa.array([True]), "booleans and the contract declares integer"),
    ({"logicalType": "array"}, pa.array([{"a": 1}]), "struct<a: int64> and the contract declares array"),
    ({"logicalType": "integer"}, pa.array([1], pa.duration("s")), "its type duration[s] cannot be kept exactly"),
    ({"logicalType": "array"}, pa.array([[NS]], pa.list_(pa.timestamp("ns"))), "cannot be kept exactly"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "values", "told"), MISUNDERSTOOD)
def test_a_type_that_is_another_thing_quarantines_the_file(column, declared, values, told):
    with pytest.raises(Unreadable) as refused:
        column(declared, values)
    assert str(refused.value).startswith("t/t/x.parquet, column `x`")
    assert told in str(refused.value)


def test_int96_is_neither_cut_nor_wrapped_around(column):
    """Arrow, asked for nanoseconds, would give the year 1816 for the year 9999."""
    values = pa.array([dt.datetime(9999, 12, 31, 0, 0, 0, 1), None, AT], pa.timestamp("us"))
    assert column({"logicalType": "timestamp"}, values, use_deprecated_int96_timestamps=True).rows == [
        (dt.datetime(9999, 12, 31, 0, 0, 0, 1),),
        (None,),
        (AT,),
    ]
    cut = column({"logicalType": "timestamp"}, pa.array([NS, NS + 7], pa.timestamp("ns")), use_deprecated_int96_timestamps=True)
    assert cut.places == [1]
    assert cut.rejects == [(2, "x", "2017-01-01 00:00:00.123456 and 7 ns", (
        "finer than a microsecond, which a timestamp would lose; declare `nanoseconds: cut` to keep the microseconds"))]  # fmt: skip


CUT = {"customProperties": [{"property": "nanoseconds", "value": "cut"}]}


@pytest.mark.parametrize("int96", [False, True])
def test_nanoseconds_are_cut_towards_the_past_where_the_contract_says_so(column, int96):
    values = pa.array([NS, NS + 999, -1, None], pa.timestamp("ns"))
    kept = column({"logicalType": "timestamp", **CUT}, values, use_deprecated_int96_timestamps=int96)
    assert kept.rejects == []
    assert [x for (x,) in kept.rows] == [AT, AT, dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None]


def test_nanoseconds_of_moments_and_times_are_cut_as_well(column):
    moments = column(MOMENT | CUT, pa.array([NS + 1], pa.timestamp("ns", "UTC")))
    assert moments.rows == [(AT.replace(tzinfo=UTC),)]
    assert column({"logicalType": "time", **CUT}, pa.array([1999], pa.time64("ns"))).rows == [(dt.time(0, 0, 0, 1),)]


def test_rows_are_numbered_from_one_over_row_groups(contract_of, take, tmp_path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": list(range(200_000))}), file, row_group_size=30_000)
    taken = take(contract_of({"name": "x", "logicalType": "integer"}), "parquet", file)
    assert taken.places == list(range(1, 200_001))
    assert taken.rows[-1] == (199_999,)


def test_a_table_without_rows_is_none(contract_of, take, tmp_path):
    pq.write_table(pa.table({"x": pa.array([], pa.string())}), tmp_path / "x.parquet")
    assert take(contract_of("x"), "parquet", tmp_path / "x.parquet").result.part is None


def test_columns_follow_the_drift_policy(contract_of, take, tmp_path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"b.c": ["2"], "more": [3], "a": ["1"]}), file)
    assert take(contract_of("a", "b.c", "d", drift="ignore"), "parquet", file).rows == [("1", "2", None)]
    with pytest.raises(Unreadable, match=r"its schema: columns missing: `d`; not in the contract: `more`"):
        take(contract_of("a", "b.c", "d"), "parquet", file)


@pytest.mark.parametrize("kept", [4, 100, 0.5, 0.95, -1], ids=str)
def test_a_truncated_file_is_quarantined(contract_of, take, tmp_path, kept):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [f"text {i}" for i in range(1000)]}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(Unreadable, match="is damaged or was not written to its end") as refused:
        take(contract_of("x"), "parquet", file)
    assert str(tmp_path) not in str(refused.value)


def test_a_file_damaged_inside_is_quarantined(contract_of, take, tmp_path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [f"text {i}" for i in range(100_000)]}), file)
    content = bytearray(file.read_bytes())
    content[1000:3000] = bytes(2000)
    file.write_bytes(content)
    with pytest.raises(Unreadable, match="is damaged"):
        take(contract_of("x"), "parquet", file)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "empty (0 bytes)"), (b"a,b\n1,2\n", "something else, perhaps text"), (b"PK\x03\x04", "zip archive")],
)
def test_what_is_no_parquet_is_told_for_what_it_is(contract_of, take, content, told):
    with pytest.raises(Unreadable) as refused:
        take(contract_of("x"), "parquet", content)
    assert told in str(refused.value)
