"""SQLite files of the platform's own: transactions on them, and their tables as they came to be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def transaction(path: Path) -> Generator[sqlite3.Connection]:
    """One serializable transaction, durable when the block ends."""
    with closing(_connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """One consistent view, which waits for nobody."""
    with closing(_connect(path)) as db:
        db.execute("BEGIN")
        yield db


def scrub(path: Path) -> None:
    """Write the file anew, so that nothing is left in it, nor beside it, of what was removed from its tables."""
    with closing(_connect(path)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def version_of_tables(db: sqlite3.Connection) -> int:
    """How many steps the file says it has behind it."""
    return db.execute("PRAGMA user_version").fetchone()[0]


def advance(db: sqlite3.Connection, steps: Sequence[str], done: int, unknown: Callable[[str], Exception]) -> None:
    """Bring the tables of a file up to date, within the caller's transaction.

    Args:
        db: the file.
        steps: all that there are, one a version of the file: statements with semicolons between them.
        done: how many of them the file has behind it.
        unknown: the error about a file that is newer than this code, from the end of its sentence: "has version ...".

    """
    if done > len(steps):
        raise unknown(
            f"has version {done}, and this platform knows {len(steps)}. Run the platform that wrote it, or a newer one"
        )
    for step in steps[done:]:
        for statement in step.split(";"):
            db.execute(statement)
    if done < len(steps):
        db.execute(f"PRAGMA user_version = {len(steps)}")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=60, isolation_level=None)
