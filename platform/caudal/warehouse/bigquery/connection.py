"""A connection to BigQuery that takes DuckDB's SQL and the platform's names, so that rules and audits are written once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.dialect import Unknown, translated
from caudal.warehouse.bigquery.duckdb_types import duckdb_type
from caudal.warehouse.bigquery.explained import BigQueryRefused, NotThere, explained

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.warehouse.bigquery.service import BigQuery

#: What what readers see is called beside what is in a candidate, as an attached file would be.
LAST_GOOD = "last_good"


_NAMED = re.compile(r"`([^`]+)`\.`([^`]+)`\.`([^`]+)`(?: AS `[^`]+`)?")


class BigQueryConnection:
    """As much of `duckdb.DuckDBPyConnection` as rules and audits ask for. Each statement is one job.

    Attributes:
        searched: the schemas in which a table is looked for that is named without one.

    """

    def __init__(
        self,
        service: BigQuery,
        place: Callable[[str, str], str],
        write: Callable[[str], str] | None = None,
        *,
        scratch: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            place: `project.dataset.table` of a `schema.name`, in what a name's catalogue says: "" or `LAST_GOOD`.
            write: where a `schema.name` is that a statement makes, changes or removes; without it nothing can be written.
            scratch: the dataset in which temporary tables are made; without one there are none.

        """
        self.service, self.searched = service, ()
        self._place, self._write, self._scratch, self._labels = place, write, scratch, labels
        self._views: dict[str, Any] = {}
        self._tables: dict[str, str] = {}
        self._there: dict[str, str | None] = {}
        self._result: Any = iter(())
        self._schema: Sequence[Any] = ()

    def execute(self, query: str, parameters: object = None) -> BigQueryConnection:
        """Run one statement.

        Raises:
            BigQueryRefused: it is wrong, or has no equal in BigQuery's SQL.

        """
        given = list(parameters) if isinstance(parameters, list | tuple) else []
        statement = translated(query, self._source, self._type_of)
        self._result, self._schema = iter(()), ()
        if statement.view is not None:
            self._views[statement.name.lower()] = statement.view
            return self
        if statement.is_temporary_table:
            self._make_temporary(statement.name, statement.sql)
            return self
        if statement.sql:
            rows = self.service.query(statement.sql, [_parameter(value) for value in given], labels=self._labels)
            self._result, self._schema = rows, rows.schema
            if statement.changes:
                self._there.clear()
        return self

    @property
    def description(self) -> list[tuple[Any, ...]]:
        return [(field.name, duckdb_type(field), None, None, None, None, None) for field in self._schema]

    def fetchone(self) -> tuple[Any, ...] | None:
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        self._result = iter(self._result)
        found = []
        for row in self._result:
            found.append(row.values())
            if len(found) == size:
                break
        return found

    def fetchall(self) -> list[tuple[Any, ...]]:
        return [row.values() for row in self._result]

    def to_arrow_table(self) -> pa.Table:
        return self._result.to_arrow(create_bqstorage_client=False)

    def register(self, name: str, rows: pa.Table) -> None:
        """A temporary table of that name, of these rows, by one load job."""
        self._tables[name.lower()] = table = self._temporary(name)
        self.service.load_rows(rows, table)

    def unregister(self, name: str) -> None:
        """Remove what was registered."""
        self.service.client.delete_table(self._tables.pop(name.lower()), not_found_ok=True)

    def kind_of(self, relation: str, database: str | None = None) -> str | None:
        """`TABLE` or `VIEW` of a `schema.name`, None if it is not there."""
        physical = self._place(relation, database or "")
        if physical not in self._there:
            self._there[physical] = self.service.kind_of(physical)
        return self._there[physical]

    def columns_of(self, source: str) -> dict[str, str]:
        """DuckDB's types of the columns of what a FROM takes. Free of charge."""
        statement = translated(f"SELECT * FROM {source}", self._source, self._type_of)
        return {field.name: duckdb_type(field) for field in self._fields(statement.sql.removeprefix("SELECT * FROM "))}

    def close(self) -> None:
        """Remove the temporary tables."""
        for table in self._tables.values():
            self.service.client.delete_table(table, not_found_ok=True)
        self._tables.clear()

    def _make_temporary(self, name: str, sql: str) -> None:
        self._tables[name.lower()] = table = self._temporary(name)
        self.service.query(sql, into=table, labels=self._labels)

    def _temporary(self, name: str) -> str:
        if not self._scratch:
            raise BigQueryRefused(f"{name} cannot be made: nothing can be written through this connection")
        return f"{self.service.cloud.project}.{self._scratch}.temporary__{name}"

    def _source(self, catalogue: str, schema: str, name: str, is_written: bool) -> Any:
        """What stands for a table in a statement: `project.dataset.table`, or a temporary view's query."""
        if is_written:
            if self._write is None or not schema or catalogue:
                raise BigQueryRefused(f"{schema or 'no schema'}.{name} cannot be written through this connection")
            return self._write(f"{schema}.{name}")
        if schema:
            return self._place(f"{schema}.{name}", catalogue)
        if name.lower() in self._views:
            return self._views[name.lower()].copy()
        if name.lower() in self._tables:
            return self._tables[name.lower()]
        for each in self.searched:
            if self.kind_of(f"{each}.{name}"):
                return self._place(f"{each}.{name}", "")
        raise NotThere(
            f"There is no table {name} in {', '.join(self.searched) or 'any schema: name its schema too'}", "notFound"
        )

    def _fields(self, source: str) -> Sequence[Any]:
        """The columns of what GoogleSQL's FROM takes: of a table with digits and all, which a query's answer does not tell."""
        if named := _NAMED.fullmatch(source):
            physical = ".".join(named.groups())
            with explained(self.service.cloud, f"look at {physical}"):
                table = self.service.client.get_table(physical, retry=self.service.busy)
            if table.table_type != "VIEW":
                return table.schema
        return self.service.columns_of(f"SELECT * FROM {source}")

    def _type_of(self, source: str, column: str) -> str:
        """DuckDB's type of a column of GoogleSQL that a FROM takes."""
        found = next((field for field in self._fields(source) if field.name.lower() == column.lower()), None)
        if found is None:
            raise Unknown(f"There is no column {column} in {source}")
        return duckdb_type(found)


def _parameter(value: Any) -> Any:
    """A positional query parameter."""
    import datetime as dt
    from decimal import Decimal

    from google.cloud import bigquery

    if isinstance(value, dt.datetime):
        kind = "DATETIME" if value.tzinfo is None else "TIMESTAMP"
    else:
        kinds = {bool: "BOOL", int: "INT64", float: "FLOAT64", Decimal: "BIGNUMERIC", bytes: "BYTES", dt.date: "DATE"}
        kind = kinds.get(type(value), "STRING")
    return bigquery.ScalarQueryParameter(None, kind, value)
