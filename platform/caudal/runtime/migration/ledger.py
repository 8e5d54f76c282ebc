"""The ledger for the lake's new place: what was loaded is loaded there, in the version that its object has now."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from caudal.runtime.branches.copying import copy_database
from caudal.runtime.migration.journal import CopiedObject
from caudal.store import write_atomically

#: What a ledger must still say, whatever versions are called.
_TOLD = (
    "SELECT dataset, path, state, partition, version = live_version, may_have_rows, rows_read, rows_loaded, rows_rejected, "
    "reason, note, content, dialect, has_members, fingerprint FROM file ORDER BY dataset, path"
)


def move(source: Path, target: Path, objects: Mapping[str, CopiedObject]) -> None:
    """Make `target` the ledger of the lake that `objects` are in; what of it was loaded is not loaded again.

    The id stays, and the numbers of batches go on, so that no transaction of the old ledger is taken for one of the new. A file
    that had changed since it was loaded is pending still; of one that is gone the old version stays.
    """
    moved = [(path, o.version, o.generation) for path, o in objects.items()]
    with write_atomically(target) as temporary:
        copy_database(source, temporary)
        with closing(sqlite3.connect(temporary)) as db, db:
            db.execute("CREATE TEMP TABLE moved (path TEXT, old TEXT, new TEXT, PRIMARY KEY (path, old)) WITHOUT ROWID")
            db.executemany("INSERT INTO moved VALUES (?, ?, ?)", moved)
            for table, column in (("file", "version"), ("file", "live_version"), ("repair", "version")):
                found = f"FROM moved WHERE moved.path = {table}.path AND moved.old = {table}.{column}"
                db.execute(f"UPDATE {table} SET {column} = (SELECT new {found}) WHERE EXISTS (SELECT 1 {found})")


def told(path: Path) -> tuple[int, str]:
    """How many files the ledger knows, and a checksum of what it says of them, but for their versions."""
    digest, count = hashlib.sha256(), 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for row in db.execute(_TOLD):
            digest.update(repr(row).encode(errors="surrogateescape"))
            count += 1
        digest.update(repr(db.execute("SELECT id, sequence FROM ledger").fetchall()).encode())
    return count, digest.hexdigest()[:16]


def live_versions(path: Path, dataset: str) -> dict[str, str]:
    """The version of each file of the dataset whose rows are in the raw table."""
    query = "SELECT path, live_version FROM file WHERE dataset = ? AND live_version IS NOT NULL"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return dict(db.execute(query, (dataset,)))
