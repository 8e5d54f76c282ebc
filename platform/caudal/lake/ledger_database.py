"""The ledger's SQLite file: its tables."""

from __future__ import annotations

import sqlite3
import time
import uuid
from pathlib import Path

from caudal.store.sqlite import advance, transaction, version_of_tables

#: The tables as they came to be, one step a version of the file. A step that was released is never changed.
_STEPS = (
    """
    CREATE TABLE ledger (id TEXT NOT NULL, sequence INTEGER NOT NULL);
    CREATE TABLE file (
        dataset TEXT NOT NULL, path TEXT NOT NULL, version TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        state TEXT NOT NULL, partition TEXT, batch INTEGER, seen_at TEXT NOT NULL, loaded_at TEXT, live_version TEXT,
        may_have_rows INTEGER NOT NULL DEFAULT 0,
        rows_read INTEGER NOT NULL DEFAULT 0, rows_loaded INTEGER NOT NULL DEFAULT 0, rows_rejected INTEGER NOT NULL DEFAULT 0,
        reason TEXT, PRIMARY KEY (dataset, path)
    ) WITHOUT ROWID;
    CREATE INDEX file_by_state ON file (dataset, state);
    CREATE INDEX file_by_batch ON file (batch) WHERE batch IS NOT NULL;
    CREATE TABLE dataset (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
    CREATE TABLE batch (number INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT NOT NULL, run_id TEXT NOT NULL,
        prepared INTEGER NOT NULL DEFAULT 0)
    """,
    """
    ALTER TABLE file ADD COLUMN fingerprint TEXT;
    ALTER TABLE file ADD COLUMN content TEXT;
    ALTER TABLE file ADD COLUMN copy_of TEXT;
    ALTER TABLE file ADD COLUMN dialect TEXT;
    ALTER TABLE file ADD COLUMN has_members INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE file ADD COLUMN note TEXT;
    ALTER TABLE file ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE file ADD COLUMN next_read INTEGER;
    ALTER TABLE file ADD COLUMN next_loaded INTEGER;
    ALTER TABLE file ADD COLUMN next_rejected INTEGER;
    ALTER TABLE dataset ADD COLUMN knows_table INTEGER NOT NULL DEFAULT 0;
    DROP INDEX file_by_batch;
    CREATE INDEX file_of_batch ON file (batch, path) WHERE batch IS NOT NULL;
    CREATE INDEX file_pending ON file (dataset) WHERE state = 'pending';
    CREATE INDEX file_by_content ON file (dataset, content) WHERE content IS NOT NULL;
    CREATE INDEX file_with_faults ON file (dataset) WHERE state = 'quarantined' OR rows_rejected > 0 OR note IS NOT NULL;
    CREATE TABLE evolved (dataset TEXT NOT NULL, name TEXT NOT NULL, declared TEXT NOT NULL, first_file TEXT NOT NULL,
        at TEXT NOT NULL, PRIMARY KEY (dataset, name));
    CREATE TABLE repair (dataset TEXT NOT NULL, path TEXT NOT NULL, version TEXT NOT NULL, name TEXT NOT NULL,
        place INTEGER NOT NULL, record TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (dataset, path, version, name, place))
    """,
    """
    ALTER TABLE file ADD COLUMN rows_erased INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE file ADD COLUMN next_erased INTEGER
    """,
)


class UnknownLedger(RuntimeError):
    """The file was written by a newer version of the platform."""


def prepare_file(path: Path) -> str:
    """Make the ledger at `path`, or bring an older one up to date; its id.

    Raises:
        UnknownLedger: it is newer than this code.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with transaction(path) as db:
        advance(db, _STEPS, _version(db), lambda told: UnknownLedger(f"{path}: the ledger {told}"))
        if not db.execute("SELECT 1 FROM ledger").fetchone():
            db.execute("INSERT INTO ledger VALUES (?, ?)", (uuid.uuid4().hex, int(time.time())))
        return db.execute("SELECT id FROM ledger").fetchone()[0]


def _version(db: sqlite3.Connection) -> int:
    """How many steps the file has behind it. The first files did not say."""
    return version_of_tables(db) or bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger'").fetchone())
