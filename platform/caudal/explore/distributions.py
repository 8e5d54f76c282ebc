"""Which columns of a table are worth a picture, and the counts that the picture shows. Only counts leave the database."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from caudal.explore.profile import TOP_VALUES
from caudal.explore.scan import ZONED, finite, quoted, quoted_relation

if TYPE_CHECKING:
    import duckdb

    from caudal.explore.profile import ColumnProfile, TableProfile

BINS = 32
#: Integers with at most this many values are counted value by value.
DISCRETE_VALUES = 24
#: A text column whose values repeat less than this often on average names things rather than grouping them.
FEWEST_REPEATS = 2.0
MOST_POINTS = 800

Unit = Literal["day", "week", "month", "year"]

_DAYS: dict[Unit, float] = {"day": 1, "week": 7, "month": 30.4, "year": 365.2}
_DATED = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", ZONED)
_IDENTIFIES = re.compile(r"^_|(^|_)(id|key|sk|pk|upc|ean|sku|code|uuid|guid|number|no|nr)$", re.IGNORECASE)
_ADDS_UP = re.compile(r"(^|_)(sales|revenue|turnover|amount|value|total|gross|net|sum)(_|$)", re.IGNORECASE)
_DOES_NOT_ADD_UP = re.compile(r"(^|_)(share|rate|ratio|avg|average|mean|median|pct|percent|price|score)(_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Categories:
    """The rows of the most frequent values; `others` are the rows of the rest."""

    column: ColumnProfile
    values: tuple[tuple[str, int], ...]
    others: int


@dataclass(frozen=True)
class Histogram:
    """Rows in bins of equal width: `counts[i]` between `edges[i]` and `edges[i + 1]`.

    Attributes:
        edges: numbers, or seconds since 1970-01-01 UTC where the column is of time.
        outside: rows left out on both sides, so that a few extremes do not hide the rest.
        usual: rows left out because they all hold one value, `column.quantiles[0]`, and would hide the rest.
        discrete: each bin is one integer, its left edge.

    """

    column: ColumnProfile
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    outside: int = 0
    usual: int = 0
    discrete: bool = False


@dataclass(frozen=True)
class TimeSeries:
    """Rows, and the sum of a measure, for each `unit` of time; a unit without rows counts 0.

    Attributes:
        outside: rows with a time far from the others, or none, left out.

    """

    column: str
    unit: Unit
    starts: tuple[dt.date, ...]
    rows: tuple[int, ...]
    measure: str | None
    sums: tuple[float, ...]
    outside: int


def main_columns(profile: TableProfile, limit: int = 9) -> list[ColumnProfile]:
    """The columns that say something as a distribution, measures first if there are too many.

    Left out: identifiers, constants, free texts, and the time that `time_series` shows.
    """
    time = main_time(profile)

    def worth_it(c: ColumnProfile) -> bool:
        if c.masked or c.distinct < 2 or _IDENTIFIES.search(c.name):
            return False
        if c.kind in ("text", "boolean"):
            return bool(c.top) and c.filled >= FEWEST_REPEATS * c.distinct
        return c.kind == "number" or (c.type in _DATED and time is not None and _days(c) != _days(time))

    order = {"number": 0, "text": 1, "boolean": 1, "time": 2}
    chosen = sorted((c for c in profile.columns if worth_it(c)), key=lambda c: order[c.kind])[:limit]
    return [c for c in profile.columns if c in chosen]


def distribution(connection: duckdb.DuckDBPyConnection, relation: str, column: ColumnProfile) -> Categories | Histogram | None:
    """The distribution of one column that was profiled, or None if its values cannot be put on an axis."""
    if column.kind in ("text", "boolean"):
        shown = column.top[:TOP_VALUES]
        return Categories(column, shown, column.filled - sum(rows for _, rows in shown))
    source, where = quoted_relation(relation), finite(column.name, column.type)
    value = f"epoch({quoted(column.name)})" if column.kind == "time" else f"{quoted(column.name)}::DOUBLE"
    same = bool(column.quantiles) and column.quantiles[0] == column.quantiles[-1]
    values = f"SELECT {value} AS v FROM {source} WHERE {where}"
    if same:
        values += f" AND {value} <> (SELECT {_span(value)}[2] FROM {source} WHERE {where})"
    spans = connection.execute(f"SELECT {_span('v')}, count(*) FROM ({values})").fetchone()
    if spans is None or spans[0] is None:
        return None
    low, high = _ordinary_range(*spans[0])
    if not (math.isfinite(high - low) and high > low):
        return None
    low, high, bins, discrete = _bins(low, high, "INT" in column.type or column.type == "BIGNUM")
    # Literals: the first parameter that a process binds makes DuckDB import pandas, which takes a second.
    place = f"floor((v - {low!r}::DOUBLE) / {high - low!r}::DOUBLE * {bins})::INTEGER"
    inside = f"v >= {low!r}::DOUBLE AND v <= {high!r}::DOUBLE"
    counts = dict(
        connection.execute(
            f"SELECT CASE WHEN {inside} THEN least({bins - 1}, {place}) END AS bin, count(*) FROM ({values}) GROUP BY bin"
        ).fetchall()
    )
    return Histogram(
        column,
        edges=tuple(low + (high - low) * i / bins for i in range(bins + 1)),
        counts=tuple(counts.get(i, 0) for i in range(bins)),
        outside=counts.get(None, 0),
        usual=column.filled - column.non_finite - spans[1],
        discrete=discrete,
    )


def main_time(profile: TableProfile) -> ColumnProfile | None:
    """The date or timestamp by which rows are counted over time: the fullest, and of these the first."""
    candidates = [
        c for c in profile.columns if c.type in _DATED and c.distinct > 1 and not (c.masked or c.name.startswith("_"))
    ]
    return min(candidates, key=lambda c: c.nulls, default=None)


def main_measure(profile: TableProfile) -> ColumnProfile | None:
    """The fractional number that is summed over time, or None: one whose name says that it adds up, else the first."""
    candidates = [
        c
        for c in profile.columns
        if c.type.startswith(("DECIMAL", "DOUBLE", "FLOAT"))
        and c.distinct > 1
        and not (c.non_finite or c.masked)
        and not _IDENTIFIES.search(c.name)
        and not _DOES_NOT_ADD_UP.search(c.name)
    ]
    return next((c for c in candidates if _ADDS_UP.search(c.name)), candidates[0] if candidates else None)


def time_series(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    profile: TableProfile,
    measure: str | None = None,
    sample: str | None = None,
) -> TimeSeries | None:
    """Rows and the main measure (or `measure`) by day, or by the shortest unit that keeps the picture readable.

    All rows are counted; the ordinary range of the times may be that of a `sample`.
    None for a table without a date or timestamp that varies.
    """
    column = main_time(profile)
    if column is None:
        return None
    chosen = measure or (found.name if (found := main_measure(profile)) else None)
    source, time = quoted_relation(relation), quoted(column.name)
    if column.type == ZONED:
        time = f"timezone('UTC', {time})"
    days = f"datediff('day', DATE '1970-01-01', ({time})::DATE)"
    where = f"{finite(column.name, column.type)} AND ({time})::DATE BETWEEN DATE '0001-01-01' AND DATE '9999-12-01'"
    ranged = quoted_relation(sample) if sample else source
    span = connection.execute(f"SELECT {_span(days)} FROM {ranged} WHERE {where}").fetchone()
    if span is None or span[0] is None:
        return None
    low, high = (dt.date(1970, 1, 1) + dt.timedelta(days=int(d)) for d in _ordinary_range(*span[0]))
    most = min(MOST_POINTS, profile.rows)  # More points than rows would draw a comb.
    unit = next((u for u in _DAYS if (high - low).days / _DAYS[u] < most), "year")
    first, final = f"DATE '{low.isoformat()}'", f"DATE '{high.isoformat()}'"
    total = f"coalesce(sum({quoted(chosen)}), 0)::DOUBLE" if chosen else "0.0"
    points = connection.execute(
        f"""
        WITH counted AS (
            SELECT date_trunc('{unit}', ({time})::DATE)::DATE AS start, count(*) AS row_count, {total} AS total
            FROM {source} WHERE {where} AND ({time})::DATE BETWEEN {first} AND {final} GROUP BY 1
        )
        SELECT every.start, coalesce(row_count, 0), coalesce(total, 0)
        FROM (
            SELECT unnest(generate_series(
                date_trunc('{unit}', {first})::TIMESTAMP, date_trunc('{unit}', {final})::TIMESTAMP,
                INTERVAL 1 {unit}
            ))::DATE AS start
        ) AS every LEFT JOIN counted USING (start) ORDER BY start
        """
    ).fetchall()
    starts, rows, sums = zip(*points, strict=True)
    return TimeSeries(column.name, unit, starts, rows, chosen, sums if chosen else (), profile.rows - sum(rows))


def _bins(low: float, high: float, integral: bool) -> tuple[float, float, int, bool]:
    """Lowest and highest edge, number of bins, and whether each bin is one integer."""
    if not integral:
        return low, high, BINS, False
    if high - low < DISCRETE_VALUES:
        return low, high + 1, round(high - low) + 1, True
    width = math.ceil((high - low + 1) / BINS)  # A whole number, or some bins would hold more integers than others.
    bins = math.ceil((high - low + 1) / width)
    return low, low + width * bins, bins, False


def _days(column: ColumnProfile) -> tuple[str, str]:
    """The first and the last day: what a time and its date have in common."""
    return str(column.minimum).partition(" ")[0], str(column.maximum).partition(" ")[0]


def _span(value: str) -> str:
    """SQL for the least, 5 %, 95 % and greatest of a value."""
    return f"quantile_disc({value}, [0, 0.05, 0.95, 1])"


def _ordinary_range(least: float, low: float, high: float, greatest: float) -> tuple[float, float]:
    """The 5 % to 95 % range widened by itself on both sides, but not beyond the values; all of them if that is empty."""
    spread = high - low
    return (max(least, low - spread), min(greatest, high + spread)) if spread > 0 else (least, greatest)
