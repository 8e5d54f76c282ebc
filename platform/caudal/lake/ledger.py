"""The durable record of every lake file seen, in SQLite.

A file is `pending` until a loader claims it, `loading` while its rows are on their way into the raw table, then `loaded`, or
`quarantined` if it cannot be read. A file that is gone from the lake is `deleted`, after a pending deletion where the
dataset removes its rows.

Exactly once. A loader (1) `claim`s pending files as a batch, (2) normalizes them, (3) `prepare`s: writes what the batch will
load into the ledger, (4) commits the raw table with the batch's number as its application transaction, (5) `finish`es. Whoever
finds an unfinished batch asks the raw table whether that transaction is in: if so the batch is finished, if not it is
abandoned and its files are pending again. A file that changes in between is pending again with its new version, and is
not touched by the end of the batch that had the old one.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from caudal.lake.dataset import Dataset
from caudal.lake.records import GONE, Batch, LedgerFile, Outcome, Seen, State, Totals
from caudal.store import LakeObject

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (id TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS file (
    dataset TEXT NOT NULL, path TEXT NOT NULL, version TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    state TEXT NOT NULL, partition TEXT, batch INTEGER, seen_at TEXT NOT NULL, loaded_at TEXT, live_version TEXT,
    may_have_rows INTEGER NOT NULL DEFAULT 0,
    rows_read INTEGER NOT NULL DEFAULT 0, rows_loaded INTEGER NOT NULL DEFAULT 0, rows_rejected INTEGER NOT NULL DEFAULT 0,
    reason TEXT, PRIMARY KEY (dataset, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_by_state ON file (dataset, state);
CREATE INDEX IF NOT EXISTS file_by_batch ON file (batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS dataset (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batch (number INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT NOT NULL, run_id TEXT NOT NULL,
    prepared INTEGER NOT NULL DEFAULT 0);
"""


class Ledger:
    """The ledger in the SQLite file at `path`, which is created if need be. Safe for many processes at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            if not db.execute("SELECT 1 FROM ledger").fetchone():
                db.execute("INSERT INTO ledger VALUES (?, ?)", (uuid.uuid4().hex, int(time.time())))
            self.id: str = db.execute("SELECT id FROM ledger").fetchone()[0]

    # Seeing ----------------------------------------------------------------------------------------------------------

    def see(self, dataset: Dataset, objects: Iterable[LakeObject]) -> Seen:
        """Compare a whole listing of the dataset with the ledger and mark what is new, changed or gone."""
        listed = {o.path: o for o in objects}
        now = _now()
        new = changed = refused = deleted = 0
        with self._transaction() as db:
            known = {
                row[0]: (row[1], row[2])
                for row in db.execute("SELECT path, version, state FROM file WHERE dataset = ?", (dataset.id,))
            }
            for path, found in listed.items():
                before = known.get(path)
                if before is not None and before[0] == found.version and before[1] != "deleted":
                    continue
                reason = dataset.refusal(path)
                state = "quarantined" if reason else "pending"
                partition = None if reason else dataset.partition_of(path)
                db.execute(_UPSERT, (dataset.id, path, found.version, found.size_bytes, state, partition, now, reason))
                refused += bool(reason)
                new += before is None and not reason
                changed += before is not None and not reason
            gone = [path for path, (_, state) in known.items() if path not in listed and state != "deleted"]
            gone = [path for path in gone if known[path][0] != GONE]
            for path in gone:
                deleted += self._mark_gone(db, dataset, path)
            pending = _pending(db, dataset.id)
            if new + changed + deleted:
                sequence = db.execute("UPDATE ledger SET sequence = sequence + 1 RETURNING sequence").fetchone()[0]
                db.execute("INSERT OR REPLACE INTO dataset VALUES (?, ?)", (dataset.id, sequence))
            row = db.execute("SELECT sequence FROM dataset WHERE id = ?", (dataset.id,)).fetchone()
        return Seen(new, changed, deleted, refused, pending, row[0] if row else 0)

    @staticmethod
    def _mark_gone(db: sqlite3.Connection, dataset: Dataset, path: str) -> int:
        key = (dataset.id, path)
        has_rows = db.execute("SELECT may_have_rows FROM file WHERE dataset = ? AND path = ?", key).fetchone()[0]
        if dataset.on_delete == "remove" and has_rows:
            db.execute("UPDATE file SET state = 'pending', version = '', batch = NULL WHERE dataset = ? AND path = ?", key)
            return 1
        db.execute("UPDATE file SET state = 'deleted', batch = NULL WHERE dataset = ? AND path = ?", key)
        return 0

    def ask_again(self, dataset: Dataset, partitions: Sequence[str] | None = None) -> int:
        """Make the files of `partitions` (None: all) pending although nothing about them changed; how many."""
        where, values = "", [dataset.id]
        if partitions is not None:
            where = f" AND partition IN ({','.join('?' * len(partitions))})"
            values += partitions
        with self._transaction() as db:
            return db.execute(
                "UPDATE file SET state = 'pending', batch = NULL, reason = NULL "
                f"WHERE dataset = ? AND state IN ('loaded', 'quarantined'){where}",
                values,
            ).rowcount

    # Loading ---------------------------------------------------------------------------------------------------------

    def claim(self, dataset: Dataset, run_id: str, limit: int, leave: Iterable[str] = ()) -> Batch | None:
        """Claim up to `limit` pending files in the order of their paths, but not those in `leave`; None if there are none."""
        with self._transaction() as db:
            files = _files(
                db,
                "dataset = ? AND state = 'pending' AND path NOT IN (SELECT value FROM json_each(?)) ORDER BY path LIMIT ?",
                (dataset.id, json.dumps(sorted(leave)), limit),
            )
            if not files:
                return None
            number = db.execute("INSERT INTO batch (dataset, run_id) VALUES (?, ?)", (dataset.id, run_id)).lastrowid
            assert number is not None
            db.executemany(
                "UPDATE file SET state = 'loading', batch = ?, may_have_rows = 1 WHERE dataset = ? AND path = ?",
                [(number, dataset.id, f.path) for f in files],
            )
        return Batch(number, tuple(files))

    def prepare(self, batch: Batch, outcomes: Iterable[Outcome]) -> None:
        """Write down what the batch is about to commit. Files without an outcome go back to pending."""
        with self._transaction() as db:
            done = set()
            for o in outcomes:
                done.add(o.path)
                mine = (batch.number, o.path)
                if o.unreadable is not None:
                    db.execute("UPDATE file SET reason = ? WHERE batch = ? AND path = ?", (o.unreadable, *mine))
                    continue
                db.execute(
                    "UPDATE file SET rows_read = ?, rows_loaded = ?, rows_rejected = ?, reason = NULL "
                    "WHERE batch = ? AND path = ? AND state = 'loading'",
                    (o.rows_read, o.rows_loaded, o.rows_rejected, *mine),
                )
            for f in batch.files:
                if f.path not in done and not f.gone:
                    db.execute(
                        "UPDATE file SET state = 'pending', batch = NULL WHERE batch = ? AND path = ?",
                        (batch.number, f.path),
                    )
            db.execute("UPDATE batch SET prepared = 1 WHERE number = ?", (batch.number,))

    def finish(self, number: int) -> None:
        """The raw table holds the batch: its files are loaded, quarantined or deleted."""
        now = _now()
        with self._transaction() as db:
            db.execute(
                "UPDATE file SET state = 'deleted', live_version = NULL, may_have_rows = 0, "
                "rows_read = 0, rows_loaded = 0, rows_rejected = 0 "
                "WHERE batch = ? AND state = 'loading' AND version = ''",
                (number,),
            )
            db.execute(
                "UPDATE file SET state = 'quarantined' WHERE batch = ? AND state = 'loading' AND reason IS NOT NULL",
                (number,),
            )
            db.execute(
                "UPDATE file SET state = 'loaded', live_version = version, loaded_at = ? WHERE batch = ? AND state = 'loading'",
                (now, number),
            )
            db.execute("UPDATE file SET batch = NULL WHERE batch = ?", (number,))
            db.execute("DELETE FROM batch WHERE number = ?", (number,))

    def abandon(self, number: int) -> None:
        """The raw table does not hold the batch: its files are pending again."""
        with self._transaction() as db:
            db.execute("UPDATE file SET state = 'pending', batch = NULL WHERE batch = ? AND state = 'loading'", (number,))
            db.execute("UPDATE file SET batch = NULL WHERE batch = ?", (number,))
            db.execute("DELETE FROM batch WHERE number = ?", (number,))

    def unfinished(self, dataset: Dataset) -> list[tuple[int, bool]]:
        """`(number, prepared)` of every batch of the dataset that was neither finished nor abandoned."""
        with self._transaction() as db:
            rows = db.execute("SELECT number, prepared FROM batch WHERE dataset = ? ORDER BY number", (dataset.id,))
            return [(number, bool(prepared)) for number, prepared in rows]

    # Asking ----------------------------------------------------------------------------------------------------------

    def pending(self, dataset_id: str) -> int:
        with self._transaction() as db:
            return _pending(db, dataset_id)

    def files(self, dataset_id: str, state: State | None = None) -> list[LedgerFile]:
        """Every file of the dataset, or those in `state`, in the order of their paths."""
        with self._transaction() as db:
            if state is None:
                return _files(db, "dataset = ? ORDER BY path", (dataset_id,))
            return _files(db, "dataset = ? AND state = ? ORDER BY path", (dataset_id, state))

    def totals(self, dataset_id: str) -> Totals:
        """Counts of files by state, and of the rows that came from the versions in the raw table."""
        with self._transaction() as db:
            states = db.execute("SELECT state, count(*) FROM file WHERE dataset = ? GROUP BY state", (dataset_id,))
            files: dict[State, int] = dict(states.fetchall())
            sums = db.execute(
                "SELECT coalesce(sum(rows_read), 0), coalesce(sum(rows_loaded), 0), coalesce(sum(rows_rejected), 0) "
                "FROM file WHERE dataset = ? AND live_version IS NOT NULL",
                (dataset_id,),
            ).fetchone()
        return Totals(files, *sums)

    def dataset_ids(self) -> list[str]:
        """Every dataset that the ledger has a file of."""
        with self._transaction() as db:
            return [row[0] for row in db.execute("SELECT DISTINCT dataset FROM file ORDER BY dataset")]

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """One serializable transaction, durable when the block ends."""
        db = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()


_UPSERT = """
INSERT INTO file (dataset, path, version, size_bytes, state, partition, seen_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (dataset, path) DO UPDATE SET version = excluded.version, size_bytes = excluded.size_bytes,
    state = excluded.state, partition = excluded.partition, seen_at = excluded.seen_at, reason = excluded.reason, batch = NULL
"""

_COLUMNS = (
    "path, version, size_bytes, state, partition, live_version, may_have_rows, "
    "rows_read, rows_loaded, rows_rejected, reason, loaded_at"
)


def _files(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[LedgerFile]:
    return [LedgerFile(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM file WHERE {where}", values)]


def _pending(db: sqlite3.Connection, dataset_id: str) -> int:
    query = "SELECT count(*) FROM file WHERE dataset = ? AND state = 'pending'"
    return db.execute(query, (dataset_id,)).fetchone()[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
