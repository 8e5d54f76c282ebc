"""Tables of an SQLite database, copied into Parquet files as they are.

SQLite types values, not columns. A column whose values are of one kind becomes that kind; a column of mixed kinds becomes text,
each value written exactly, so that the dataset's contract decides about it, row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.store import Store

#: Rows held in memory at a time.
BATCH_ROWS = 50_000


class SourceUnavailable(RuntimeError):
    """The database or a table of it cannot be read."""


@dataclass(frozen=True)
class Extracted:
    """One table as copied to `path` in the lake. `changed` is false if the lake already held the same bytes."""

    table: str
    path: str
    rows: int
    changed: bool


@contextmanager
def snapshot(database: Path) -> Generator[sqlite3.Connection]:
    """A read-only connection on which every query sees the same state of the database.

    Raises:
        SourceUnavailable: there is no such database, or it cannot be opened.

    """
    if not database.is_file():
        raise SourceUnavailable(
            f"there is no SQLite database {database}. Put it there, or a link to it; `database` is a file in the folder "
            "`sources` that `caudal where` names"
        )
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.DatabaseError as bad:
        raise SourceUnavailable(f"SQLite database {database.name}: {bad}") from bad


def extract_table(connection: sqlite3.Connection, table: str, lake: Store, path: str) -> Extracted:
    """Copy `table`, in the order of its primary key or row id, to the Parquet file at `path`, which is replaced whole or kept.

    The same rows give the same bytes; then the file is left as it is, so that nothing below it is refreshed.

    Raises:
        SourceUnavailable: the database has no such table.
        caudal.store.StoreError: the lake cannot be written to.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = connection.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", (table,)).fetchall()
    if not columns:
        raise SourceUnavailable(f"table {table!r}: not in the database; correct the name in `tables`")
    names = [name for name, _ in columns]
    kinds = [_kind(connection, table, name) for name in names]
    schema = pa.schema([pa.field(name, _arrow(kind)) for name, kind in zip(names, kinds, strict=True)])
    keys = [name for name, position in sorted(columns, key=lambda c: c[1]) if position]
    order = ", ".join(_quote(k) for k in keys) or "rowid"
    query = f"SELECT {', '.join(map(_quote, names))} FROM {_quote(table)} ORDER BY {order}"
    rows = 0
    before = lake.find(path)
    with lake.write(path, keep_same=True) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        cursor = connection.execute(query)
        while batch := cursor.fetchmany(BATCH_ROWS):
            writer.write_batch(_batch(batch, schema, kinds))
            rows += len(batch)
    return Extracted(table, path, rows, changed=before is None or not lake.unchanged(path, before.version))


def _kind(connection: sqlite3.Connection, table: str, column: str) -> str:
    query = f"SELECT DISTINCT typeof({_quote(column)}) FROM {_quote(table)}"
    kinds = {row[0] for row in connection.execute(query)} - {"null"}
    if not kinds:
        return "text"
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    return {"integer": pa.int64(), "real": pa.float64(), "blob": pa.binary()}.get(kind, pa.string())


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema, kinds: Sequence[str]) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = []
    for index, (column, kind) in enumerate(zip(schema, kinds, strict=True)):
        values = [row[index] for row in rows]
        if kind == "mixed":
            values = [None if v is None else v.hex() if isinstance(v, bytes) else str(v) for v in values]
        arrays.append(pa.array(values, column.type))
    return pa.record_batch(arrays, schema=schema)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
