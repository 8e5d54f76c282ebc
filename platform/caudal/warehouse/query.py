"""One query on published tables, for people: read-only, and printed in the form that they ask for."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal

from caudal.warehouse.loaded import connect_published_or_loaded

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.environment import Environment

OutputFormat = Literal["table", "csv", "json", "parquet"]

#: Rows that `table` prints; the other formats print all.
TABLE_ROWS = 100


class RefusedQuery(ValueError):
    """The text is not one read-only query, or DuckDB cannot answer it."""


def run(env: Environment, sql: str, output: OutputFormat, out: BinaryIO | None = None) -> int:
    """Answer `sql` from the published version and write the result to `out` (standard output); the number of rows.

    Until something is published, it is answered from the raw tables as they were loaded last.

    Only `SELECT`-like statements run, on a read-only connection that can reach no file but the raw tables. In BigQuery it is
    GoogleSQL, and BigQuery runs it; what it will read is said on standard error before.

    Raises:
        RefusedQuery: with DuckDB's own words where it has any.
        caudal.warehouse.published.NothingPublished: nothing is loaded yet either.

    """
    import duckdb

    out = out or sys.stdout.buffer
    if env.cloud is not None:
        return _run_in_bigquery(env, sql, output, out)
    with connect_published_or_loaded(env) as connection:
        confine(connection, env)
        try:
            check_query(connection, sql)
            reader = connection.execute(sql).to_arrow_reader(100_000)
            return _WRITERS[output](reader, out)
        except duckdb.Error as bad:
            raise RefusedQuery(str(bad)) from None


def _run_in_bigquery(env: Environment, sql: str, output: OutputFormat, out: BinaryIO) -> int:
    from caudal.warehouse.bigquery.explained import BigQueryError
    from caudal.warehouse.bigquery.published import service_of
    from caudal.warehouse.bigquery.typed import answer, dry_run

    service = service_of(env)
    try:
        typed = dry_run(env, service, sql)
        billed = typed.dry.bytes_billed
        usd = service.cloud.usd(billed)
        sys.stderr.write(f"It reads {typed.dry.bytes_processed:,} bytes: billed for {billed:,} bytes, about {usd:.4f} USD.\n")
        return _WRITERS[output](answer(service, typed), out)
    except BigQueryError as refused:
        raise RefusedQuery(str(refused)) from None


def confine(connection: duckdb.DuckDBPyConnection, env: Environment) -> None:
    """Take from `connection` whatever reaches beyond its own file and the raw tables."""
    from caudal.warehouse.bigquery.session import Session

    if isinstance(connection, Session):
        connection.confine()
        return
    connection.execute("LOAD delta")
    folders = ", ".join("'" + str(f).replace("'", "''") + "'" for f in (env.raw, env.quarantine))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def check_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """See to it that `sql` is one query.

    Raises:
        RefusedQuery: it is none, or several, or something that writes.

    """
    import duckdb

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise RefusedQuery(f"found {len(statements)} statements; expected one query")
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if statements[0].type not in allowed:
        kind = statements[0].type.name
        raise RefusedQuery(f"{kind} is refused: published tables are read-only; expected SELECT, WITH, FROM, DESCRIBE or SHOW")


def _write_table(reader: pa.RecordBatchReader, out: BinaryIO) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, header_style="bold")
    for name in reader.schema.names:
        table.add_column(name, overflow="fold")
    rows = 0
    for row in _rows(reader):
        rows += 1
        if rows <= TABLE_ROWS:
            table.add_row(*("" if v is None else str(v) for v in row.values()))
    text = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    console = Console(file=text, width=None if sys.stdout.isatty() else 200)
    console.print(table, markup=False)
    if rows > TABLE_ROWS:
        console.print(f"{TABLE_ROWS} of {rows} rows; --format csv, json or parquet prints all", markup=False)
    text.detach()
    return rows


def write_csv(reader: pa.RecordBatchReader, out: BinaryIO) -> int:
    """Write all rows as CSV; nested values, which it has no place for, as JSON. Returns the rows."""
    import pyarrow as pa
    import pyarrow.csv as pc

    nested = [pa.types.is_nested(f.type) for f in reader.schema]
    fields = [pa.field(f.name, pa.string()) if n else f for f, n in zip(reader.schema, nested, strict=True)]
    schema = pa.schema(fields)
    rows = 0
    with pc.CSVWriter(out, schema) as writer:
        for batch in reader:
            columns = [
                pa.array([None if v is None else json.dumps(v, default=str) for v in c.to_pylist()], pa.string()) if n else c
                for c, n in zip(batch.columns, nested, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            rows += batch.num_rows
    return rows


def _write_json(reader: pa.RecordBatchReader, out: BinaryIO) -> int:
    rows = 0
    for row in _rows(reader):
        out.write(json.dumps(row, default=str, ensure_ascii=False).encode() + b"\n")
        rows += 1
    return rows


def write_parquet(reader: pa.RecordBatchReader, out: BinaryIO) -> int:
    """Write all rows as Parquet; the rows."""
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(out, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, object]]:
    for batch in reader:
        yield from batch.to_pylist()


_WRITERS = {"table": _write_table, "csv": write_csv, "json": _write_json, "parquet": write_parquet}
