"""What people and contracts change in the ledger: files asked for again or forgotten, columns that appeared, rows repaired."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.records import Evolved, Holding, Repair, State
from caudal.store.sqlite import scrub, transaction

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset


class LedgerAmendments:
    """The amending side of `caudal.lake.ledger.Ledger`."""

    _path: Path

    def ask_again(
        self,
        dataset_id: str,
        *,
        partitions: Sequence[str] | None = None,
        paths: Collection[str] | None = None,
        states: Collection[State] = ("loaded", "quarantined"),
        announce: bool = True,
    ) -> int:
        """Make files pending although nothing about them changed; how many.

        Args:
            partitions, paths: only these; None for all.
            states: only files in these.
            announce: the lake sensor shall ask for a run that loads them.

        """
        where, values = "dataset = ? AND state IN (SELECT value FROM json_each(?))", [dataset_id, json.dumps(sorted(states))]
        for column, wanted in (("partition", partitions), ("path", paths)):
            if wanted is not None:
                where += f" AND {column} IN (SELECT value FROM json_each(?))"
                values.append(json.dumps(sorted(wanted)))
        with transaction(self._path) as db:
            set_pending = "UPDATE file SET state = 'pending', batch = NULL, reason = NULL, copy_of = NULL WHERE "
            count = db.execute(set_pending + where, values).rowcount
            if count and announce:
                raise_sequence(db, dataset_id)
        return count

    def forget(self, dataset_id: str, paths: Collection[str]) -> int:
        """Have the rows of files that are gone from the lake removed, and then the files forgotten; how many."""
        chosen = (dataset_id, json.dumps(sorted(paths)))
        where = "dataset = ? AND path IN (SELECT value FROM json_each(?)) AND state = 'deleted'"
        with transaction(self._path) as db:
            count = db.execute(f"UPDATE file SET state = 'pending', version = '', forgotten = 1 WHERE {where}", chosen).rowcount
            if count:
                raise_sequence(db, dataset_id)
        return count

    def adopt_table(self, dataset: Dataset, holdings: Iterable[Holding]) -> int:
        """Write down what the raw table and the rejects hold, which another ledger has loaded; done once a dataset.

        The files of the lake are known already. Those whose rows are of the version that the lake has are loaded, and not
        loaded again; others are read again in the place of their rows. Of those that are gone the dataset's policy says
        whether their rows stay, but for a lake of which nothing is seen, where they do.

        Returns:
            How many are loaded.

        """
        now, taken, owed = datetime.now(UTC).isoformat(timespec="microseconds"), 0, 0
        with transaction(self._path) as db:
            known = {row[0] for row in db.execute("SELECT path FROM file WHERE dataset = ?", (dataset.id,))}
            for held in holdings:
                partition = None if dataset.refusal(held.path) else dataset.partition_of(held.path)
                db.execute(
                    "INSERT INTO file (dataset, path, version, size_bytes, state, partition, seen_at, may_have_rows, "
                    "has_members) VALUES (?, ?, ?, 0, 'deleted', ?, ?, 1, ?) ON CONFLICT (dataset, path) DO UPDATE SET "
                    "may_have_rows = 1, has_members = max(has_members, excluded.has_members)",
                    (dataset.id, held.path, held.version or "unknown", partition, now, held.has_members),
                )
                counts = (held.rows_loaded + held.rows_rejected, held.rows_loaded, held.rows_rejected)
                was_unknown = (
                    held.version
                    and db.execute(
                        "UPDATE file SET live_version = ?, loaded_at = ?, rows_read = ?, rows_loaded = ?, rows_rejected = ? "
                        "WHERE dataset = ? AND path = ? AND live_version IS NULL",
                        (held.version, held.loaded_at, *counts, dataset.id, held.path),
                    ).rowcount
                )
                if was_unknown:
                    taken += db.execute(
                        "UPDATE file SET state = 'loaded' WHERE dataset = ? AND path = ? AND version = ? AND state = 'pending'",
                        (dataset.id, held.path, held.version),
                    ).rowcount
                if known and held.path not in known:
                    owed += mark_gone(db, dataset, held.path)
            if owed:
                raise_sequence(db, dataset.id)
            db.execute(
                "INSERT INTO dataset (id, sequence, knows_table) VALUES (?, 0, 1) "
                "ON CONFLICT (id) DO UPDATE SET knows_table = 1",
                (dataset.id,),
            )
        return taken

    def evolve(self, dataset_id: str, columns: Iterable[Evolved]) -> None:
        """Write down columns that files brought. Those that are known already stay as they are."""
        with transaction(self._path) as db:
            db.executemany(
                "INSERT INTO evolved VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(dataset_id, c.name, c.declared, c.first_file, c.at) for c in columns],
            )

    def recount(self, dataset_id: str, counts: Mapping[str, tuple[int, int]]) -> None:
        """Write down how many rows of files are loaded and rejected; the others of those read were erased."""
        with transaction(self._path) as db:
            db.executemany(
                "UPDATE file SET rows_loaded = ?1, rows_rejected = ?2, rows_erased = max(0, rows_read - ?1 - ?2) "
                "WHERE dataset = ?3 AND path = ?4 AND live_version IS NOT NULL",
                [(loaded, rejected, dataset_id, path) for path, (loaded, rejected) in counts.items()],
            )

    def forget_repairs(self, dataset_id: str, repairs: Collection[Repair]) -> None:
        """Remove repaired rows, so that nothing of them is left in the file."""
        with transaction(self._path) as db:
            db.executemany(
                "DELETE FROM repair WHERE dataset = ? AND path = ? AND version = ? AND name = ? AND place = ?",
                [(dataset_id, r.path, r.version, r.name, r.place) for r in repairs],
            )
        scrub(self._path)

    def repair(self, dataset_id: str, repairs: Iterable[Repair]) -> int:
        """Keep repaired rows, and ask for their files again; how many files."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        kept = list(repairs)
        with transaction(self._path) as db:
            db.executemany(
                "INSERT OR REPLACE INTO repair VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(dataset_id, r.path, r.version, r.name, r.place, r.record, now) for r in kept],
            )
        return self.ask_again(dataset_id, paths={r.path for r in kept})


def raise_sequence(db: sqlite3.Connection, dataset_id: str) -> None:
    """Tell that something became pending."""
    sequence = db.execute("UPDATE ledger SET sequence = sequence + 1 RETURNING sequence").fetchone()[0]
    db.execute(
        "INSERT INTO dataset (id, sequence) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence",
        (dataset_id, sequence),
    )


def mark_gone(db: sqlite3.Connection, dataset: Dataset, path: str) -> int:
    """Write down that a file is gone from the lake; whether its rows are to be removed."""
    key = (dataset.id, path)
    has_rows = db.execute("SELECT may_have_rows FROM file WHERE dataset = ? AND path = ?", key).fetchone()[0]
    if dataset.on_delete == "remove" and has_rows:
        db.execute("UPDATE file SET state = 'pending', version = '', batch = NULL WHERE dataset = ? AND path = ?", key)
        return 1
    db.execute("UPDATE file SET state = 'deleted', batch = NULL WHERE dataset = ? AND path = ?", key)
    return 0
