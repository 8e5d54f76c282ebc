"""Build, audit, publish: tables are made in a candidate, which becomes visible whole or not at all.

The candidate is a copy of the published DuckDB file (a reference copy where the file system can). Publishing moves it
beside the versions before it and points the published link at it: whoever reads keeps the version that he opened; whoever
opens next sees the new one. Candidates of one company are built one after another, under a lock that dies with its
holder, so that none is lost.

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
from caudal.warehouse import pins, relations, versions
from caudal.warehouse.audits import Audit, AuditOutcome, AuditsFailed, judge
from caudal.warehouse.engine import connect_file
from caudal.warehouse.held_back import Held, hold, let_go
from caudal.warehouse.raw_views import make_views, raw_views
from caudal.warehouse.versions import NOBODY, Cause

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: Linux's request that a file share another one's blocks.
_FICLONE = 0x40049409


@dataclass(frozen=True)
class Candidate:
    """An unpublished build. `path` may be opened and written by one process at a time; close it before publishing.

    Attributes:
        start: the version that it started as, "" for none; the published one, unless another was asked for.
        parent: the version that readers see, "" for none.

    """

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
            return {name for name in names if relations.kind_of(connection, name)}

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
            versions.record(self.path.parent, connection, start, parent, said)
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
def open_candidate(
    env: Environment, datasets: Sequence[Dataset] = (), start: versions.Kept | None = None
) -> Generator[Candidate]:
    """A candidate that starts as the published version, its raw views pinned to the newest raw of `datasets`.

    Waits for the candidate of another process to be published or given up. Leaving the block without `publish` discards
    the candidate.

    Args:
        start: the version to start as, instead of the published one.

    """
    env.candidates.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        versions.clear_unfinished(env)
        parent, version = versions.current(env), versions.next_name(env)
        path = env.candidates / version / env.published.name
        candidate = Candidate(env, path, version, start.name if start else parent or "", parent or "")
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


@dataclass(frozen=True)
class Published:
    """Tables that Python made, published.

    Attributes:
        outcomes: of all audits, which passed.
        was_held: those of the tables that had been held back until now.

    """

    version: str
    outcomes: tuple[AuditOutcome, ...]
    was_held: Mapping[str, Held]


def publish_tables(
    env: Environment, tables: Mapping[str, pa.Table], audits: Sequence[Audit] = (), cause: Cause = NOBODY
) -> str:
    """Publish whole tables, named `schema.name`, in one version, replacing those of the same name; the version.

    Raises:
        AuditsFailed: one of `audits` does not hold in the candidate. Nothing is published: each table of `tables` keeps its
            last good version, and `held_back` says so until it is published again.

    """
    return published_tables_of(env, tables, audits, cause).version


def published_tables_of(
    env: Environment, tables: Mapping[str, pa.Table], audits: Sequence[Audit] = (), cause: Cause = NOBODY
) -> Published:
    """As `publish_tables`, and what came of the audits."""
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            for relation, rows in tables.items():
                schema, _ = relation.split(".")
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
                connection.register("rows_to_publish", rows)
                if relations.kind_of(connection, relation) == "VIEW":
                    connection.execute(f"DROP VIEW {relations.quoted(relation)}")
                connection.execute(f"CREATE OR REPLACE TABLE {relations.quoted(relation)} AS SELECT * FROM rows_to_publish")
                connection.unregister("rows_to_publish")
            outcomes = tuple(judge(connection, audits))
        blamed = tuple(outcome.why() for outcome in outcomes if not outcome.passed)
        if blamed:
            raise AuditsFailed(outcomes, hold(env, dict.fromkeys(tables, blamed), cause))
        version = candidate.publish(tables, cause)
    return Published(version, outcomes, let_go(env, tables))


def published_version(env: Environment) -> str | None:
    """The version that readers see, or None."""
    return versions.current(env)


def copy_file(source: Path, target: Path) -> None:
    """Copy, sharing the blocks of `source` where the file system can."""
    if sys.platform == "linux":
        with source.open("rb") as given, target.open("wb") as made, suppress(OSError):
            fcntl.ioctl(made, _FICLONE, given.fileno())
            return
    shutil.copyfile(source, target)
