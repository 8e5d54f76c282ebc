"""Measuring a table of DuckDB in as few scans as memory allows. No integer and no decimal passes through a float."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from caudal.explore.profile import LONGEST_TEXT, QUANTILES, ColumnProfile, Kind, TableProfile, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

#: Tables of more rows get estimated distinct counts (HyperLogLog) and quantiles (t-digest), and say so. Estimates of
#: small counts are up to a fifth off, and save memory rather than time.
EXACT_ROWS = 20_000_000
#: An exact quantile holds every value of its column: columns share a scan while they stay below this many values.
CELLS_PER_SCAN = 20_000_000
#: The time to plan a scan grows with the square of its columns.
COLUMNS_PER_SCAN = 16
TOP_VALUES = 8

ZONED = "TIMESTAMP WITH TIME ZONE"

_MAY_BE_INFINITE = r"FLOAT|DOUBLE|DATE|TIMESTAMP.*"
_WIDER_THAN_DOUBLE = ("HUGEINT", "UHUGEINT", "BIGNUM")
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("number", r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(\d+,\s*\d+\)"),
    ("time", rf"DATE|TIME|TIMESTAMP(_S|_MS|_NS)?|{ZONED}"),
    ("boolean", r"BOOLEAN"),
    ("text", r"VARCHAR|UUID|ENUM\(.*\)"),
)
_MEASUREMENTS = ("filled", "non_finite", "distinct", "minimum", "maximum", "quantiles", "mean", "std")


def profile_table(connection: duckdb.DuckDBPyConnection, relation: str, exact_rows: int = EXACT_ROWS) -> TableProfile:
    """Profile `relation`, named `schema.table`, or `table`. Nothing but aggregates leaves the database.

    Raises:
        duckdb.CatalogException: there is no such table.

    """
    source = quoted_relation(relation)
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    columns = [(name, type_) for name, type_, *_ in described]
    rows = _row(connection, f"SELECT count(*) FROM {source}")[0]
    approximate = rows > exact_rows
    together = COLUMNS_PER_SCAN if approximate else max(1, min(COLUMNS_PER_SCAN, CELLS_PER_SCAN // max(rows, 1)))
    profiles: list[ColumnProfile] = []
    for first in range(0, len(columns), together):
        profiles += _measure(connection, source, columns[first : first + together], rows, approximate)
    return TableProfile(relation, rows, tuple(profiles), approximate)


def kind_of(type_: str) -> Kind:
    """What can be measured of a DuckDB type."""
    for kind, pattern in _KINDS:
        if re.fullmatch(pattern, type_, re.DOTALL):
            return kind
    return "other"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_relation(relation: str) -> str:
    """`schema.table` as SQL; what follows the first dot is the table's name."""
    return ".".join(quoted(part) for part in relation.split(".", 1))


def finite(name: str, type_: str) -> str:
    """SQL for: the column holds an ordinary value, neither null, NaN nor infinite."""
    if not re.fullmatch(_MAY_BE_INFINITE, type_):
        return f"{quoted(name)} IS NOT NULL"
    coarser = "::TIMESTAMP" if type_.startswith("TIMESTAMP_") else ""
    return f"isfinite({quoted(name)}{coarser})"


def _measure(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    columns: Sequence[tuple[str, str]],
    rows: int,
    approximate: bool,
) -> list[ColumnProfile]:
    import duckdb

    try:
        return _scan(connection, source, columns, rows, approximate)
    except duckdb.OutOfRangeException:  # The square of a value beyond 1e154 does not fit into a double.
        if len(columns) == 1:
            return _scan(connection, source, columns, rows, approximate, with_std=False)
    return [p for column in columns for p in _measure(connection, source, [column], rows, approximate)]


def _scan(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    columns: Sequence[tuple[str, str]],
    rows: int,
    approximate: bool,
    with_std: bool = True,
) -> list[ColumnProfile]:
    wanted = [sql for name, type_ in columns for sql in _expressions(name, type_, approximate, with_std)]
    measured = _row(connection, f"SELECT {', '.join(wanted)} FROM {source}")
    width = len(_MEASUREMENTS)
    profiles = []
    for i, (name, type_) in enumerate(columns):
        found = dict(zip(_MEASUREMENTS, measured[i * width : (i + 1) * width], strict=True))
        kind, filled = kind_of(type_), found["filled"]
        distinct = min(found["distinct"], filled)  # An estimate may exceed what is possible.
        repeats = kind in ("text", "boolean") and (approximate or distinct < filled)
        profiles.append(
            ColumnProfile(
                name=name,
                type=type_,
                kind=kind,
                rows=rows,
                nulls=rows - filled,
                distinct=distinct,
                minimum=_value(type_, found["minimum"]),
                maximum=_value(type_, found["maximum"]),
                quantiles=tuple(v for q in found["quantiles"] or () if (v := _value(type_, q)) is not None),
                mean=found["mean"],
                std=found["std"],
                top=_top(connection, source, name) if repeats else (),
                non_finite=found["non_finite"],
            )
        )
    return profiles


def _expressions(name: str, type_: str, approximate: bool, with_std: bool) -> list[str]:
    """SQL for each of `_MEASUREMENTS`. Values leave as text, which holds any integer, decimal and time exactly."""
    column, kind = quoted(name), kind_of(type_)
    where = f"FILTER (WHERE {finite(name, type_)})"
    sql = dict.fromkeys(_MEASUREMENTS, "NULL")
    sql["filled"] = f"count({column})"
    sql["non_finite"] = f"count({column}) FILTER (WHERE NOT {finite(name, type_)})"
    sql["distinct"] = f"approx_count_distinct({column})" if approximate else f"count(DISTINCT {column})"
    if kind == "text":
        sql["minimum"], sql["maximum"] = (f"left({f}({column})::VARCHAR, {LONGEST_TEXT})" for f in ("min", "max"))
    if kind in ("number", "time"):
        value = f"timezone('UTC', {column})" if type_ == ZONED else column
        estimated = approximate and type_ not in _WIDER_THAN_DOUBLE
        quantile = "approx_quantile" if estimated else "quantile_disc"
        sql["minimum"], sql["maximum"] = (f"({f}({value}) {where})::VARCHAR" for f in ("min", "max"))
        sql["quantiles"] = f"({quantile}({value}, {list(QUANTILES)}) {where})::VARCHAR[]"
    if kind == "number":
        # Averages of the wide integers overflow silently in their own type.
        sql["mean"] = f"avg({column}::DOUBLE) {where}"
        sql["std"] = f"stddev_samp({column}::DOUBLE) {where}" if with_std else "NULL"
    return list(sql.values())


def _value(type_: str, text: str | None) -> Value | None:
    if text is None or kind_of(type_) != "number":
        return f"{text}+00" if text is not None and type_ == ZONED else text
    if type_ in ("FLOAT", "DOUBLE"):
        return float(text)
    return Decimal(text) if type_.startswith("DECIMAL") else int(text)


def _top(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> tuple[tuple[str, int], ...]:
    column = quoted(name)
    return tuple(
        connection.execute(
            f"SELECT left({column}::VARCHAR, {LONGEST_TEXT}), count(*) FROM {source} WHERE {column} IS NOT NULL "
            f"GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {TOP_VALUES}"
        ).fetchall()
    )


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None, "an aggregate without GROUP BY has one row"
    return row
