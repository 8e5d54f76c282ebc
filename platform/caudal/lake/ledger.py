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
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from caudal.lake.dataset import Dataset
from caudal.lake.ledger_amendments import LedgerAmendments, mark_gone, raise_sequence
from caudal.lake.ledger_database import prepare_file
from caudal.lake.ledger_reader import LedgerReader, select_files
from caudal.lake.records import Batch, Outcome, Seen
from caudal.store import LakeObject
from caudal.store.sqlite import transaction


class Ledger(LedgerReader, LedgerAmendments):
    """The ledger in the SQLite file at `path`, which is created if need be. Safe for many processes at once.

    Raises:
        caudal.lake.ledger_database.UnknownLedger: the file is newer than this code.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.id = prepare_file(path)

    # Seeing ----------------------------------------------------------------------------------------------------------

    def see(self, dataset: Dataset, objects: Iterable[LakeObject]) -> Seen:
        """Compare a whole listing of the dataset with the ledger and mark what is new, changed or gone.

        Files that were refused, wholly or partly, under another contract or other settings are pending again.
        """
        listed = {o.path: o for o in objects}
        with transaction(self._path) as db:
            known: Known = dict(db.execute(f"{_KNOWN} WHERE dataset = ?", (dataset.id,)))
            gone = known.keys() - listed.keys()
            return _mark(db, dataset, listed.values(), gone, known, _retried(db, dataset))

    def note(self, dataset: Dataset, found: Iterable[LakeObject], gone: Iterable[str]) -> Seen:
        """Mark what is new, changed or gone, where the rest is known to be as it was."""
        found, gone = list(found), list(gone)
        query = f"{_KNOWN} WHERE dataset = ? AND path = ?"
        with transaction(self._path) as db:
            rows = (db.execute(query, (dataset.id, path)).fetchone() for path in [*(o.path for o in found), *gone])
            return _mark(db, dataset, found, gone, dict(filter(None, rows)), 0)

    # Loading ---------------------------------------------------------------------------------------------------------

    def claim(self, dataset: Dataset, run_id: str, limit: int, leave: Iterable[str] = ()) -> Batch | None:
        """Claim up to `limit` pending files in the order of their paths, but not those in `leave`; None if there are none."""
        with transaction(self._path) as db:
            files = select_files(
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

    def prepare(self, batch: Batch, outcomes: Iterable[Outcome], fingerprint: str = "") -> bool:
        """Write down what the batch is about to commit. Files without an outcome go back to pending.

        Args:
            fingerprint: of the dataset, by which a file is asked for again when it has changed.

        Returns:
            False if somebody has abandoned the batch meanwhile: then nothing of it may be committed.

        """
        with transaction(self._path) as db:
            if not db.execute("SELECT 1 FROM batch WHERE number = ?", (batch.number,)).fetchone():
                return False
            done = set()
            for o in outcomes:
                done.add(o.path)
                db.execute(
                    "UPDATE file SET fingerprint = ?, reason = ?, note = ?, content = ?, copy_of = ?, dialect = ?, "
                    "has_members = max(has_members, ?), next_read = ?, next_loaded = ?, next_rejected = ?, next_erased = ? "
                    "WHERE batch = ? AND path = ? AND state = 'loading'",
                    (
                        *(fingerprint, o.unreadable, o.note, o.content, o.copy_of, o.dialect, o.has_members),
                        *(o.rows_read, o.rows_loaded, o.rows_rejected, o.rows_erased, batch.number, o.path),
                    ),
                )
            for f in batch.files:
                if f.path not in done and not f.gone:
                    db.execute(
                        "UPDATE file SET state = 'pending', batch = NULL WHERE batch = ? AND path = ?",
                        (batch.number, f.path),
                    )
            db.execute("UPDATE batch SET prepared = 1 WHERE number = ?", (batch.number,))
        return True

    def finish(self, number: int) -> None:
        """The raw table holds the batch: its files are loaded, quarantined, deleted or forgotten."""
        with transaction(self._path) as db:
            row = db.execute("SELECT dataset FROM batch WHERE number = ?", (number,)).fetchone()
            if row is None:
                return
            db.execute("DELETE FROM file WHERE batch = ? AND state = 'loading' AND version = '' AND forgotten", (number,))
            db.execute(
                "UPDATE file SET state = 'deleted', live_version = NULL, may_have_rows = 0, has_members = 0, content = NULL, "
                "note = NULL, rows_read = 0, rows_loaded = 0, rows_rejected = 0, rows_erased = 0 "
                "WHERE batch = ? AND state = 'loading' AND version = ''",
                (number,),
            )
            db.execute(
                "UPDATE file SET state = 'quarantined' WHERE batch = ? AND state = 'loading' AND reason IS NOT NULL",
                (number,),
            )
            db.execute(
                "UPDATE file SET state = 'loaded', live_version = version, loaded_at = ?, "
                "rows_read = coalesce(next_read, rows_read), "
                "rows_loaded = coalesce(next_loaded, rows_loaded), rows_rejected = coalesce(next_rejected, rows_rejected), "
                "rows_erased = coalesce(next_erased, rows_erased) "
                "WHERE batch = ? AND state = 'loading'",
                (_now(), number),
            )
            db.execute("UPDATE file SET batch = NULL WHERE batch = ?", (number,))
            db.execute("DELETE FROM batch WHERE number = ?", (number,))
            if _admit_copies(db, row[0]):
                raise_sequence(db, row[0])

    def abandon(self, number: int) -> None:
        """The raw table does not hold the batch: its files are pending again."""
        with transaction(self._path) as db:
            db.execute("UPDATE file SET state = 'pending', batch = NULL WHERE batch = ? AND state = 'loading'", (number,))
            db.execute("UPDATE file SET batch = NULL WHERE batch = ?", (number,))
            db.execute("DELETE FROM batch WHERE number = ?", (number,))


#: The version of each known file by its path; None for one that is deleted.
Known = dict[str, str | None]
_KNOWN = "SELECT path, iif(state = 'deleted', NULL, version) FROM file"

_UPSERT = """
INSERT INTO file (dataset, path, version, size_bytes, state, partition, seen_at, reason, fingerprint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (dataset, path) DO UPDATE SET version = excluded.version, size_bytes = excluded.size_bytes,
    state = excluded.state, partition = excluded.partition, seen_at = excluded.seen_at, reason = excluded.reason,
    fingerprint = excluded.fingerprint, batch = NULL, note = NULL, copy_of = NULL, forgotten = 0
"""


def _mark(
    db: sqlite3.Connection,
    dataset: Dataset,
    found: Iterable[LakeObject],
    gone: Iterable[str],
    known: Known,
    retried: int,
) -> Seen:
    """Mark what differs from what is known."""
    now, fingerprint = _now(), dataset.fingerprint
    new = changed = refused = deleted = 0
    for o in found:
        if known.get(o.path) == o.version:
            continue
        reason = dataset.refusal(o.path)
        state, partition = ("quarantined", None) if reason else ("pending", dataset.partition_of(o.path))
        values = (dataset.id, o.path, o.version, o.size_bytes, state, partition, now, reason, fingerprint)
        db.execute(_UPSERT, values)
        refused += bool(reason)
        new += o.path not in known and not reason
        changed += o.path in known and not reason
    for path in gone:
        if known.get(path):  # else it is deleted, or its deletion is pending
            deleted += mark_gone(db, dataset, path)
    if new + changed + deleted + retried:
        raise_sequence(db, dataset.id)
    pending = db.execute("SELECT count(*) FROM file WHERE dataset = ? AND state = 'pending'", (dataset.id,)).fetchone()[0]
    row = db.execute("SELECT sequence FROM dataset WHERE id = ?", (dataset.id,)).fetchone()
    return Seen(new, changed, deleted, refused, retried, pending, row[0] if row else 0)


def _retried(db: sqlite3.Connection, dataset: Dataset) -> int:
    """Ask again for the faulty files that another contract or other settings may read better; how many."""
    rows = db.execute(
        "SELECT path FROM file INDEXED BY file_with_faults "
        "WHERE dataset = ? AND (state = 'quarantined' OR rows_rejected > 0 OR note IS NOT NULL) "
        "AND state IN ('quarantined', 'loaded') AND fingerprint IS NOT ?",
        (dataset.id, dataset.fingerprint),
    ).fetchall()
    count = 0
    for (path,) in rows:
        reason = dataset.refusal(path)
        if reason:
            values = (reason, dataset.fingerprint, dataset.id, path)
            db.execute("UPDATE file SET reason = ?, fingerprint = ? WHERE dataset = ? AND path = ?", values)
            continue
        values = (dataset.partition_of(path), dataset.fingerprint, dataset.id, path)
        db.execute(
            "UPDATE file SET state = 'pending', reason = NULL, copy_of = NULL, partition = ?, fingerprint = ? "
            "WHERE dataset = ? AND path = ?",
            values,
        )
        count += 1
    return count


def _admit_copies(db: sqlite3.Connection, dataset_id: str) -> int:
    """Make the files pending that were refused as copies of what is no longer loaded; how many."""
    return db.execute(
        "UPDATE file INDEXED BY file_by_state SET state = 'pending', reason = NULL, copy_of = NULL "
        "WHERE dataset = ? AND state = 'quarantined' AND copy_of IS NOT NULL AND NOT EXISTS (SELECT 1 FROM file AS o "
        "WHERE o.dataset = file.dataset AND o.path = file.copy_of AND o.content = file.content AND o.live_version = o.version)",
        (dataset_id,),
    ).rowcount


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
