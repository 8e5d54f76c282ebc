"""What a migration has done: an SQLite file in the target's folder on this machine. What stands in it is done and durable."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caudal.store.sqlite import reading, transaction

_TABLES = (
    "CREATE TABLE IF NOT EXISTS migration (id TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS object (kind TEXT NOT NULL, path TEXT NOT NULL, version TEXT NOT NULL, size_bytes INTEGER "
        "NOT NULL, md5 TEXT NOT NULL, generation TEXT NOT NULL, PRIMARY KEY (kind, path)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS step (name TEXT PRIMARY KEY, version TEXT NOT NULL, rows INTEGER NOT NULL, checksum TEXT "
        "NOT NULL) WITHOUT ROWID"
    ),
)


@dataclass(frozen=True)
class CopiedObject:
    """A file that is in the bucket.

    Attributes:
        version: of the file.
        md5: of its content, in hexadecimal digits, as the server keeps it.
        generation: of the object.

    """

    path: str
    version: str
    size_bytes: int
    md5: str
    generation: str


@dataclass(frozen=True)
class Step:
    """A table, or another whole thing, that was copied and compared.

    Attributes:
        version: of the source when it was copied.
        rows: rows, or files.

    """

    name: str
    version: str
    rows: int
    checksum: str


class Journal:
    """The journal in the file `path`, made if need be.

    Attributes:
        id: of the migration, the same however often it is begun again.

    """

    def __init__(self, path: Path, source: str, target: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with transaction(path) as db:
            for statement in _TABLES:
                db.execute(statement)
            if not db.execute("SELECT 1 FROM migration").fetchone():
                db.execute("INSERT INTO migration VALUES (?, ?, ?)", (uuid.uuid4().hex[:12], source, target))
            self.id, self.source, self.target = db.execute("SELECT id, source, target FROM migration").fetchone()

    def copied(self, kind: str, objects: Iterable[CopiedObject]) -> None:
        """Write down objects that are there."""
        with transaction(self._path) as db:
            db.executemany(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)",
                [(kind, o.path, o.version, o.size_bytes, o.md5, o.generation) for o in objects],
            )

    def objects(self, kind: str) -> dict[str, CopiedObject]:
        """What of the kind is there, by path."""
        query = "SELECT path, version, size_bytes, md5, generation FROM object WHERE kind = ?"
        with reading(self._path) as db:
            return {row[0]: CopiedObject(*row) for row in db.execute(query, (kind,))}

    def done(self, step: Step) -> None:
        """Write down that the step is done."""
        with transaction(self._path) as db:
            db.execute("INSERT OR REPLACE INTO step VALUES (?, ?, ?, ?)", (step.name, step.version, step.rows, step.checksum))

    def steps(self) -> dict[str, Step]:
        """What is done, by name."""
        with reading(self._path) as db:
            return {row[0]: Step(*row) for row in db.execute("SELECT name, version, rows, checksum FROM step")}
