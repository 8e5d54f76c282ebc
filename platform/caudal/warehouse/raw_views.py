"""The views of raw tables in a candidate: each reads its Delta Lake table at one version, which it names."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from caudal.contracts import LINEAGE_COLUMNS
from caudal.lake.evolution import as_it_is
from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.latest import has_latest, latest_query, latest_table
from caudal.warehouse.quality import judged
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

_TIME_OF_DAY = re.compile(r"(?<!WITH )\bTIME\b")

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
class RawView:
    """A view to be made, and the version of the Delta Lake table (`raw/...`) that it reads, None if there is none yet."""

    schema: str
    name: str
    body: str
    table: str
    version: int | None


def raw_views(env: Environment, dataset: Dataset) -> Iterator[RawView]:
    """The dataset's raw, latest and quarantine views at the newest versions; empty ones if nothing was ever loaded.

    Of a raw table with blocking rules it is the newest version that has passed them.
    """
    raw_columns = {c.name: c.duckdb_type for c in dataset.contract.columns} | LINEAGE_COLUMNS
    for schema, folder, columns in (("raw", env.raw, raw_columns), ("quarantine", env.quarantine, REJECT_COLUMNS)):
        path = folder / dataset.table
        table, version = f"{schema}/{dataset.table}", delta.version_of_table(path)
        if schema == "raw":
            version = judged.version_to_read(env, dataset, version)
        body = _body(path, version, columns)
        yield RawView(schema, dataset.table, body, table, version)
        if schema == "raw" and has_latest(dataset):
            yield RawView(schema, latest_table(dataset), latest_query(dataset, f"({body})", list(columns)), table, version)


@contextmanager
def newest_raw(env: Environment, dataset: Dataset) -> Generator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection that reads the dataset's raw as it was loaded last, and what to call that version.

    What is published holds the raw that marts were made of, which may be older, and nothing before the first mart.
    """
    if env.cloud is not None:
        from caudal.warehouse.bigquery import loaded

        session, version = loaded.newest_raw(env, dataset)
        with session:
            if version is None:
                columns = {c.name: c.duckdb_type for c in dataset.contract.columns} | LINEAGE_COLUMNS
                session.execute(f"CREATE VIEW raw.{identifier(dataset.table)} AS {_body(Path(), None, columns)}")
            yield cast("duckdb.DuckDBPyConnection", session), session.moment.version
        return
    views = list(raw_views(env, as_it_is(env, dataset)))
    with connect_memory(env) as connection:
        make_views(connection, views)
        yield connection, f"raw {views[0].version}"


def make_views(connection: duckdb.DuckDBPyConnection, views: Iterable[RawView]) -> None:
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
