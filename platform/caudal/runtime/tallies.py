"""Counters that only rise, kept in a file so that neither a restart nor the removal of old runs makes them fall."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caudal.store.sqlite import reading, transaction

_TABLES = (
    "CREATE TABLE IF NOT EXISTS tally (name TEXT, labels TEXT, value REAL NOT NULL, PRIMARY KEY (name, labels)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS counted (run_id TEXT PRIMARY KEY, ended_s REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor_s REAL NOT NULL)",
)

Labels = tuple[str, ...]


@dataclass
class Increase:
    """What is to be added. A distribution is counted by the upper bounds of its buckets."""

    values: dict[tuple[str, Labels], float] = field(default_factory=lambda: defaultdict(float))

    def add(self, name: str, labels: Labels, amount: float = 1.0) -> None:
        self.values[name, labels] += amount

    def observe(self, name: str, labels: Labels, value: float, bounds: Sequence[float]) -> None:
        """One more value of the distribution `name`."""
        bucket = next((str(bound) for bound in bounds if value <= bound), "+Inf")
        self.add(name, (*labels, bucket))
        self.add(f"{name}_sum", labels, value)


class Tallies:
    """The counters in the SQLite file at `path`, which is created if need be. Safe for many processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with transaction(path) as db:
                for table in _TABLES:
                    db.execute(table)

    def place(self) -> tuple[float, set[str]]:
        """Up to when runs were counted, and which of the last ones were."""
        with reading(self._path) as db:
            row = db.execute("SELECT cursor_s FROM place").fetchone()
            return row[0] if row else 0.0, {run_id for (run_id,) in db.execute("SELECT run_id FROM counted")}

    def add(self, counted: Mapping[str, float], cursor_s: float, keep_s: float, increase: Increase) -> bool:
        """Add, once a run: False, and nothing added, if somebody else counted one of these runs meanwhile."""
        with transaction(self._path) as db:
            for run_id in counted:
                if db.execute("SELECT 1 FROM counted WHERE run_id = ?", (run_id,)).fetchone():
                    return False
            db.executemany("INSERT INTO counted VALUES (?, ?)", list(counted.items()))
            db.execute("DELETE FROM counted WHERE ended_s < ?", (cursor_s - keep_s,))
            db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (cursor_s,))
            db.executemany(
                "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [(name, json.dumps(labels), value) for (name, labels), value in increase.values.items()],
            )
        return True

    def read(self, names: Collection[str]) -> dict[str, dict[Labels, float]]:
        """The counters of these names."""
        found: dict[str, dict[Labels, float]] = {name: {} for name in names}
        with reading(self._path) as db:
            for name, labels, value in db.execute("SELECT name, labels, value FROM tally ORDER BY name, labels"):
                if name in found:
                    found[name][tuple(json.loads(labels))] = value
        return found


def buckets(counts: Mapping[Labels, float], bounds: Sequence[float]) -> dict[Labels, list[tuple[str, float]]]:
    """Cumulated buckets of each distribution, as Prometheus has them, from counts whose last label is the bound."""
    by_labels: dict[Labels, dict[str, float]] = defaultdict(dict)
    for labels, value in counts.items():
        by_labels[labels[:-1]][labels[-1]] = value
    cumulated = {}
    for labels, of_bound in by_labels.items():
        total, row = 0.0, []
        for bound in (*map(str, bounds), "+Inf"):
            total += of_bound.get(bound, 0.0)
            row.append((bound, total))
        cumulated[labels] = row
    return cumulated
