"""Look-ups in the version of the online store that is current, some microseconds each."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.serving.online import FORECASTS, pointer_path, version_path

if TYPE_CHECKING:
    from caudal.environment import Environment

OPEN_ATTEMPTS = 5


class NothingOnline(LookupError):
    """No version of the online store has been published."""


@dataclass(frozen=True)
class Content:
    """One table of the online store."""

    name: str
    relation: str
    key: str
    rows: int


@dataclass(frozen=True)
class OpenVersion:
    """A version as one thread has it open.

    Attributes:
        published_at: ISO 8601, UTC.
        warehouse_version: the version of the warehouse that it was built from.
        contents: by name; `forecasts` is one of them where there are any.
    """

    connection: sqlite3.Connection
    version: str
    published_at: str
    warehouse_version: str | None
    contents: dict[str, Content]

    @property
    def tables(self) -> dict[str, Content]:
        """The tables that are looked up by key."""
        return {name: content for name, content in self.contents.items() if name != FORECASTS}

    @cached_property
    def series(self) -> tuple[str, ...]:
        """The names of the series that are forecast, sorted."""
        return tuple(row[0] for row in self.connection.execute("SELECT series FROM forecasts ORDER BY series"))

    def forecast(self, series: str) -> str | None:
        """The JSON of a series' forecast, or None."""
        row = self.connection.execute("SELECT body FROM forecasts WHERE series = ?", (series,)).fetchone()
        return row[0] if row else None

    def row(self, table: str, key: str) -> str | None:
        """The JSON of one row, or None."""
        found = self.connection.execute("SELECT body FROM keyed_rows WHERE name = ? AND key = ?", (table, key)).fetchone()
        return found[0] if found else None

    def keys_near(self, table: str, key: str, limit: int = 3) -> list[str]:
        """Up to `limit` keys that follow `key` in the order of text, or the last ones where none does."""
        after = "SELECT key FROM keyed_rows WHERE name = ? AND key >= ? ORDER BY key LIMIT ?"
        last = "SELECT key FROM keyed_rows WHERE name = ? ORDER BY key DESC LIMIT ?"
        found = self.connection.execute(after, (table, key, limit)).fetchall()
        return [row[0] for row in found or self.connection.execute(last, (table, limit)).fetchall()]


class OnlineReader:
    """Gives each thread the current version, opened once and again when another becomes current.

    Versions are immutable, so SQLite takes no locks and no look-up ever waits for a publisher.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._threads = threading.local()

    def current(self) -> OpenVersion:
        """The current version. What one answer needs should be asked of one of these.

        Raises:
            NothingOnline: nothing is published, or what is published has gone.
        """
        for attempt in range(OPEN_ATTEMPTS):
            try:
                status = pointer_path(self._env).stat()
                seen = (status.st_ino, status.st_mtime_ns, status.st_size)
                if getattr(self._threads, "seen", None) != seen:
                    self._reopen(seen)
            except FileNotFoundError as missing:
                raise NothingOnline(
                    f"Company {self._env.company} has nothing online yet. Materialize its asset `online/...` first: "
                    "`make run`, or the Dagster UI."
                ) from missing
            except sqlite3.OperationalError as gone:  # Removed between reading the pointer and opening the file.
                if attempt == OPEN_ATTEMPTS - 1:
                    raise NothingOnline(
                        f"{pointer_path(self._env)} names a version whose file cannot be opened ({gone}). Materialize the "
                        "asset `online/...` again."
                    ) from gone
            else:
                return self._threads.version
        raise AssertionError

    def _reopen(self, seen: tuple[int, int, int]) -> None:
        name = pointer_path(self._env).read_text(encoding="utf-8").strip()
        opened = _open(self._env, name)
        before: OpenVersion | None = getattr(self._threads, "version", None)
        self._threads.version, self._threads.seen = opened, seen
        if before is not None:
            before.connection.close()


def _open(env: Environment, version: str) -> OpenVersion:
    uri = f"{version_path(env, version).as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=True)
    try:
        contents = [Content(*row) for row in connection.execute("SELECT name, relation, key, rows FROM contents")]
        store = connection.execute("SELECT version, published_at, warehouse_version FROM store").fetchone()
    except sqlite3.Error:
        with closing(connection):
            raise
    return OpenVersion(connection, *store, {content.name: content for content in contents})
