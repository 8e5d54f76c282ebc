"""A lake above another one that is only read: files land in a place of its own, and known files of the other shine through.

Which these are stands in an SQLite file and never changes: what lands in the other lake later is not seen, and a file that has
changed or vanished there since is listed as it was, and cannot be fetched any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from caudal.store.objects import Found, LakeObject, Store, StoreError, checked


class ReadOnly(StoreError):
    """What is asked for would change the lake below."""


class OverlayStore:
    """The overlay that `write_overlay` described in `file`."""

    def __init__(self, file: Path, acts_as: str | None = None) -> None:
        from caudal.store import open_store

        if not file.is_file():
            raise StoreError(f"{file} is missing: this lake is not whole. If it is a branch's, make it with: caudal env create")
        self._file = file
        with self._asking() as db:
            own, below = db.execute("SELECT own, below FROM place").fetchone()
        self.url = own
        self._own, self._below = open_store(own, acts_as), open_store(below, acts_as)

    def list(self, prefix: str) -> Iterator[LakeObject]:
        start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        landed = {found.path: found for found in self._own.list(prefix)}
        yield from landed.values()
        query = "SELECT path, version, size_bytes FROM file WHERE path >= ? AND substr(path, 1, ?) = ? ORDER BY path"
        with self._asking() as db:
            known = db.execute(query, (start, len(start), start)).fetchall()
        yield from (LakeObject(*row) for row in known if row[0] not in landed)

    def find(self, path: str) -> LakeObject | None:
        return self._own.find(path) or self._known(path)

    def unchanged(self, path: str, version: str) -> bool:
        if own := self._own.find(path):
            return own.version == version
        known = self._known(path)
        return known is not None and known.version == version and self._below.unchanged(path, version)

    def fetch(self, found: Found, into: Path) -> Path | None:
        if self._own.find(found.path):
            return self._own.fetch(found, into)
        known = self._known(found.path)
        return self._below.fetch(found, into) if known and known.version == found.version else None

    def create(self, path: str, source: Path) -> bool:
        return self._known(checked(path)) is None and self._own.create(path, source)

    def replace(self, path: str, source: Path) -> None:
        self._own.replace(path, source)

    def exchange(self, path: str, version: str, source: Path) -> bool:
        if self._own.find(path):
            return self._own.exchange(path, version, source)
        return self.unchanged(path, version) and self._own.create(path, source)

    def delete(self, path: str) -> None:
        """Remove what landed here.

        Raises:
            ReadOnly: a file of the lake below stands there.

        """
        if self._known(checked(path)):
            raise ReadOnly(
                f"{path} is a file of {self._below.url}, which this lake only reads: it cannot be deleted from here, nor what "
                "replaced it. Replace it with an empty file instead, or delete it in production"
            )
        self._own.delete(path)

    @contextmanager
    def write(self, path: str, *, keep_same: bool = False) -> Generator[Path]:
        with self._own.write(path, keep_same=keep_same) as temporary:
            yield temporary

    def _known(self, path: str) -> LakeObject | None:
        with self._asking() as db:
            row = db.execute("SELECT path, version, size_bytes FROM file WHERE path = ?", (checked(path),)).fetchone()
        return LakeObject(*row) if row else None

    def _asking(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True))


def write_overlay(file: Path, own: str, below: str, known: Iterable[LakeObject]) -> int:
    """Describe in `file` a lake whose files land at `own`, above the `known` files of `below`; how many those are."""
    from caudal.store.local import write_atomically

    if own.rstrip("/") == below.rstrip("/") or own.startswith(f"{below.rstrip('/')}/"):
        raise StoreError(f"{own} is within the lake {below}, which would see what lands there; give it a place of its own")
    with write_atomically(file) as temporary, closing(sqlite3.connect(temporary)) as db, db:
        db.execute("CREATE TABLE place (own TEXT NOT NULL, below TEXT NOT NULL)")
        db.execute(
            "CREATE TABLE file (path TEXT PRIMARY KEY, version TEXT NOT NULL, size_bytes INTEGER NOT NULL) WITHOUT ROWID"
        )
        db.execute("INSERT INTO place VALUES (?, ?)", (own, below))
        return db.executemany("INSERT INTO file VALUES (?, ?, ?)", ((o.path, o.version, o.size_bytes) for o in known)).rowcount


def layers(store: Store) -> tuple[Store, Store | None]:
    """Where files of the store land, and the store below it that is only read, if there is one."""
    return (store._own, store._below) if isinstance(store, OverlayStore) else (store, None)  # noqa: SLF001
