"""Whether the newest load is unlike those before it, column by column.

Numbers are compared in the tenths of the loads before, texts of few values by value, other texts by their length. The measure
is the population stability index, sum of (p - q) ln(p / q). Samples of one population have an index too, about (bins - 1) times
(1/n + 1/m), distributed as a chi-square (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018): a change
is told from the declared index on, and only where chance makes no such index.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.warehouse.sql import identifier, one_row

if TYPE_CHECKING:
    from caudal.contracts.rules import DistributionSettings
    from caudal.warehouse.connection import Connection

_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
)
#: A text column of more values than this, before, is compared by the length of its texts.
_MOST_VALUES = 50
#: A column with more different values than this share of its rows names things, and is not compared.
_NAMES_THINGS = 0.5
#: Keeps an empty bin from making an infinite index.
_LEAST_SHARE = 1e-4
#: Standard deviations of the index of two samples of one population that are left to chance.
_CHANCE = 4.0


@dataclass(frozen=True)
class Compared:
    """A column before and in the load.

    Attributes:
        index: the population stability index; None where the column is not compared, for the reason in `told`.
        least: from which index on it has changed.
        told: what differs most, in words.

    """

    column: str
    index: float | None
    least: float
    nulls_before: float
    nulls_now: float
    told: str = ""
    changed: bool = False


def stability_index(before: Iterable[float], now: Iterable[float]) -> float:
    """The population stability index of two lists of shares, bin by bin; an empty bin counts as a ten-thousandth."""
    pairs = ((max(p, _LEAST_SHARE), max(q, _LEAST_SHARE)) for q, p in zip(before, now, strict=True))
    return sum((p - q) * math.log(p / q) for p, q in pairs)


def chance_index(bins: int, n: int, m: int) -> float:
    """What two samples of one population, of n and m values, hardly ever exceed."""
    free = max(bins - 1, 1)
    return (free + _CHANCE * math.sqrt(2 * free)) * (1 / n + 1 / m)


def compare(
    connection: Connection,
    before: str,
    now: str,
    columns: Sequence[tuple[str, str]],
    settings: DistributionSettings,
) -> list[Compared]:
    """Compare `(name, type)` columns of two queries, given as what a FROM takes."""
    compared = []
    for name, kind in columns:
        quoted = identifier(name)
        n, nulls_before, distinct = one_row(
            connection, f"SELECT count({quoted}), 1 - count({quoted}) / count(*), approx_count_distinct({quoted}) FROM {before}"
        )
        m, nulls_now = one_row(connection, f"SELECT count({quoted}), 1 - count({quoted}) / count(*) FROM {now}")
        least, index, told = settings.index, None, ""
        if min(n, m) == 0 or _is_name(kind, n, distinct):
            told = "not compared: " + ("no values" if min(n, m) == 0 else "nearly each row has a value of its own")
        elif (bins := _bins(connection, before, now, quoted, kind, distinct)) is not None:
            old, new = bins
            names = list(old.keys() | new.keys())
            index = stability_index(_shares(old, names), _shares(new, names))
            least = max(settings.index, chance_index(len(names), n, m))
            told = _most(old, new) if index >= least else ""
        else:
            told = "not compared: neither number nor text"
        changed = (index is not None and index >= least) or abs(nulls_now - nulls_before) >= settings.nulls
        compared.append(Compared(name, index, least, nulls_before, nulls_now, told, changed))
    return compared


def _is_name(kind: str, rows: int, distinct: int) -> bool:
    return not kind.startswith("DECIMAL") and kind not in ("DOUBLE", "FLOAT") and rows > 0 and distinct > _NAMES_THINGS * rows


def _bins(
    connection: Connection, before: str, now: str, quoted: str, kind: str, distinct: int
) -> tuple[dict[Any, int], dict[Any, int]] | None:
    if kind.startswith("DECIMAL") or kind in _NUMBERS:
        value = f"CAST({quoted} AS DOUBLE)"
    elif kind == "VARCHAR" and distinct > _MOST_VALUES:
        value = f"CAST(length({quoted}) AS DOUBLE)"
    elif kind in ("VARCHAR", "BOOLEAN"):
        return _counts(connection, before, quoted, quoted), _counts(connection, now, quoted, quoted)
    else:
        return None
    tenths = ", ".join(f"quantile_cont({value}, 0.{tenth})" for tenth in range(1, 10))
    edges = connection.execute(f"SELECT {tenths} FROM {before} WHERE {quoted} IS NOT NULL AND isfinite({value})").fetchone()
    marks = [repr(edge) for edge in sorted({float(edge) for edge in edges or () if edge is not None})]
    bin_of = " + ".join(f"({value} > CAST({mark} AS DOUBLE))::INTEGER" for mark in marks) or "0"
    if len(marks) < 9:  # Values that are so frequent that they are several tenths: each is a bin of its own.
        bin_of = f"2 * ({bin_of}) + ({' OR '.join(f'{value} = CAST({mark} AS DOUBLE)' for mark in marks) or 'false'})::INTEGER"
    return _counts(connection, before, bin_of, quoted), _counts(connection, now, bin_of, quoted)


def _counts(connection: Connection, table: str, value: str, quoted: str) -> dict[Any, int]:
    order = f"ORDER BY 2 DESC, 1 LIMIT {4 * _MOST_VALUES}"
    sql = f"SELECT {value}, count(*) FROM {table} WHERE {quoted} IS NOT NULL GROUP BY 1 {order}"
    return dict(connection.execute(sql).fetchall())


def _shares(counts: Mapping[Any, int], names: Sequence[Any]) -> list[float]:
    total = sum(counts.values())
    return [counts.get(name, 0) / total for name in names]


def _most(old: Mapping[Any, int], new: Mapping[Any, int]) -> str:
    """The bin whose share changed most, in words."""
    n, m = sum(old.values()), sum(new.values())
    name = max(old.keys() | new.keys(), key=lambda k: abs(new.get(k, 0) / m - old.get(k, 0) / n))
    p, q = old.get(name, 0) / n, new.get(name, 0) / m
    what = "a range of values" if isinstance(name, int) and not isinstance(name, bool) else f"`{name}`"
    return f"{what}: {p:.1%} before, {q:.1%} now"
