"""A candidate on one machine: it becomes visible whole or not at all.

It is a copy of the published DuckDB file (a reference copy where the file system can). Publishing moves it
beside the versions before it and points the published link at it: whoever reads keeps the version that he opened; whoever
opens next sees the new one.

Every version has the same file name, `warehouse.duckdb`, and so the same catalogue name: the bodies of views hold it.

A candidate's raw views pin the version of each raw table at the time the candidate was opened, so that all its models see the
same raw, whatever is loaded meanwhile. Which versions these are is recorded beside the file (`pins`): upkeep keeps them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.evolution import as_it_is
from caudal.store import exclusive_lock
from caudal.warehouse import pins, relations, version_record, versions
from caudal.warehouse.connection import kind_of, quoted
from caudal.warehouse.engine import connect_file, connect_memory
from caudal.warehouse.published import NothingPublished, connect
from caudal.warehouse.raw_views import make_views, raw_views
from caudal.warehouse.sql import identifier, text
from caudal.warehouse.versions import NOBODY, Cause

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.contracts.access import Access
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: Linux's request that a file share another one's blocks.
_FICLONE = 0x40049409


@dataclass(frozen=True)
class LocalCandidate:
    """`caudal.warehouse.candidate.Candidate` in a DuckDB file, `path`. Close what is open before publishing."""

    env: Environment
    path: Path
    version: str
    start: str = ""
    parent: str = ""

    @contextmanager
    def connect(self) -> Generator[duckdb.DuckDBPyConnection]:
        """The candidate, writable."""
        with connect_file(self.env, self.path) as connection:
            yield connection

    def prepare(self, building: Iterable[str], views: Iterable[str] = (), incremental: Iterable[str] = ()) -> None:
        """Nothing: all of them are in the file."""

    def declare(self, access: Mapping[str, Access]) -> None:
        """Nothing: who may open the file sees all of it."""

    def made_of(self) -> dict[str, str]:
        """Nothing: every table is made whole."""
        return {}

    def write_down(self, made_of: Mapping[str, str]) -> None:
        """Nothing: see `made_of`."""

    def physical(self, relation: str, in_candidate: bool | None = None) -> tuple[str, str]:  # noqa: ARG002
        """`(schema, name)`, in the candidate and elsewhere."""
        schema, name = relation.split(".", 1)
        return schema, name

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Make each `schema.name` a table of these rows, whatever it was."""
        with self.connect() as connection:
            for relation, rows in tables.items():
                schema, _ = relation.split(".")
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
                connection.register("rows_to_publish", rows)
                if kind_of(connection, relation) == "VIEW":
                    connection.execute(f"DROP VIEW {quoted(relation)}")
                connection.execute(f"CREATE OR REPLACE TABLE {quoted(relation)} AS SELECT * FROM rows_to_publish")
                connection.unregister("rows_to_publish")

    def restore(self, names: Iterable[str]) -> None:
        """Put each `schema.name` back to what is published now; what was never published is dropped."""
        names = list(names)
        if not names:
            return
        with self.connect() as connection:
            if not self.env.published.is_file():
                for name in names:
                    relations.bring(connection, name, None)
                return
            with relations.attached(connection, self.env.published, "last_good"):
                for name in names:
                    relations.bring(connection, name, "last_good")

    def holds(self, names: Iterable[str]) -> set[str]:
        """Those of the `schema.name` that are there."""
        with self.connect() as connection:
            return {name for name in names if kind_of(connection, name)}

    def bring(self, relation: str, kept: versions.Kept) -> None:
        """Make the relation what it is in a kept version; LookupError if that does not have it."""
        with self.connect() as connection, relations.attached(connection, kept.file, "kept"):
            if kind_of(connection, relation, "kept") is None:
                raise LookupError(f"Version {kept.name} has no {relation}. `caudal versions {relation}` lists those that do")
            relations.bring(connection, relation, "kept")

    def rewrite(self) -> None:
        """Write the file anew: what was removed from its tables is then nowhere in it, not in free blocks either."""
        fresh = self.path.parent / "fresh" / self.path.name
        fresh.parent.mkdir()
        with connect_memory(self.env) as connection:
            connection.execute(f"ATTACH {text(str(self.path))} AS warehouse (READ_ONLY)")
            connection.execute(f"ATTACH {text(str(fresh))} AS fresh")
            connection.execute("COPY FROM DATABASE warehouse TO fresh")
        fresh.replace(self.path)
        shutil.rmtree(fresh.parent)

    def broken_views(self, *, published: bool = False) -> dict[str, str]:
        """The views that cannot be read, each with the reason."""
        if not published:
            with self.connect() as connection:
                return _broken(connection)
        with suppress(NothingPublished), connect(self.env) as connection:
            return _broken(connection)
        return {}

    def publish(self, changed: Iterable[str] = (), cause: Cause = NOBODY) -> str:
        """Make the candidate what readers see; its version.

        Args:
            changed: each `schema.name` that was made anew, if only with the same rows; others with another definition are
                found by themselves.
            cause: who publishes, and why.

        """
        home = self.env.versions / self.version
        said = versions.Version(self.version, datetime.now(UTC), self.parent, cause, {}, dict.fromkeys(changed, ""))
        with self.connect() as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS caudal")
            connection.execute(
                "CREATE OR REPLACE TABLE caudal.published AS SELECT ?::VARCHAR AS version, now() AS published_at",
                [self.version],
            )
            start, parent = (
                versions.recorded(self.env.versions / name) if name else None for name in (self.start, self.parent)
            )
            version_record.record(self.path.parent, connection, start, parent, said)
            connection.execute("CHECKPOINT")
        with self.path.open("rb") as written:
            os.fsync(written.fileno())
        home.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.replace(home)
        link = self.env.warehouse / f".{self.version}.link"
        link.symlink_to(Path("versions", self.version, self.path.name))
        link.replace(self.env.published)
        versions.clear(self.env)
        return self.version


@contextmanager
def open_local_candidate(
    env: Environment, datasets: Sequence[Dataset] = (), start: versions.Kept | None = None
) -> Generator[LocalCandidate]:
    """As `caudal.warehouse.candidate.open_candidate`."""
    env.candidates.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        versions.clear_unfinished(env)
        parent, version = versions.current(env), versions.next_name(env)
        path = env.candidates / version / env.published.name
        candidate = LocalCandidate(env, path, version, start.name if start else parent or "", parent or "")
        candidate.path.parent.mkdir()
        try:
            read: dict[str, int] = {}
            if candidate.start:
                base = start.file if start else env.published.resolve()
                copy_file(base, candidate.path)
                with suppress(pins.UnknownPins):  # Then upkeep waits until that version is gone.
                    read |= pins.recorded(base.parent)
            views = [view for dataset in datasets for view in raw_views(env, as_it_is(env, dataset))]
            read |= {view.table: view.version for view in views if view.version is not None}
            pins.record(candidate.path.parent, read)
            with candidate.connect() as connection:
                make_views(connection, views)
            yield candidate
        finally:
            shutil.rmtree(candidate.path.parent, ignore_errors=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy, sharing the blocks of `source` where the file system can."""
    if sys.platform == "linux":
        with source.open("rb") as given, target.open("wb") as made, suppress(OSError):
            fcntl.ioctl(made, _FICLONE, given.fileno())
            return
    shutil.copyfile(source, target)


def _broken(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    import duckdb

    found = {}
    views = connection.execute(
        "SELECT schema_name, view_name FROM duckdb_views() "
        "WHERE database_name = current_database() AND NOT internal ORDER BY ALL"
    ).fetchall()
    for schema, name in views:
        try:
            connection.execute(f"SELECT * FROM {identifier(schema)}.{identifier(name)} LIMIT 0")
        except duckdb.Error as problem:
            found[f"{schema}.{name}"] = str(problem).split("\n", 1)[0]
    return found
