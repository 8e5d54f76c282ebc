"""An SQLite file that many processes and threads write: connections kept a process, none carried over a fork.

Dagster's own SQLite storages open the file anew for each query and change it in deferred transactions. Here

- a process has one pool a file, whoever asks for it, empty when nobody holds the file any more;
- a change is one `BEGIN IMMEDIATE` transaction: it waits for its turn instead of failing with "database is locked" in the
  middle, and what it read before it writes is still so;
- inside a transaction everything that the thread does is part of it;
- a process that forks closes its connections first. SQLite keeps locks and shared memory a process, and a child that uses, or
  only closes, what its parent opened damages the file;
- a file appears whole or not at all, whoever makes it first.

`journal_mode=WAL` with `synchronous=NORMAL`: what is committed survives the end of any process at any moment. A power cut or a
crash of the operating system may take the last commits since the last checkpoint, in order, and never damages the file.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

#: How long a change waits for those before it. SQLite serves waiters in no order, so that this is long.
BUSY_TIMEOUT_S = 60.0

#: Connections that a process keeps a file. More are opened when more threads ask at once, and closed after.
KEPT_CONNECTIONS = 4

#: How long a fork waits for the queries of other threads to end.
FORK_WAIT_S = 5.0

_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",
    "PRAGMA temp_store=MEMORY",
    f"PRAGMA journal_size_limit={16 * 1024**2}",
)


class Database:
    """One file in this process, thread-safe. Made by `hold`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)
        self._mine = threading.local()
        self._gate = threading.Condition(threading.Lock())
        self._busy = 0
        self._forking = False
        self._carried_over_a_fork = False

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection whose changes are committed at the end, or undone if that is an error."""
        held = getattr(self._mine, "connection", None)
        if held is not None:
            yield held
            return
        with self._gate:
            self._gate.wait_for(lambda: not self._forking)
            self._busy += 1
        try:
            if self._carried_over_a_fork:
                raise RuntimeError(f"{self.path} was in use while this process was forked; it cannot be used here")
            with self._engine.connect() as opened, opened.begin():
                self._mine.connection = opened
                try:
                    yield opened
                finally:
                    self._mine.connection = None
        finally:
            with self._gate:
                self._busy -= 1
                self._gate.notify_all()

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Like `connection`, and nobody else changes the file until the end. What this thread does meanwhile belongs to it."""
        with self.connection() as opened:
            raw: Any = opened.connection.dbapi_connection
            if not raw.in_transaction:
                opened.exec_driver_sql("BEGIN IMMEDIATE")
            yield opened

    def shrink(self, until: Callable[[], bool] = lambda: False, pages: int = 500) -> int:
        """Give free pages back to the file system, some at a time; how many bytes the file is smaller."""
        before = self.path.stat().st_size
        free = 1
        while free and not until():
            with self.connection() as opened:
                freed: Any = opened.connection.dbapi_connection
                freed.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()  # a page a step
                (free,) = freed.execute("PRAGMA freelist_count").fetchone()
        with self.connection() as opened:
            raw: Any = opened.connection.dbapi_connection
            raw.execute("PRAGMA optimize").fetchall()
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return before - self.path.stat().st_size

    def close(self) -> None:
        """Close the connections that are not in use; one is opened again when it is asked for."""
        self._engine.dispose()

    # Around a fork. Nobody begins anything from before it to after it, and what was begun ends before it.

    def before_fork(self) -> None:
        self._gate.acquire()
        self._forking = True
        own = getattr(self._mine, "connection", None) is not None
        self._gate.wait_for(lambda: self._busy == int(own), timeout=FORK_WAIT_S)
        self.close()

    def after_fork_in_parent(self) -> None:
        self._forking = False
        self._gate.notify_all()
        self._gate.release()

    def after_fork_in_child(self) -> None:
        if self._busy:
            _left_alone.append(self._engine.pool)
            self._engine.dispose(close=False)
            self._carried_over_a_fork = True
        self._gate = threading.Condition(threading.Lock())
        self._mine = threading.local()
        self._busy = 0
        self._forking = False


_databases: dict[Path, Database] = {}
_holders: dict[Path, int] = {}
_lock = threading.RLock()  # a holder may be collected while it is held
_left_alone: list[Any] = []


def hold(path: Path, holder: object, make: Callable[[Path], None]) -> Database:
    """The file at `path` in this process, until `holder` lets go of it (`release`) or is gone.

    Args:
        path: where it is or is to be; its folder is made.
        holder: for whom.
        make: makes a new database at a path that does not exist yet. Called if there is no file.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        _make_whole(path, make)
    with _lock:
        database = _databases.get(path) or Database(path)
        _databases[path] = database
        _holders[path] = _holders.get(path, 0) + 1
    _releases[holder] = weakref.finalize(holder, _release, path)
    return database


def release(holder: object) -> None:
    """`holder` needs its file no more. Again does nothing."""
    finalizer = _releases.pop(holder, None)
    if finalizer is not None:
        finalizer()


_releases: weakref.WeakKeyDictionary[object, weakref.finalize] = weakref.WeakKeyDictionary()


def _release(path: Path) -> None:
    with _lock:
        _holders[path] -= 1
        if _holders[path]:
            return
        del _holders[path]
        database = _databases[path]  # stays, without connections: what it has learned of SQL is of use to the next holder
    database.close()


def _make_whole(path: Path, make: Callable[[Path], None]) -> None:
    """A new database at `path`, unless another process is quicker: then that one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        new = Path(folder) / path.name
        make(new)
        raw = sqlite3.connect(new, isolation_level=None)
        try:
            raw.execute("PRAGMA journal_mode=DELETE")  # everything in the one file that is moved
            raw.execute("PRAGMA auto_vacuum=INCREMENTAL")
            raw.execute("VACUUM")
            raw.execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
        try:
            os.link(new, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            if not path.exists():
                new.rename(path)


def _engine(path: Path) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import QueuePool

    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=KEPT_CONNECTIONS,
        max_overflow=-1,
        pool_use_lifo=True,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    def prepare(opened: Any, _record: object) -> None:
        for pragma in _PRAGMAS:
            opened.execute(pragma)

    event.listen(engine, "connect", prepare)
    return engine


def _before_fork() -> None:
    _lock.acquire()
    for database in _databases.values():
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _databases.values():
        database.after_fork_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603
    for database in _databases.values():
        database.after_fork_in_child()
    _lock = threading.RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
