"""What rules and audits need of a connection, on each engine: DuckDB's own, or BigQuery's that takes DuckDB's SQL.

What both understand goes through `execute`. What each has words of its own for is a function here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


class Connection(Protocol):
    """A part of `duckdb.DuckDBPyConnection`, which is one."""

    def execute(self, query: str, parameters: object = None) -> Connection:
        """Run one statement in DuckDB's SQL; its rows are fetched from what it returns."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None: ...
    def fetchall(self) -> list[tuple[Any, ...]]: ...
    def to_arrow_table(self) -> pa.Table: ...

    @property
    def description(self) -> Sequence[Any]:
        """For each column, a tuple that begins with its name."""
        ...


def refusals() -> tuple[type[Exception], ...]:
    """What a connection raises when a statement is wrong, or what it asks for is not there: for `except`."""
    import duckdb

    return duckdb.Error, BigQueryRefused


def repeats_a_value(refusal: Exception) -> bool:
    """Whether its message may repeat a value of a table that the statement stumbled on."""
    import duckdb

    return isinstance(refusal, duckdb.DataError | BigQueryRefused)


def kind_of(connection: Any, relation: str, database: str | None = None) -> str | None:
    """`TABLE` or `VIEW`, None if there is no such `schema.name` (in the attached `database`, in DuckDB)."""
    if is_bigquery(connection):
        return connection.kind_of(relation, database)
    schema, name = relation.split(".", 1)
    for kind in ("VIEW", "TABLE"):
        row = connection.execute(
            f"SELECT 1 FROM duckdb_{kind.lower()}s() WHERE database_name = coalesce(?, current_database()) "
            f"AND schema_name = ? AND {kind.lower()}_name = ?",
            [database, schema, name],
        ).fetchone()
        if row:
            return kind
    return None


def columns_of(connection: Any, relation: str) -> dict[str, str]:
    """DuckDB's types of the columns of what a FROM takes, in order."""
    if is_bigquery(connection):
        return connection.columns_of(relation)
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {relation}").fetchall()}


def write_parquet(connection: Any, query: str, path: Path) -> None:
    """Write the rows of a query to a file."""
    if is_bigquery(connection):
        import pyarrow.parquet

        pyarrow.parquet.write_table(connection.execute(query).to_arrow_table(), path)
        return
    connection.execute(f"COPY ({query}) TO {text(str(path))} (FORMAT parquet)")


def search(connection: Any, schemas: Sequence[str]) -> None:
    """Have a table that is named without its schema looked for in those of `schemas` that are there, in this order."""
    if is_bigquery(connection):
        connection.searched = tuple(schemas)
        return
    rows = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()").fetchall()
    there = {row[0] for row in rows}
    path = [schema for schema in schemas if schema in there]
    if path:
        connection.execute(f"SET search_path = {text(','.join(path))}")


def quoted(relation: str) -> str:
    """`schema.name` as SQL."""
    schema, name = relation.split(".", 1)
    return f"{identifier(schema)}.{identifier(name)}"


def is_bigquery(connection: Any) -> bool:
    """Whether it is one to BigQuery."""
    from caudal.warehouse.bigquery.connection import BigQueryConnection

    return isinstance(connection, BigQueryConnection)
