"""Measuring a table of DuckDB in as few scans as memory allows. No integer and no decimal passes through a float."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from caudal.explore.profile import LONGEST_TEXT, QUANTILES, TOP_KEPT, ColumnProfile, Kind, TableProfile, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import duckdb

#: Tables of more rows get estimated distinct counts (HyperLogLog), and quantiles of a sample, and say so.
EXACT_ROWS = 1_000_000
#: A quantile of so many rows is off by a thousandth of the rows; of a wide table the sample has fewer rows.
SAMPLE_ROWS, SAMPLE_CELLS = 250_000, 6_000_000
SAMPLE = "profile_sample"
#: A column with at most so many values in the sample is counted value by value in the table.
FEW_VALUES = 1_000
#: An exact quantile holds every value of its column: columns share a scan while they stay below this many values.
CELLS_PER_SCAN = 20_000_000
#: The time to plan a scan grows with the square of its columns.
COLUMNS_PER_SCAN = 16
#: Shapes of texts are told of so many rows.
PATTERN_ROWS, PATTERNS = 10_000, 3

ZONED = "TIMESTAMP WITH TIME ZONE"

_MAY_BE_INFINITE = re.compile(r"FLOAT|DOUBLE|DATE|TIMESTAMP.*")
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("number", r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(\d+,\s*\d+\)"),
    ("time", rf"DATE|TIME|TIMESTAMP(_S|_MS|_NS)?|{ZONED}"),
    ("boolean", r"BOOLEAN"),
    ("text", r"VARCHAR|UUID|ENUM\(.*\)"),
)
_MEASUREMENTS = ("filled", "non_finite", "distinct", "minimum", "maximum", "quantiles", "mean", "std", "lengths")


def profile_table(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    exact_rows: int = EXACT_ROWS,
    personal: Collection[str] = (),
) -> TableProfile:
    """Profile `relation`, named `schema.table`, or `table`. Nothing but aggregates leaves the database.

    Of more than `exact_rows` rows a sample is left in the temporary table `SAMPLE` of the connection.

    Args:
        personal: columns of which no value may be told.

    Raises:
        duckdb.CatalogException: there is no such table.

    """
    source = quoted_relation(relation)
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    columns = [(name, type_) for name, type_, *_ in described]
    rows = _row(connection, f"SELECT count(*) FROM {source}")[0]
    if rows <= exact_rows:
        profiles = [_masked(c, personal) for c in _described(connection, source, columns, rows)]
        return TableProfile(relation, rows, tuple(profiles))
    sampled = _draw_sample(connection, source, columns, rows)
    kept = [(name, type_) for name, type_ in columns if kind_of(type_) != "other"]
    of_sample = {c.name: c for c in _described(connection, quoted(SAMPLE), kept, sampled)} if kept else {}
    whole = _all(connection, source, columns, rows, COLUMNS_PER_SCAN, sample=of_sample)
    profiles = [_masked(_with_top(connection, source, c, of_sample.get(c.name)), personal) for c in whole]
    return TableProfile(relation, rows, tuple(profiles), approximate=True, sampled=sampled)


def source_of(profile: TableProfile) -> str:
    """The relation from which what needs no exact count is told: the table, or its sample."""
    return SAMPLE if profile.approximate else profile.relation


def of_sample(connection: duckdb.DuckDBPyConnection, profile: TableProfile, column: ColumnProfile) -> ColumnProfile:
    """The column with the counts of what its distribution is drawn from, where that is the sample."""
    if not profile.approximate or column.kind in ("text", "boolean"):
        return column
    name, ordinary = quoted(column.name), finite(column.name, column.type)
    counts = f"count(*) - count({name}), count({name}) FILTER (WHERE NOT {ordinary})"
    nulls, non_finite = _row(connection, f"SELECT {counts} FROM {quoted(SAMPLE)}")
    return replace(column, rows=profile.sampled, nulls=nulls, non_finite=non_finite)


def _described(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[tuple[str, str]], rows: int
) -> list[ColumnProfile]:
    """All figures, each exact."""
    together = max(1, min(COLUMNS_PER_SCAN, CELLS_PER_SCAN // max(rows, 1)))
    found = []
    for c in _all(connection, source, columns, rows, together):
        repeats = c.kind in ("text", "boolean") and c.distinct < c.filled
        top = _top(connection, source, c.name) if repeats else ()
        patterns = _patterns(connection, source, c) if c.type == "VARCHAR" and c.filled else ()
        found.append(replace(c, top=top, patterns=patterns))
    return found


def _draw_sample(connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[tuple[str, str]], rows: int) -> int:
    """Fill `SAMPLE`; how many rows it has. Long texts are cut, and what is not measured is left out."""
    wanted = min(SAMPLE_ROWS, SAMPLE_CELLS // max(len(columns), 1))
    percent = min(100.0, 100 * wanted / max(rows, 1))
    chosen = [
        f"left({quoted(name)}, {LONGEST_TEXT}) AS {quoted(name)}" if type_ == "VARCHAR" else quoted(name)
        for name, type_ in columns
        if kind_of(type_) != "other"
    ] or ["1 AS nothing"]
    drawn = f"SELECT {', '.join(chosen)} FROM {source} TABLESAMPLE bernoulli({percent!r} PERCENT)"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(SAMPLE)} AS {drawn}")
    return _row(connection, f"SELECT count(*) FROM {quoted(SAMPLE)}")[0]


def _with_top(
    connection: duckdb.DuckDBPyConnection, source: str, column: ColumnProfile, of_sample: ColumnProfile | None
) -> ColumnProfile:
    """With the most frequent values: counted in the table where they are few, else put on its scale."""
    if of_sample is None or column.kind not in ("text", "boolean"):
        return column
    if of_sample.distinct <= FEW_VALUES:
        return replace(column, top=_top(connection, source, column.name), patterns=of_sample.patterns)
    scale = column.filled / of_sample.filled
    top = tuple((value, round(rows * scale)) for value, rows in of_sample.top if rows > 1)
    return replace(column, top=top, top_estimated=True, patterns=of_sample.patterns)


def _masked(column: ColumnProfile, personal: Collection[str]) -> ColumnProfile:
    """Without any value, where the column is classified."""
    if column.name not in personal and column.name.lower() not in personal:
        return column
    type_ = "ENUM" if column.type.startswith("ENUM") else column.type  # Its name lists the values.
    return replace(column, type=type_, minimum=None, maximum=None, quantiles=(), mean=None, std=None, top=(), masked=True)


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
    if not _MAY_BE_INFINITE.fullmatch(type_):
        return f"{quoted(name)} IS NOT NULL"
    coarser = "::TIMESTAMP" if type_.startswith("TIMESTAMP_") else ""
    return f"isfinite({quoted(name)}{coarser})"


def _all(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    columns: Sequence[tuple[str, str]],
    rows: int,
    together: int,
    sample: Mapping[str, ColumnProfile] | None = None,
) -> list[ColumnProfile]:
    return [
        profile
        for first in range(0, len(columns), together)
        for profile in _measure(connection, source, columns[first : first + together], rows, sample)
    ]


def _measure(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    columns: Sequence[tuple[str, str]],
    rows: int,
    sample: Mapping[str, ColumnProfile] | None,
) -> list[ColumnProfile]:
    import duckdb

    try:
        return _scan(connection, source, columns, rows, sample)
    except duckdb.OutOfRangeException:  # The square of a value beyond 1e154 does not fit into a double.
        if len(columns) == 1:
            return _scan(connection, source, columns, rows, sample, with_std=False)
    return [p for column in columns for p in _measure(connection, source, [column], rows, sample)]


def _scan(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    columns: Sequence[tuple[str, str]],
    rows: int,
    sample: Mapping[str, ColumnProfile] | None,
    with_std: bool = True,
) -> list[ColumnProfile]:
    """One scan; with a sample, distinct values are estimated and the quantiles are the sample's."""
    derived = [sql for i, (name, type_) in enumerate(columns) for sql in _derived(i, name, type_)]
    wanted = [sql for i, (_, type_) in enumerate(columns) for sql in _expressions(i, type_, sample is not None, with_std)]
    measured = _row(connection, f"SELECT {', '.join(wanted)} FROM (SELECT {', '.join(derived)} FROM {source})")
    width = len(_MEASUREMENTS)
    profiles = []
    for i, (name, type_) in enumerate(columns):
        found = dict(zip(_MEASUREMENTS, measured[i * width : (i + 1) * width], strict=True))
        filled, drawn = found["filled"], (sample or {}).get(name)
        quantiles = drawn.quantiles if drawn else tuple(_value(type_, q) for q in found["quantiles"] or ())
        profiles.append(
            ColumnProfile(
                name=name,
                type=type_,
                kind=kind_of(type_),
                rows=rows,
                nulls=rows - filled,
                distinct=min(found["distinct"], filled),  # An estimate may exceed what is possible.
                minimum=_value(type_, found["minimum"]),
                maximum=_value(type_, found["maximum"]),
                quantiles=tuple(q for q in quantiles if q is not None),
                mean=found["mean"],
                std=found["std"],
                non_finite=found["non_finite"],
                lengths=(int(found["lengths"][0]), int(found["lengths"][1]), found["lengths"][2]) if found["lengths"] else None,
            )
        )
    return profiles


def _derived(place: int, name: str, type_: str) -> list[str]:
    """SQL for the column as `c<place>`, its finite values as `v<place>`, and the lengths of texts as `l<place>`.

    Filtering values once is cheaper than filtering each aggregate.
    """
    sql, column = [f"{quoted(name)} AS c{place}"], quoted(name)
    if kind_of(type_) in ("number", "time"):
        filtered = f"CASE WHEN {finite(name, type_)} THEN {column} END" if _MAY_BE_INFINITE.fullmatch(type_) else column
        sql.append(f"{filtered} AS v{place}")
    return [*sql, f"length({column}) AS l{place}"] if type_ == "VARCHAR" else sql


def _expressions(place: int, type_: str, approximate: bool, with_std: bool) -> list[str]:
    """SQL for each of `_MEASUREMENTS`. Values leave as text, which holds any integer, decimal and time exactly."""
    column, value, length, kind = f"c{place}", f"v{place}", f"l{place}", kind_of(type_)
    sql = dict.fromkeys(_MEASUREMENTS, "NULL")
    sql["filled"] = f"count({column})"
    sql["non_finite"] = f"count({column}) - count({value})" if _MAY_BE_INFINITE.fullmatch(type_) else "0"
    sql["distinct"] = f"approx_count_distinct({column})" if approximate else f"count(DISTINCT {column})"
    if kind == "text":
        sql["minimum"], sql["maximum"] = (f"left({f}({column})::VARCHAR, {LONGEST_TEXT})" for f in ("min", "max"))
    if type_ == "VARCHAR":
        sql["lengths"] = f"CASE WHEN count({column}) > 0 THEN [min({length})::DOUBLE, max({length}), avg({length})] END"
    if kind in ("number", "time"):
        utc = "timezone('UTC', {})" if type_ == ZONED else "{}"  # Of what was found: it costs much for each row.
        sql["minimum"], sql["maximum"] = (f"({utc.format(f'{f}({value})')})::VARCHAR" for f in ("min", "max"))
        if not approximate:
            found = f"quantile_disc({value}, {list(QUANTILES)})"
            found = f"list_transform({found}, lambda x: timezone('UTC', x))" if type_ == ZONED else found
            sql["quantiles"] = f"({found})::VARCHAR[]"
    if kind == "number":
        # Averages of the wide integers overflow silently in their own type.
        sql["mean"] = f"avg({value}::DOUBLE)"
        sql["std"] = f"stddev_samp({value}::DOUBLE)" if with_std else "NULL"
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
            f"GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {TOP_KEPT}"
        ).fetchall()
    )


def _patterns(connection: duckdb.DuckDBPyConnection, source: str, column: ColumnProfile) -> tuple[tuple[str, float], ...]:
    """Of classified texts too: letters and digits are gone, and what is neither is told only within ASCII."""
    name = quoted(column.name)
    shape = rf"regexp_replace(left({name}, 40), '\pL[\pL\pM]*', 'x', 'g')"
    shape = rf"regexp_replace(regexp_replace({shape}, '\pN', '9', 'g'), '[^ -~]', '?', 'g')"
    drawn = f"SELECT {name} FROM {source} WHERE {name} IS NOT NULL"
    if column.filled > PATTERN_ROWS:
        drawn += f" USING SAMPLE reservoir({PATTERN_ROWS} ROWS) REPEATABLE (5)"
    counted = f"SELECT left({shape}, 24) AS shape, count(*) AS n FROM ({drawn}) GROUP BY 1"
    found = connection.execute(
        f"SELECT shape, n FROM ({counted}) WHERE n > 1 ORDER BY n DESC, shape LIMIT {PATTERNS}"
    ).fetchall()
    return tuple((shape, n / min(column.filled, PATTERN_ROWS)) for shape, n in found)


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None, "an aggregate without GROUP BY has one row"
    return row
