"""The SQLite file of incidents and of what is to be said about them."""

from __future__ import annotations

from pathlib import Path

from caudal.store.sqlite import advance, reading, transaction, version_of_tables

#: The tables as they came to be, one step a version of the file. A step that was released is never changed.
_STEPS = (
    """
    CREATE TABLE incident (
        number INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, owners TEXT NOT NULL, link TEXT NOT NULL, roots TEXT NOT NULL, occurrence TEXT NOT NULL,
        first_s REAL NOT NULL, last_s REAL NOT NULL, count INTEGER NOT NULL,
        told_s REAL NOT NULL, told_count INTEGER NOT NULL, told_times INTEGER NOT NULL,
        resolved_s REAL, resolution TEXT NOT NULL DEFAULT '');
    CREATE UNIQUE INDEX incident_open ON incident (fingerprint) WHERE resolved_s IS NULL;
    CREATE INDEX incident_resolved ON incident (resolved_s);
    CREATE TABLE target (incident INTEGER NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL, failed_s REAL NOT NULL,
        PRIMARY KEY (incident, name, part)) WITHOUT ROWID;
    CREATE INDEX target_by_name ON target (name);
    CREATE TABLE consequence (incident INTEGER NOT NULL, asset TEXT NOT NULL, PRIMARY KEY (incident, asset)) WITHOUT ROWID;
    CREATE TABLE message (
        number INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, occasion TEXT NOT NULL, channel TEXT NOT NULL,
        created_s REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_s REAL NOT NULL, claimed_s REAL NOT NULL DEFAULT 0,
        sent_s REAL, dropped INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX message_waiting ON message (channel, attempts, number) WHERE sent_s IS NULL AND NOT dropped;
    CREATE INDEX message_of_incident ON message (incident);
    CREATE TABLE channel (name TEXT PRIMARY KEY, failing_since_s REAL, problem TEXT);
    CREATE TABLE quarantine (dataset TEXT PRIMARY KEY, rows INTEGER NOT NULL, files INTEGER NOT NULL,
        rows_read INTEGER NOT NULL, taken_s REAL NOT NULL, last_rows INTEGER NOT NULL, last_files INTEGER NOT NULL,
        grown_s REAL NOT NULL);
    CREATE TABLE awaited (run_id TEXT PRIMARY KEY, since_s REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE known (run_id TEXT PRIMARY KEY, ended_s REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE state (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID
    """,
)


class UnknownAlerts(RuntimeError):
    """The file was written by a newer version of the platform."""


def prepare_file(path: Path) -> None:
    """Make the file at `path`, or bring an older one up to date.

    Raises:
        UnknownAlerts: it is newer than this code.

    """
    if path.exists():
        with reading(path) as db:
            if version_of_tables(db) == len(_STEPS):
                return
    path.parent.mkdir(parents=True, exist_ok=True)
    with transaction(path) as db:
        advance(db, _STEPS, version_of_tables(db), lambda told: UnknownAlerts(f"{path}: the file {told}"))
