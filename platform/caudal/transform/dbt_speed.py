"""What dbt does in its process that nobody needs, left out. Each thing here saves time and changes no result.

These reach into dbt-core 1.11 and dbt-duckdb 1.11; `tests/transform/test_dbt_private.py` says what they rely on.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

_HEARD = {"NodeStart", "NodeFinished"}


def before_import() -> None:
    """Call this before dbt is imported.

    A lock of a spawning context starts a process that tracks it, an interpreter for each build. dbt shares its locks with no
    other process; those of a forking context need no tracker.
    """
    import multiprocessing

    import dbt.mp_context

    dbt.mp_context._MP_CONTEXT = multiprocessing.get_context("fork")  # noqa: SLF001  # ty: ignore[invalid-assignment]


def drop_unheard_events() -> None:
    """Have dbt tell what somebody listens to.

    dbt writes each event of its debug log in three forms, several for a query, also where no such log is kept.
    """
    from dbt_common.events import event_manager_client
    from dbt_common.events.base_types import EventLevel
    from dbt_common.events.event_manager import EventManager

    unheard = (EventLevel.DEBUG, EventLevel.TEST)

    class Listening(EventManager):
        def fire_event(self, e: Any, level: Any = None, node: Any = None, force_warn_or_error_handling: bool = False) -> None:
            if (level or e.level_tag()) in unheard and not force_warn_or_error_handling and type(e).__name__ not in _HEARD:
                return
            super().fire_event(e, level, node, force_warn_or_error_handling)

    event_manager_client.ctx_set_event_manager(Listening())


def look_for_plugins_once() -> None:
    """In each invocation dbt goes through all installed packages for plugins; they do not change meanwhile."""
    from dbt.plugins.manager import PluginManager

    found = PluginManager.get_prefixed_modules()
    PluginManager.get_prefixed_modules = classmethod(lambda _: found)  # ty: ignore[invalid-assignment]


@dataclass
class Database:
    """The DuckDB file that this process works on.

    Attributes:
        extensions: DuckDB's `extension_directory`.
        trusted: paths of extensions that need not be verified.
        opened: dbt's connection, once there is one.

    """

    path: str
    extensions: str
    trusted: Sequence[str]
    opened: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def connect(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Beside dbt's connection, where that is still open; else a new one."""
        if self.opened is not None:
            with self.opened.cursor() as found:
                yield found
            return
        import duckdb

        with duckdb.connect(self.path, config={"extension_directory": self.extensions}) as connection:
            yield connection


@contextmanager
def database(path: str, extensions: str, trusted: Sequence[str]) -> Generator[Database]:
    """The database, which is closed when the block ends, so that nothing is left in its write-ahead log.

    Within the block dbt-duckdb loads the trusted extensions without verifying them. DuckDB reads and hashes all of an
    extension, of `delta` 83 MB, whenever a database loads it: 0.2 s. Once they are loaded no unverified one can be.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.duckdb.environments import Environment

    found = Database(path, extensions, trusted)
    original = vars(Environment)["initialize_db"]

    def initialize_db(cls: type[Environment], creds: Any, plugins: Any = None) -> duckdb.DuckDBPyConnection:
        if not trusted or creds.path != path:
            connection = original.__func__(cls, creds, plugins)
        else:
            options = {**(creds.config_options or {}), "allow_unsigned_extensions": "true"}
            connection = original.__func__(cls, replace(creds, config_options=options), plugins)
            for extension in trusted:
                connection.load_extension(extension)
            connection.execute("SET allow_unsigned_extensions = false")  # and DuckDB lets nobody set it again
        found.opened = connection if creds.path == path else None
        return connection

    Environment.initialize_db = classmethod(initialize_db)  # ty: ignore[invalid-assignment]
    try:
        yield found
    finally:
        Environment.initialize_db = original
        DuckDBConnectionManager.close_all_connections()
        if found.opened is not None:
            found.opened.close()
