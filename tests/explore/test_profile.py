"""Profiles: the figures are those of the table, whatever it holds."""

import json
import math
import statistics
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.explore.profile import QUANTILES, ColumnProfile, TableProfile
from caudal.explore.scan import profile_table, quoted

HUGE = 170141183460469231731687303715884105727


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def column(profile: TableProfile, name: str) -> ColumnProfile:
    return next(c for c in profile.columns if c.name == name)


def of_values(connection: duckdb.DuckDBPyConnection, kind: str, *values: str) -> ColumnProfile:
    """The profile of a column `x` of that type, with SQL expressions as values."""
    rows = ", ".join(f"(({value})::{kind})" for value in values)
    connection.execute(f"CREATE OR REPLACE TABLE t AS SELECT * FROM (VALUES {rows}) AS t(x)")
    return profile_table(connection, "t").columns[0]


def test_a_table_is_counted_and_its_nulls_and_repetitions_are_told(connection):
    connection.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, NULL), (NULL, 'a')) AS t(n, s)")
    profile = profile_table(connection, "t")
    assert (profile.rows, profile.approximate) == (4, False)
    n, s = profile.columns
    assert (n.type, n.nulls, n.null_share, n.distinct) == ("INTEGER", 1, 0.25, 2)
    assert (n.minimum, n.maximum, n.mean) == (1, 2, pytest.approx(5 / 3))
    assert (s.kind, s.minimum, s.maximum, s.top) == ("text", "a", "b", (("a", 2), ("b", 1)))
    assert profile.null_share == 0.25


def test_an_empty_table_has_columns_without_values(connection):
    connection.execute("CREATE TABLE t (n INTEGER, s VARCHAR, moment TIMESTAMP, l INTEGER[])")
    profile = profile_table(connection, "t")
    assert profile.rows == 0
    for found in profile.columns:
        assert (found.nulls, found.null_share, found.distinct, found.minimum, found.quantiles) == (0, 0.0, 0, None, ())
    assert "**0 rows, 4 columns**" in profile.to_markdown()
    assert json.loads(profile.to_json())["columns"][2]["type"] == "TIMESTAMP"


def test_a_column_of_nulls_has_nothing_but_nulls(connection):
    for kind in ("INTEGER", "VARCHAR", "DATE", "DOUBLE", "DECIMAL(10,2)"):
        found = of_values(connection, kind, "NULL", "NULL")
        assert (found.nulls, found.null_share, found.distinct) == (2, 1.0, 0)
        assert (found.minimum, found.maximum, found.mean, found.quantiles, found.top) == (None, None, None, (), ())


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("HUGEINT", "-1", str(HUGE), (-1, HUGE)),
        ("UHUGEINT", "0", str(2**128 - 1), (0, 2**128 - 1)),
        ("BIGINT", "9007199254740993", "9223372036854775807", (9007199254740993, 9223372036854775807)),
        ("BIGNUM", "'1'", "'123456789012345678901234567890123456789012345'", (1, 123456789012345678901234567890123456789012345)),
        ("DECIMAL(38,3)", "0.001", "12345678901234567890123456789012345.678",
         (Decimal("0.001"), Decimal("12345678901234567890123456789012345.678"))),
    ],
)  # fmt: skip
def test_large_integers_and_decimals_stay_exact(connection, kind, low, high, expected):
    found = of_values(connection, kind, low, high)
    assert (found.minimum, found.maximum) == expected
    assert (found.quantiles[0], found.quantiles[-1]) == expected
    assert found.mean == pytest.approx(float(expected[0]) / 2 + float(expected[1]) / 2)
    stored = json.loads(TableProfile("t", 2, (found,)).to_json())["columns"][0]
    assert stored["maximum"] == str(expected[1])


def test_numbers_are_equal_after_a_trip_through_json(connection):
    found = of_values(connection, "DOUBLE", "0.1", "1e300", "-0.3")
    stored = json.loads(TableProfile("t", 3, (found,)).to_json())["columns"][0]
    assert [stored["minimum"], stored["maximum"]] == [-0.3, 1e300]
    assert list(stored["quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]


def test_nan_and_infinities_are_counted_apart(connection):
    found = of_values(connection, "DOUBLE", "'nan'", "'inf'", "'-inf'", "1", "3", "NULL")
    assert (found.nulls, found.non_finite, found.minimum, found.maximum, found.mean) == (1, 3, 1.0, 3.0, 2.0)
    assert "Left out of x: 3 NaN or infinite." in TableProfile("t", 6, (found,)).to_markdown()
    endless = of_values(connection, "DATE", "'infinity'", "'2020-01-01'")
    assert (endless.non_finite, endless.minimum, endless.maximum) == (1, "2020-01-01", "2020-01-01")


def test_a_deviation_beyond_doubles_is_left_out_of_its_column_only(connection):
    connection.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1e308, 1), (-1e308, 3)) AS t(vast, small)")
    vast, small = profile_table(connection, "t").columns
    assert (vast.minimum, vast.maximum, vast.std) == (-1e308, 1e308, None)
    assert small.std == pytest.approx(math.sqrt(2))


def test_times_are_text_in_utc_with_all_their_digits(connection):
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    zoned = of_values(connection, "TIMESTAMPTZ", "'2020-01-01 00:00:00+02'")
    assert zoned.minimum == zoned.quantiles[2] == "2019-12-31 22:00:00+00"
    assert of_values(connection, "TIMESTAMP_NS", "'2020-01-01 00:00:00.123456789'").maximum == "2020-01-01 00:00:00.123456789"
    assert of_values(connection, "TIMESTAMP", "'290000-01-01 00:00:00'").maximum == "290000-01-01 00:00:00"
    assert of_values(connection, "DATE", "'0044-03-15 (BC)'").minimum == "0044-03-15 (BC)"
    assert of_values(connection, "TIME", "'12:30'").quantiles[0] == "12:30:00"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTEGER[]", "[1, 2]"),
        ("INTEGER[2]", "[1, 2]"),
        ("STRUCT(a INTEGER, b VARCHAR[])", "{'a': 1, 'b': ['x']}"),
        ("MAP(VARCHAR, INTEGER)", "map {'k': 1}"),
        ("UNION(n INTEGER, s VARCHAR)", "union_value(n := 1)"),
        ("BLOB", "'a'::BLOB"),
        ("BIT", "'101'"),
        ("INTERVAL", "INTERVAL 1 DAY"),
        ("JSON", """'{"a": 1}'"""),
        ("DECIMAL(10,2)[]", "[1.5]"),
        ("ENUM('a', 'b')[]", "['a']"),
    ],
)
def test_nested_and_opaque_values_are_counted_but_not_measured(connection, kind, value):
    found = of_values(connection, kind, value, value, "NULL")
    assert (found.kind, found.rows, found.nulls, found.distinct) == ("other", 3, 1, 1)
    assert (found.minimum, found.quantiles, found.mean, found.top) == (None, (), None, ())


def test_enums_uuids_and_booleans_have_most_frequent_values(connection):
    assert of_values(connection, "ENUM('b)', 'a''[]')", "'b)'", "'b)'", "'a''[]'").top == (("b)", 2), ("a'[]", 1))
    uuid = "00000000-0000-0000-0000-000000000001"
    assert of_values(connection, "UUID", f"'{uuid}'", f"'{uuid}'").top == ((uuid, 2),)
    assert of_values(connection, "BOOLEAN", "true", "false", "true", "NULL").top == (("true", 2), ("false", 1))


def test_values_that_never_repeat_are_called_unique_and_not_listed(connection):
    found = of_values(connection, "VARCHAR", "'a'", "'b'")
    assert (found.unique, found.top) == (True, ())
    assert TableProfile("t", 2, (found,)).summary()[0][3] == "unique"


def test_names_with_spaces_quotes_dots_and_keywords_are_profiled(connection):
    columns = ["select", 'with "quotes"', "d.o't", "пробел | x", "%s {0} $1"]
    selected = ", ".join(f"{i} AS {quoted(name)}" for i, name in enumerate(columns))
    connection.execute(f"""CREATE SCHEMA "a b"; CREATE TABLE "a b"."ta""b.le" AS SELECT {selected}""")
    profile = profile_table(connection, 'a b.ta"b.le')
    assert [c.name for c in profile.columns] == columns
    assert [c.minimum for c in profile.columns] == [0, 1, 2, 3, 4]


def test_a_missing_table_is_named(connection):
    with pytest.raises(duckdb.CatalogException, match="nowhere"):
        profile_table(connection, "nowhere")


def test_what_people_wrote_cannot_break_the_markdown(connection):
    found = of_values(connection, "VARCHAR", "'a|b\n<img src=x>`*_[x](y)'", "'a|b\n<img src=x>`*_[x](y)'", "''", "'   '")
    table = TableProfile("t", 4, (found,)).to_markdown().split("\n\n")[1]
    assert len(table.splitlines()) == 3
    assert r"a\|b \<img src=x\>\`\*\_\[x\](y)" in table
    assert "(blank) (25.0 %)" in table


def test_long_texts_are_cut(connection):
    found = of_values(connection, "VARCHAR", "repeat('x', 1000000)", "repeat('x', 1000000)")
    assert found.minimum == found.top[0][0] == "x" * 200
    assert len(TableProfile("t", 2, (found,)).to_markdown()) < 1000


def test_beyond_the_limit_counts_and_quantiles_are_estimates_and_say_so(connection):
    connection.execute("CREATE TABLE t AS SELECT range AS n, (range % 5)::VARCHAR AS s, range::HUGEINT AS h FROM range(2000)")
    profile = profile_table(connection, "t", exact_rows=1999)
    n = column(profile, "n")
    assert profile.approximate
    assert n.distinct == pytest.approx(2000, rel=0.2)
    assert n.quantiles[2] == pytest.approx(1000, rel=0.05)
    assert (n.minimum, n.maximum, n.mean) == (0, 1999, 999.5)
    assert profile.summary()[0][3].startswith("about ")
    assert "Estimated (of a sample) quantiles" in profile.to_markdown()
    assert column(profile, "s").top == tuple((str(i), 400) for i in range(5))
    assert not profile_table(connection, "t", exact_rows=2000).approximate


def test_columns_are_scanned_apart_when_their_values_would_not_fit_together(connection, monkeypatch):
    connection.execute("CREATE TABLE t AS SELECT range AS a, -range AS b, range * 2 AS c FROM range(100)")
    together = profile_table(connection, "t")
    monkeypatch.setattr("caudal.explore.scan.CELLS_PER_SCAN", 150)
    assert profile_table(connection, "t") == together


def expected_quantile(values: list, q: float) -> object:
    """The smallest value that at least the share `q` of the values does not exceed."""
    ranked = sorted(values)
    return next(v for i, v in enumerate(ranked, 1) if i >= q * len(ranked) - 1e-9)


@pytest.fixture(scope="module")
def memory():
    """A database in memory, in which each example makes its own table `t`."""
    with duckdb.connect() as connection:
        yield connection


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=40))
def test_integers_are_profiled_as_python_would(memory, values):
    present = [v for v in values if v is not None]
    memory.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::BIGINT[]) AS x", [values])
    found = profile_table(memory, "t").columns[0]
    assert (found.rows, found.nulls, found.distinct) == (len(values), values.count(None), len(set(present)))
    assert (found.minimum, found.maximum) == ((min(present), max(present)) if present else (None, None))
    assert list(found.quantiles) == ([expected_quantile(present, q) for q in QUANTILES] if present else [])
    if present:
        assert found.mean == pytest.approx(statistics.fmean(present), rel=1e-9, abs=2**12)
        assert list(found.quantiles) == sorted(found.quantiles)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.none() | st.text(max_size=8) | st.sampled_from(["a", "b"]), max_size=30))
def test_the_most_frequent_texts_are_those_python_counts(memory, values):
    values = [v if v is None else v.replace("\x00", "") for v in values]
    present = [v for v in values if v is not None]
    memory.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::VARCHAR[]) AS x", [values])
    profile = profile_table(memory, "t")
    found = profile.columns[0]
    assert found.distinct == len(set(present))
    assert all(present.count(value) == rows for value, rows in found.top)
    assert sum(rows for _, rows in found.top) <= found.filled
    if len(set(present)) < len(present):
        assert found.top[0][1] == max(present.count(v) for v in present)
    assert len(profile.to_markdown().split("\n\n")[1].splitlines()) == 3
    json.loads(profile.to_json())


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(), min_size=1, max_size=30))
def test_any_floats_can_be_profiled_and_written(memory, values):
    finite = [v for v in values if math.isfinite(v)]
    memory.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::DOUBLE[]) AS x", [values])
    profile = profile_table(memory, "t")
    found = profile.columns[0]
    assert found.non_finite == len(values) - len(finite)
    assert (found.minimum, found.maximum) == ((min(finite), max(finite)) if finite else (None, None))
    assert all(v in finite for v in found.quantiles)
    json.loads(profile.to_json())
