"""Reading what has been published. Readers hold the version that they opened and are never waited for.

Readers speak DuckDB's SQL. Locally they read the published file; in the environment `gcp` what a statement needs is brought
from BigQuery first, column by column, and put on disk (`caudal.warehouse.bigquery.session`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from caudal.warehouse.engine import link_extensions
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from caudal.environment import Environment


class NothingPublished(FileNotFoundError):
    """No version has been published yet."""


@dataclass(frozen=True)
class PublishedTable:
    """A table that readers may rely on, and the asset that it is.

    Attributes:
        key: the asset key, `(stage, domain, name)`.
        relation: `schema.table` in the published file.
        columns: `(name, type, description)` of each.
        personal: columns whose values are masked wherever they are shown, `caudal.contracts.masking.Names`.

    """

    key: tuple[str, ...]
    relation: str
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    columns: tuple[tuple[str, str, str], ...] = ()
    personal: Collection[str] = ()

    @property
    def domain(self) -> str:
        return self.key[1]

    @property
    def name(self) -> str:
        return self.key[-1]


def connect(env: Environment, file: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only connection to what is published, that looks for a table in `marts`, then in the other schemas.

    In BigQuery it is a `caudal.warehouse.bigquery.session.Session`: a table is brought when a statement first needs it. Whoever
    needs all of a table in several statements says so first, with `bring`.

    Args:
        file: of a version that is kept, to be read instead of the newest. There are none in BigQuery.

    Raises:
        NothingPublished: with what to do about it.

    """
    import duckdb

    if env.cloud is not None:
        from caudal.warehouse.bigquery.published import connect_session

        return cast("duckdb.DuckDBPyConnection", connect_session(env))
    if not env.published.is_file():
        raise NothingPublished(
            f"Nothing is published in {env.published} yet. Materialize a mart first (`make run`, or the Dagster UI)."
        )
    config: dict[str, str | float | list[str]] = {"extension_directory": str(link_extensions(env))}
    if file is not None:
        connection = duckdb.connect(str(file), read_only=True, config=config)
        _search_published(connection)
        return connection
    version = env.published.resolve()  # A process shares its connections to one path, so each version needs its own.
    while True:
        try:
            connection = duckdb.connect(str(version), read_only=True, config=config)
        except duckdb.IOException:
            # Whoever slept between the two lines for longer than a version stays finds that it was removed.
            newer = env.published.resolve()
            if newer == version:
                raise
            version = newer
        else:
            _search_published(connection)
            return connection


def read_arrow(env: Environment, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pa.Table:
    """The result of one query on the published version, as an Arrow table.

    Raises:
        NothingPublished: no version has been published yet.

    """
    with connect(env) as connection:
        return connection.execute(sql, parameters).to_arrow_table()


def arrow_batches(
    env: Environment, relation: str, columns: Sequence[str] = (), where: str = "", batch_rows: int = 100_000
) -> Iterator[pa.RecordBatch]:
    """The rows of the published `schema.table`, for code that goes through more of them than memory holds.

    Each batch has at most `batch_rows` rows, the columns in the order asked for, and the types that a query on it has. Neither
    engine keeps a batch once the next is asked for: locally DuckDB reads the file in pieces, and from BigQuery one message of
    at most 10 MiB is held at a time and nothing is put on disk. Rows come in no order.

    Args:
        columns: those that are read; all, if there are none.
        where: a condition in DuckDB's SQL on the table's columns. BigQuery applies what it can of it before it sends rows.

    Raises:
        NothingPublished: no version has been published yet.
        duckdb.Error: there is no such table or column, or `where` is no condition.

    """
    if env.cloud is not None:
        from caudal.warehouse.bigquery.published import stream_batches

        yield from stream_batches(env, relation, columns, where, batch_rows)
        return
    chosen = ", ".join(map(identifier, columns)) or "*"
    named = ".".join(map(identifier, relation.split(".", 1)))
    with connect(env) as connection:
        yield from connection.execute(f"SELECT {chosen} FROM {named} WHERE {where or 'true'}").to_arrow_reader(batch_rows)


def bring(connection: duckdb.DuckDBPyConnection, relation: str) -> None:
    """Say that all columns of `schema.table` will be asked for on `connection`: from BigQuery they come in one read then."""
    from caudal.warehouse.bigquery.session import Session

    if isinstance(connection, Session):
        connection.bring(relation)


def _search_published(connection: duckdb.DuckDBPyConnection) -> None:
    schemas = {row[0] for row in connection.execute("SELECT schema_name FROM duckdb_schemas()").fetchall()}
    path = [s for s in ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine") if s in schemas]
    if path:
        connection.execute(f"SET search_path = '{','.join(path)}'")
