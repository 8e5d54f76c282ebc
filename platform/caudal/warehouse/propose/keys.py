"""Columns, or pairs of them, whose values are unique over the sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from caudal.warehouse.propose.table import RELATION

if TYPE_CHECKING:
    import duckdb

#: Fewer rows tell nothing.
_ROWS = 2

#: So many columns are tried in pairs, and so many pairs are told.
_PAIRED, _TOLD = 8, 3

_NAMED_AS_KEY = re.compile(
    r"(?i)(?:^|[_\W\d])(?:id|uuid|guid|key|no|nr|num|number|nummer|code|ref|reference)(?:$|[_\W])|[a-z](?:Id|ID|No|Nr|Key|Code|Number|Nummer|nummer|Num)$|(?:nummer|number)$"
)  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """What may be the key.

    Attributes:
        single: columns whose values are unique and never absent.
        chosen: the one of them that is named as a key, or stands first; None if there is no such.
        pairs: two columns that are unique together, where no single one is.

    """

    single: tuple[str, ...] = ()
    chosen: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


def find_keys(connection: duckdb.DuckDBPyConnection, columns: Sequence[tuple[str, str]], rows: int) -> Keys:
    """Keys among columns that always have a value.

    Args:
        columns: name, and how the column is called in the table of the sample; only those that may be a key.
        rows: of the sample.

    """
    if rows < _ROWS or not columns:
        return Keys()
    counted = ", ".join(f"approx_count_distinct({place})" for _, place in columns)
    roughly = connection.execute(f"SELECT {counted} FROM {RELATION}").fetchone() or ()
    single = tuple(
        name
        for (name, place), about in zip(columns, roughly, strict=True)
        if about > rows * 0.8 and _distinct(connection, place) == rows
    )
    if single:
        named = [n for n in single if _NAMED_AS_KEY.search(n)]
        first = [name for name, place in columns if place == "c0" and name in single]
        return Keys(single, next(iter([*named, *first]), None))
    likely = sorted(zip(columns, roughly, strict=True), key=lambda pair: -pair[1])[:_PAIRED]
    pairs = []
    for ((a, at), n), ((b, bt), m) in combinations(likely, 2):
        if n * m >= rows * 0.8 and len(pairs) < _TOLD and _distinct(connection, f"({at}, {bt})") == rows:
            pairs.append((a, b))
    return Keys(pairs=tuple(pairs))


def _distinct(connection: duckdb.DuckDBPyConnection, expression: str) -> int:
    row = connection.execute(f"SELECT count(DISTINCT {expression}) FROM {RELATION}").fetchone()
    return row[0] if row else 0
