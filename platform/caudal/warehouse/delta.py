"""Raw tables and rejects as Delta Lake tables: the rows of one lake file are replaced, never mixed, and a commit is atomic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows read from a part at a time.
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Transaction:
    """An application transaction: `application` never commits the same or a lower `number` twice."""

    application: str
    number: int


def version_of_table(table: Path) -> int | None:
    """The table's newest version, or None if it was never written."""
    from deltalake import DeltaTable

    return DeltaTable(table, without_files=True).version() if _exists(table) else None


def committed(table: Path, transaction: Transaction) -> bool:
    """Whether `transaction` is in the table."""
    return (last_transaction(table, transaction.application) or 0) >= transaction.number


def last_transaction(table: Path, application: str) -> int | None:
    """The highest transaction that `application` committed to the table, or None."""
    from deltalake import DeltaTable

    return DeltaTable(table, without_files=True).transaction_version(application) if _exists(table) else None


def replace_files(
    table: Path,
    schema: pa.Schema,
    parts: Sequence[Path],
    files: Sequence[str],
    *,
    transaction: Transaction,
    append: bool = False,
) -> int:
    """Put the rows of `parts` in the place of all rows of the lake files `files`, in one commit; the new version.

    Args:
        parts: Parquet files of `schema`; every row's `_file` is one of `files`. May be empty: then rows are only removed.
        append: the table is known to hold no row of `files`, so that nothing needs to be looked for.

    """
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
    from deltalake import Transaction as DeltaTransaction

    properties = CommitProperties(
        app_transactions=[DeltaTransaction(transaction.application, transaction.number)],
    )
    table.parent.mkdir(parents=True, exist_ok=True)
    if not _exists(table):
        DeltaTable.create(str(table), Schema.from_arrow(schema), mode="ignore")
        append = True
    rows = pa.RecordBatchReader.from_batches(schema, _read(parts, schema))
    if append:
        write_deltalake(str(table), rows, mode="append", commit_properties=properties)
    elif parts:
        predicate = _any_of(files)
        write_deltalake(str(table), rows, mode="overwrite", predicate=predicate, commit_properties=properties)
    else:
        DeltaTable(table).delete(_any_of(files), commit_properties=properties)
    return DeltaTable(table, without_files=True).version()


def is_empty(table: Path) -> bool:
    """Whether the table holds no data file."""
    from deltalake import DeltaTable

    return not _exists(table) or not DeltaTable(table).file_uris()


def read_rows(table: Path, columns: Sequence[str], limit: int, files: Sequence[str] | None = None) -> list[dict[str, object]]:
    """Up to `limit` rows of the table, of the lake files `files` if given."""
    if not _exists(table):
        return []
    from deltalake import DeltaTable, QueryBuilder

    where = f" WHERE {_any_of(files)}" if files is not None else ""
    names = ", ".join(f'"{c}"' for c in columns)
    query = QueryBuilder().register("t", DeltaTable(table)).execute(f"SELECT {names} FROM t{where} LIMIT {limit}")
    import pyarrow as pa

    return pa.table(query.read_all()).to_pylist()


def _read(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for part in parts:
        with pq.ParquetFile(part) as opened:
            for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
                yield batch.cast(schema)


def _any_of(files: Sequence[str]) -> str:
    quoted = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    return f"_file IN ({quoted})"


def _exists(table: Path) -> bool:
    return (table / "_delta_log").is_dir()
