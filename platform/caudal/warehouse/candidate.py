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
import re
import shutil
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.contracts import LINEAGE_COLUMNS
from caudal.lake.evolution import as_it_is
from caudal.store import exclusive_lock
from caudal.warehouse import delta, pins
from caudal.warehouse.engine import connect_file
from caudal.warehouse.latest import has_latest, latest_query, latest_table
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

_TIME_OF_DAY = re.compile(r"(?<!WITH )\bTIME\b")

#: Linux's request that a file share another one's blocks.
_FICLONE = 0x40049409

#: How many published versions stay on disk, the newest included.
KEPT_VERSIONS = 3

REJECT_COLUMNS = {
    "_file": "VARCHAR",
    "_version": "VARCHAR",
    "_row": "BIGINT",
    "column": "VARCHAR",
    "value": "VARCHAR",
    "reason": "VARCHAR",
    "record": "VARCHAR",
    "_loaded_at": "TIMESTAMP WITH TIME ZONE",
}


@dataclass(frozen=True)
class Candidate:
    """An unpublished build. `path` may be opened and written by one process at a time; close it before publishing."""

    env: Environment
    path: Path
    version: str

    @contextmanager
    def connect(self) -> Generator[duckdb.DuckDBPyConnection]:
        """The candidate, writable."""
        with connect_file(self.env, self.path) as connection:
            yield connection

    def restore(self, relations: Iterable[str]) -> None:
        """Put each `schema.name` back to what is published now; what was never published is dropped."""
        relations = list(relations)
        if not relations:
            return
        with self.connect() as connection:
            published = self.env.published.is_file()
            if published:
                connection.execute(f"ATTACH {text(str(self.env.published))} AS last_good (READ_ONLY)")
            for relation in relations:
                _restore(connection, relation, published)

    def publish(self) -> str:
        """Make the candidate what readers see; its version."""
        with self.connect() as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS caudal")
            connection.execute(
                "CREATE OR REPLACE TABLE caudal.published AS SELECT ?::VARCHAR AS version, now() AS published_at",
                [self.version],
            )
            connection.execute("CHECKPOINT")
        with self.path.open("rb") as written:
            os.fsync(written.fileno())
        home = self.env.versions / self.version
        home.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.replace(home)
        link = self.env.warehouse / f".{self.version}.link"
        link.symlink_to(Path("versions", self.version, self.path.name))
        link.replace(self.env.published)
        others = sorted(v for v in self.env.versions.iterdir() if v != home)
        for old in others[: 1 - KEPT_VERSIONS]:
            shutil.rmtree(old)
        return self.version


@contextmanager
def open_candidate(env: Environment, datasets: Sequence[Dataset] = ()) -> Generator[Candidate]:
    """A candidate that starts as the published version, its raw views pinned to the newest raw of `datasets`.

    Waits for the candidate of another process to be published or given up. Leaving the block without `publish` discards
    the candidate.
    """
    env.candidates.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        for left_behind in env.candidates.iterdir():
            shutil.rmtree(left_behind)
        version = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"
        candidate = Candidate(env, env.candidates / version / env.published.name, version)
        candidate.path.parent.mkdir()
        try:
            read: dict[str, int] = {}
            if env.published.is_file():
                published = env.published.resolve()
                copy_file(published, candidate.path)
                with suppress(pins.UnknownPins):  # Then upkeep waits until that version is gone.
                    read |= pins.recorded(published.parent)
            views = [view for dataset in datasets for view in _views(env, as_it_is(env, dataset))]
            read |= {view.table: view.version for view in views if view.version is not None}
            pins.record(candidate.path.parent, read)
            with candidate.connect() as connection:
                _make(connection, views)
            yield candidate
        finally:
            shutil.rmtree(candidate.path.parent, ignore_errors=True)


def publish_tables(env: Environment, tables: Mapping[str, pa.Table]) -> str:
    """Publish whole tables, named `schema.name`, in one version, replacing those of the same name; the version."""
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            for relation, rows in tables.items():
                schema, name = relation.split(".")
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
                connection.register("rows_to_publish", rows)
                connection.execute(f'CREATE OR REPLACE TABLE "{schema}"."{name}" AS SELECT * FROM rows_to_publish')
                connection.unregister("rows_to_publish")
        return candidate.publish()


def published_version(env: Environment) -> str | None:
    """The version that readers see, or None."""
    return env.published.resolve().parent.name if env.published.is_file() else None


def copy_file(source: Path, target: Path) -> None:
    """Copy, sharing the blocks of `source` where the file system can."""
    if sys.platform == "linux":
        with source.open("rb") as given, target.open("wb") as made, suppress(OSError):
            fcntl.ioctl(made, _FICLONE, given.fileno())
            return
    shutil.copyfile(source, target)


@dataclass(frozen=True)
class _View:
    """A view to be made, and the version of the Delta Lake table (`raw/...`) that it reads, None if there is none yet."""

    schema: str
    name: str
    body: str
    table: str
    version: int | None


def _views(env: Environment, dataset: Dataset) -> Iterator[_View]:
    """The dataset's raw, latest and quarantine views at the newest versions; empty ones if nothing was ever loaded."""
    raw_columns = {c.name: c.duckdb_type for c in dataset.contract.columns} | LINEAGE_COLUMNS
    for schema, folder, columns in (("raw", env.raw, raw_columns), ("quarantine", env.quarantine, REJECT_COLUMNS)):
        path = folder / dataset.table
        table, version = f"{schema}/{dataset.table}", delta.version_of_table(path)
        body = _body(path, version, columns)
        yield _View(schema, dataset.table, body, table, version)
        if schema == "raw" and has_latest(dataset):
            yield _View(schema, latest_table(dataset), latest_query(dataset, f"({body})", list(columns)), table, version)


def _make(connection: duckdb.DuckDBPyConnection, views: Iterable[_View]) -> None:
    """Make the views, but for those that are there with the same body: DuckDB takes 4 ms to read one through to its table."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS caudal")
    connection.execute('CREATE TABLE IF NOT EXISTS caudal.raw_views ("schema" VARCHAR, name VARCHAR, body VARCHAR)')
    rows = connection.execute(
        'SELECT "schema", name, body FROM caudal.raw_views JOIN duckdb_views() AS there '
        'ON there.database_name = current_database() AND there.schema_name = "schema" AND there.view_name = name'
    ).fetchall()
    bodies = {(schema, name): body for schema, name, body in rows}
    changed = [view for view in views if bodies.get((view.schema, view.name)) != view.body]
    if not changed:
        return
    connection.execute("BEGIN")
    for view in changed:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view.schema}")
        connection.execute(f"CREATE OR REPLACE VIEW {view.schema}.{identifier(view.name)} AS {view.body}")
        connection.execute('DELETE FROM caudal.raw_views WHERE "schema" = ? AND name = ?', [view.schema, view.name])
        connection.execute("INSERT INTO caudal.raw_views VALUES (?, ?, ?)", [view.schema, view.name, view.body])
    connection.execute("COMMIT")


def _body(path: Path, version: int | None, columns: Mapping[str, str]) -> str:
    """The rows of a table, with the declared columns and types; what the pinned version does not have yet is null.

    Delta Lake knows no time of day: such values are text in the table.
    """
    if version is None:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in columns.items())
        return f"SELECT {nulls} WHERE false"
    there = delta.column_names(path, version)
    shown = []
    for name, kind in columns.items():
        quoted = identifier(name)
        if name not in there:
            shown.append(f"CAST(NULL AS {kind}) AS {quoted}")
        elif _TIME_OF_DAY.search(kind):
            shown.append(f"CAST({quoted} AS {kind}) AS {quoted}")
        else:
            shown.append(quoted)
    return f"SELECT {', '.join(shown)} FROM delta_scan({text(str(path))}, version => {version})"


def _restore(connection: duckdb.DuckDBPyConnection, relation: str, published: bool) -> None:
    schema, name = relation.split(".")
    for kind in ("VIEW", "TABLE"):
        if _definition(connection, kind, schema, name, "current_database()"):
            connection.execute(f'DROP {kind} "{schema}"."{name}" CASCADE')
    if not published:
        return
    for kind in ("VIEW", "TABLE"):
        definition = _definition(connection, kind, schema, name, "'last_good'")
        if definition:
            connection.execute(definition)
            if kind == "TABLE":
                connection.execute(f'INSERT INTO "{schema}"."{name}" SELECT * FROM last_good."{schema}"."{name}"')


def _definition(connection: duckdb.DuckDBPyConnection, kind: str, schema: str, name: str, database: str) -> str | None:
    row = connection.execute(
        f"SELECT sql FROM duckdb_{kind.lower()}s() "
        f"WHERE database_name = {database} AND schema_name = ? AND {kind.lower()}_name = ?",
        [schema, name],
    ).fetchone()
    return row[0] if row else None
