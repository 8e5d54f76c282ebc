"""What the published file itself tells of its tables: columns, rows, and the first rows with personal data masked."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.contracts.masking import mask_text
from caudal.serving.catalogue.values import Examples
from caudal.warehouse.bigquery.session import Session
from caudal.warehouse.published import connect
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

EXAMPLE_ROWS = 5
#: Columns of an example beyond these are left out, so that the page of a wide table stays small.
EXAMPLE_COLUMNS = 40
LONGEST_CELL = 60
#: A view that needs longer for its first rows is told instead of waited for.
PATIENCE_S = 2.0

_OUR_OWN = ("caudal", "information_schema", "pg_catalog")


@dataclass(frozen=True)
class Relation:
    """A table or view of the published file. `columns` are `(name, type)`."""

    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]
    comment: str = ""


@contextmanager
def open_published(env: Environment) -> Generator[duckdb.DuckDBPyConnection]:
    """The published version, with what its raw views need; times are told in UTC.

    Raises:
        caudal.warehouse.published.NothingPublished: no version has been published yet.

    """
    with connect(env) as connection:
        if env.cloud is None:
            connection.execute("LOAD delta")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def relations(connection: duckdb.DuckDBPyConnection) -> list[Relation]:
    """All that readers can query, by schema and name. What the platform keeps for itself is left out."""
    # What is brought from BigQuery is shown as a view here, whatever it is there.
    views = {each.relation: each.is_view for each in connection.relations()} if isinstance(connection, Session) else {}
    found = connection.execute(
        "SELECT c.schema_name || '.' || c.table_name, v.view_name IS NOT NULL, list(c.column_name ORDER BY c.column_index), "
        "list(c.data_type ORDER BY c.column_index) FROM duckdb_columns() c LEFT JOIN duckdb_views() v "
        "ON (v.database_name, v.schema_name, v.view_name) = (c.database_name, c.schema_name, c.table_name) "
        "WHERE NOT c.internal AND c.database_name = current_database() AND c.schema_name NOT IN (SELECT unnest(?)) "
        "GROUP BY ALL ORDER BY 1",
        [list(_OUR_OWN)],
    ).fetchall()
    return [
        Relation(name, "view" if views.get(name, is_view) else "table", tuple(zip(names, types, strict=True)))
        for name, is_view, names, types in found
    ]


def count_rows(connection: duckdb.DuckDBPyConnection, relation: Relation) -> int | None:
    """The rows of a table, which the engine knows; None for a view, which would have to be run."""
    if relation.kind == "view":
        return None
    if isinstance(connection, Session):
        return connection.described(relation.name).rows
    row = connection.execute(f"SELECT count(*) FROM {_quoted(relation.name)}").fetchone()
    return row[0] if row else None


def first_rows(connection: duckdb.DuckDBPyConnection, relation: Relation, personal: Collection[str]) -> Examples:
    """The first rows as text. Of the columns `personal` only the shape of each value is told."""
    import duckdb

    if isinstance(connection, Session) and relation.kind == "view":
        return Examples(note="It is a view in BigQuery: to show its rows costs a query. Query it to see some.")
    shown = relation.columns[:EXAMPLE_COLUMNS]
    selected = ", ".join(f"left(CAST({identifier(name)} AS VARCHAR), {LONGEST_CELL + 1})" for name, _ in shown)
    try:
        with _at_most(connection, PATIENCE_S):
            rows = connection.execute(f"SELECT {selected} FROM {_quoted(relation.name)} LIMIT {EXAMPLE_ROWS}").fetchall()
    except duckdb.InterruptException:
        return Examples(note=f"Its first rows took longer than {PATIENCE_S:g} s to read. Query it to see some.")
    except duckdb.Error as refused:
        return Examples(note=f"Its rows cannot be read: {type(refused).__name__}. Query it to see why.")
    left_out = len(relation.columns) - len(shown)
    return Examples(
        columns=tuple(name for name, _ in shown),
        rows=tuple(
            tuple(_cell(value, type_, name in personal) for value, (name, type_) in zip(row, shown, strict=True))
            for row in rows
        ),
        note=f"{left_out} more columns are not shown." if left_out else "" if rows else "It has no rows.",
    )


def _cell(value: str | None, type_: str, personal: bool) -> str:
    if value is None:
        return ""
    if personal:
        return mask_text(value) if type_ == "VARCHAR" else mask_text(0)
    return value if len(value) <= LONGEST_CELL else value[:LONGEST_CELL] + "…"


@contextmanager
def _at_most(connection: duckdb.DuckDBPyConnection, seconds: float) -> Generator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _quoted(relation: str) -> str:
    return ".".join(identifier(part) for part in relation.split(".", 1))
