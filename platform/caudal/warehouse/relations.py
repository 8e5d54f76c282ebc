"""Tables and views of one DuckDB file brought into another: definition, rows, indexes and comments."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.warehouse.connection import is_bigquery, quoted
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

_KINDS = ("VIEW", "TABLE")


@contextmanager
def attached(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> Generator[None]:
    """`path` as the database `name`, read-only, until the block ends."""
    connection.execute(f"ATTACH {text(str(path.resolve()))} AS {identifier(name)} (READ_ONLY)")
    try:
        yield
    finally:
        connection.execute(f"DETACH {identifier(name)}")


@contextmanager
def last_good(connection: Any, env: Environment) -> Generator[bool]:
    """What is published, as the database `last_good`, until the block ends; False if nothing is."""
    if is_bigquery(connection):  # It knows that name.
        yield True
    elif env.published.is_file():
        with attached(connection, env.published, "last_good"):
            yield True
    else:
        yield False


def bring(connection: duckdb.DuckDBPyConnection, relation: str, database: str | None) -> None:
    """Make the relation what it is in `database`, which is attached; drop it if that is None or does not have it."""
    for kind in _KINDS:
        if _definition(connection, kind, relation, None):
            connection.execute(f"DROP {kind} {quoted(relation)} CASCADE")
    if database is None:
        return
    for kind in _KINDS:
        definition = _definition(connection, kind, relation, database)
        if not definition:
            continue
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(relation.split('.', 1)[0])}")
        connection.execute(definition)
        if kind == "TABLE":
            connection.execute(f"INSERT INTO {quoted(relation)} SELECT * FROM {identifier(database)}.{quoted(relation)}")
            _bring_indexes(connection, relation, database)
        _bring_comments(connection, kind, relation, database)


def _definition(connection: duckdb.DuckDBPyConnection, kind: str, relation: str, database: str | None) -> str | None:
    schema, name = relation.split(".", 1)
    row = connection.execute(
        f"SELECT sql FROM duckdb_{kind.lower()}s() WHERE database_name = coalesce(?, current_database()) "
        f"AND schema_name = ? AND {kind.lower()}_name = ?",
        [database, schema, name],
    ).fetchone()
    return row[0] if row else None


def _bring_indexes(connection: duckdb.DuckDBPyConnection, relation: str, database: str) -> None:
    where = "database_name = ? AND schema_name = ? AND table_name = ? AND sql IS NOT NULL"
    found = connection.execute(f"SELECT sql FROM duckdb_indexes() WHERE {where}", [database, *relation.split(".", 1)])
    for (definition,) in found.fetchall():
        connection.execute(definition)


def _bring_comments(connection: duckdb.DuckDBPyConnection, kind: str, relation: str, database: str) -> None:
    place = [database, *relation.split(".", 1)]
    own = connection.execute(
        f"SELECT comment FROM duckdb_{kind.lower()}s() "
        f"WHERE database_name = ? AND schema_name = ? AND {kind.lower()}_name = ? AND comment IS NOT NULL",
        place,
    ).fetchall()
    columns = connection.execute(
        "SELECT column_name, comment FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? AND comment IS NOT NULL",
        place,
    ).fetchall()
    for (comment,) in own:
        connection.execute(f"COMMENT ON {kind} {quoted(relation)} IS {text(comment)}")
    for column, comment in columns if kind == "TABLE" else []:
        connection.execute(f"COMMENT ON COLUMN {quoted(relation)}.{identifier(column)} IS {text(comment)}")
