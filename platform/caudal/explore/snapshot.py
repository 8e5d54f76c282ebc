"""What of a profile is remembered to compare the next one with, and the file that holds the last of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from caudal.explore.scan import finite, quoted, quoted_relation, source_of
from caudal.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from caudal.explore.profile import ColumnProfile, TableProfile

#: Profiles of a table that are remembered.
KEPT = 60
FORMAT = 1
DECILES = tuple(i / 10 for i in range(1, 10))
#: Columns whose bins are counted in one scan.
_TOGETHER = 16


@dataclass(frozen=True)
class ColumnSnapshot:
    """One column. Of a classified one there are no values.

    Attributes:
        edges: the deciles of numbers and times (seconds since 1970-01-01 UTC), each once.
        shares: of the finite values, at most the first edge, the second, ..., beyond the last.
        values: rows of the most frequent values of texts and booleans.
        complete: `values` are all values that there are.

    """

    type: str
    nulls: float
    distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    values: Mapping[str, int] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True)
class Snapshot:
    """One table in one published version.

    Attributes:
        at: when, as ISO 8601 text in UTC.
        measured: rows from which shares were counted.

    """

    version: str
    at: str
    rows: int
    measured: int
    columns: Mapping[str, ColumnSnapshot]


def take_snapshot(connection: duckdb.DuckDBPyConnection, profile: TableProfile, version: str, at: str) -> Snapshot:
    """What is remembered of a profile whose connection (and sample) is still open."""
    edges = _deciles(connection, profile)
    shares = shares_between(connection, profile, edges)
    spans = _spans(connection, profile)
    columns = {c.name: _column(c, edges.get(c.name, ()), shares.get(c.name, ()), spans.get(c.name)) for c in profile.columns}
    return Snapshot(version, at, profile.rows, profile.sampled or profile.rows, columns)


def shares_between(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, edges: Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, ...]]:
    """The share of each column's finite values at most each edge and above the one before; those beyond the last come last."""
    wanted = [c for c in _measured(profile) if edges.get(c.name)]
    found: dict[str, tuple[float, ...]] = {}
    for columns in _batches(wanted):
        counts = [
            f"[count(v{i}), {', '.join(f'count(*) FILTER (v{i} <= {edge!r}::DOUBLE)' for edge in edges[c.name])}]"
            for i, c in enumerate(columns)
        ]
        for c, (all_, *below) in zip(columns, _aggregates(connection, profile, columns, counts), strict=True):
            cumulated = [0, *below, all_]
            if all_:
                found[c.name] = tuple((b - a) / all_ for a, b in itertools.pairwise(cumulated))
    return found


def read_history(path: Path) -> list[Snapshot]:
    """The snapshots, oldest first; none if there is no file, or one of another format."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            return []
        return [_snapshot(entry) for entry in document["profiles"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def remember(path: Path, history: Sequence[Snapshot], newest: Snapshot) -> None:
    """Write the history with `newest` at its end, in place of one of the same version; the oldest beyond `KEPT` go."""
    kept = [*(s for s in history if s.version != newest.version), newest][-KEPT:]
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        document = {"format": FORMAT, "profiles": [asdict(s) for s in kept]}
        temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _snapshot(entry: dict[str, Any]) -> Snapshot:
    columns = {}
    for name, column in entry["columns"].items():
        known: dict[str, Any] = column | {"edges": tuple(column["edges"]), "shares": tuple(column["shares"])}
        columns[name] = ColumnSnapshot(**known)
    return Snapshot(entry["version"], entry["at"], entry["rows"], entry["measured"], columns)


def _column(
    c: ColumnProfile, edges: tuple[float, ...], shares: tuple[float, ...], span: tuple[float, float] | None
) -> ColumnSnapshot:
    values = dict(c.top) if c.kind in ("text", "boolean") else {}
    complete = bool(values) and not c.top_estimated and sum(values.values()) == c.filled
    low, high = span or (None, None)
    return ColumnSnapshot(c.type, c.null_share, c.distinct, low, high, c.mean, edges, shares, values, complete)


def _measured(profile: TableProfile) -> list[ColumnProfile]:
    """The columns whose values are on an axis."""
    return [c for c in profile.columns if c.kind in ("number", "time") and c.type != "TIME" and not c.masked and c.filled]


def _batches(columns: Sequence[ColumnProfile]) -> Iterator[Sequence[ColumnProfile]]:
    return (columns[first : first + _TOGETHER] for first in range(0, len(columns), _TOGETHER))


def _aggregates(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, columns: Sequence[ColumnProfile], wanted: Sequence[str]
) -> tuple[Any, ...]:
    """Aggregates of `v0`, `v1`, ...: the finite values of `columns` as doubles."""
    derived = [
        f"CASE WHEN {finite(c.name, c.type)} THEN "
        + (f"epoch({quoted(c.name)})" if c.kind == "time" else f"{quoted(c.name)}::DOUBLE")
        + f" END AS v{i}"
        for i, c in enumerate(columns)
    ]
    source = quoted_relation(source_of(profile))
    row = connection.execute(f"SELECT {', '.join(wanted)} FROM (SELECT {', '.join(derived)} FROM {source})").fetchone()
    assert row is not None, "an aggregate without GROUP BY has one row"
    return row


def _deciles(connection: duckdb.DuckDBPyConnection, profile: TableProfile) -> dict[str, tuple[float, ...]]:
    found = {}
    for columns in _batches(_measured(profile)):
        wanted = [f"quantile_disc(v{i}, {list(DECILES)})" for i in range(len(columns))]
        for c, deciles in zip(columns, _aggregates(connection, profile, columns, wanted), strict=True):
            if deciles:
                found[c.name] = tuple(sorted(set(deciles)))
    return found


def _spans(connection: duckdb.DuckDBPyConnection, profile: TableProfile) -> dict[str, tuple[float, float]]:
    """Least and greatest as doubles: of the table where they are known exactly, times of what is sampled."""
    spans = {
        c.name: (float(c.minimum), float(c.maximum))
        for c in _measured(profile)
        if c.kind == "number" and c.minimum is not None and c.maximum is not None
    }
    for columns in _batches([c for c in _measured(profile) if c.kind == "time"]):
        wanted = [f"[min(v{i}), max(v{i})]" for i in range(len(columns))]
        for c, (low, high) in zip(columns, _aggregates(connection, profile, columns, wanted), strict=True):
            if low is not None:
                spans[c.name] = (low, high)
    return spans
