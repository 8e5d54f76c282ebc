"""Which columns, alone or in pairs, tell the rows of a table apart."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.explore.scan import quoted, quoted_relation, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from caudal.explore.profile import ColumnProfile, TableProfile

#: A larger table is not grouped by a key to verify it: that would hold all keys.
MOST_ROWS_VERIFIED = 20_000_000
#: Candidates that are verified in the table, and columns of which pairs are made.
MOST_VERIFIED, MOST_PAIRED = 3, 12
#: Pairs are tried on so many rows before they are tried on all.
ROWS_TRIED = 20_000
#: An estimate of distinct values is seldom farther off than this.
ESTIMATE_ERROR = 0.15


@dataclass(frozen=True)
class KeyCandidate:
    """Columns without nulls whose values together never repeat: in the table if `verified`, else in the sample only."""

    columns: tuple[str, ...]
    verified: bool


def key_candidates(connection: duckdb.DuckDBPyConnection, profile: TableProfile) -> list[KeyCandidate]:
    """Single columns; only if there are none, pairs. Fractions are measures, which no key is made of."""
    if profile.rows < 2:
        return []
    full = [
        c
        for c in profile.columns
        if not (c.nulls or c.non_finite or c.kind == "other" or c.type.startswith(("FLOAT", "DOUBLE", "DECIMAL")))
    ]
    singles = [(c.name,) for c in full if _may_be_unique(c, profile)]
    if not profile.approximate:
        found = [KeyCandidate(names, verified=True) for names in singles]
    else:
        found = _verified(connection, profile, singles)
    return found or _verified(connection, profile, _pairs(full, profile.rows))


def _may_be_unique(column: ColumnProfile, profile: TableProfile) -> bool:
    if not profile.approximate:
        return column.unique
    return column.kind in ("number", "text") and column.distinct >= (1 - ESTIMATE_ERROR) * profile.rows


def _pairs(columns: Sequence[ColumnProfile], rows: int) -> list[tuple[str, ...]]:
    """Pairs with enough values to tell all rows apart."""
    likely = sorted((c for c in columns if c.kind != "boolean"), key=lambda c: -c.distinct)[:MOST_PAIRED]
    enough = [(a, b) for a, b in itertools.combinations(likely, 2) if a.distinct * b.distinct * (1 + ESTIMATE_ERROR) >= rows]
    order = {c.name: i for i, c in enumerate(columns)}
    return [tuple(sorted((a.name, b.name), key=order.__getitem__)) for a, b in enough]


def _verified(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, candidates: Sequence[tuple[str, ...]]
) -> list[KeyCandidate]:
    """Those that hold, at most `MOST_VERIFIED`: first on a few rows, then on the sample, then on the table."""
    if not candidates:
        return []
    source, table = quoted_relation(source_of(profile)), quoted_relation(profile.relation)
    listed = ["(" + ", ".join(map(quoted, names)) + ")" for names in candidates]
    first_rows = f"(SELECT * FROM {source} LIMIT {ROWS_TRIED})"
    tried = connection.execute(
        f"SELECT count(*), {', '.join(f'count(DISTINCT {columns})' for columns in listed)} FROM {first_rows}"
    ).fetchone()
    assert tried is not None, "an aggregate without GROUP BY has one row"
    left = [names for names, distinct in zip(candidates, tried[1:], strict=True) if distinct == tried[0]]
    found = []
    for names in left[: 2 * MOST_VERIFIED]:
        if profile.approximate and _repeats(connection, source, names):
            continue
        verified = profile.rows <= MOST_ROWS_VERIFIED
        if verified and _repeats(connection, table, names):
            continue
        found.append(KeyCandidate(names, verified))
        if len(found) == MOST_VERIFIED:
            break
    return found


def _repeats(connection: duckdb.DuckDBPyConnection, source: str, names: Sequence[str]) -> bool:
    columns = ", ".join(map(quoted, names))
    grouped = f"SELECT 1 FROM {source} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"
    return connection.execute(grouped).fetchone() is not None
