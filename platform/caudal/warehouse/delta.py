"""Raw tables and rejects as Delta Lake tables: the rows of one lake file are replaced, never mixed, and a commit is atomic."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import MEMBER
from caudal.warehouse.sql import text

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Field

#: The library would remove log entries after 30 days, pinned versions or not, where `upkeep` knows which are needed. It would
#: note the range of values of a file's first 32 columns, and not of the one by which rows are replaced.
TABLE_PROPERTIES = {"delta.enableExpiredLogCleanup": "false", "delta.dataSkippingStatsColumns": "_file"}

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


def column_names(table: Path, version: int) -> frozenset[str]:
    """The columns that the table has in a version."""
    from deltalake import DeltaTable

    return frozenset(field.name for field in DeltaTable(str(table), version=version).schema().fields)


def data_files(table: Path, version: int) -> list[Path]:
    """The Parquet files that hold the table's rows in a version."""
    from deltalake import DeltaTable

    return [table / Path(uri).name for uri in DeltaTable(str(table), version=version).file_uris()]


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
    with_members: Collection[str] = (),
) -> int:
    """Put the rows of `parts` in the place of all rows of the lake files `files`, in one commit; the new version.

    The table gets the columns of `schema` that it does not have, in a commit before; they hold nulls. So do, in the new rows,
    those that the table has and `schema` does not: a contract may drop or rename a column.

    Args:
        parts: Parquet files of `schema`; every row's `_file` is one of `files`, or a member of one. They become files of the
            table, or are read into such. May be empty: then rows are only removed.
        append: the table is known to hold no row of `files`, so that nothing needs to be looked for.
        with_members: those of `files` that may have rows under the names of members.

    """
    from deltalake import DeltaTable, write_deltalake

    created = _create(table, schema)
    opened = DeltaTable(str(table))
    new = [field for field in stored(schema) if field.name not in {f.name for f in opened.schema().fields}]
    if new:
        opened.alter.add_columns([_delta_field(field) for field in new])
    properties = _properties(transaction)
    if append or created:
        if parts and stored(schema) == schema:
            _adopt(opened, parts, properties)
        else:
            write_deltalake(opened, _rows(parts, schema, opened), mode="append", commit_properties=properties)
    elif parts:
        predicate = any_of(files, with_members)
        rows = _rows(parts, schema, opened)
        write_deltalake(opened, rows, mode="overwrite", predicate=predicate, commit_properties=properties)
    else:
        opened.delete(any_of(files, with_members), commit_properties=properties)
    opened.update_incremental()  # Opening it again would read the whole log's tail again.
    return opened.version()


def replace_all(table: Path, schema: pa.Schema, parts: Sequence[Path], *, transaction: Transaction) -> int:
    """Put the rows of `parts` in the place of all rows, whatever their types were, in one commit; the new version."""
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(
        str(table),
        _rows(parts, schema),
        mode="overwrite",
        schema_mode="overwrite",
        commit_properties=_properties(transaction),
    )
    return DeltaTable(str(table), without_files=True).version()


def stored(schema: pa.Schema) -> pa.Schema:
    """The schema as Delta Lake can keep it: it knows no time of day, which is kept as text, `10:30:00.000000`."""
    import pyarrow as pa

    return pa.schema([pa.field(f.name, _stored_type(f.type)) for f in schema])


def differing_types(table: Path, schema: pa.Schema) -> list[str]:
    """The columns of `schema` that the table has with another type, each told with both."""
    if not _exists(table):
        return []
    import pyarrow as pa
    from deltalake import DeltaTable

    opened = DeltaTable(str(table), without_files=True)
    kept = {field.name: field.type for field in pa.schema(opened.schema().to_arrow())}
    wanted = {field.name: field.type for field in stored(schema)}
    return [f"`{n}`: {kept[n]} -> {t}" for n, t in wanted.items() if n in kept and not _is_kept_as(t, kept[n])]


def any_of(files: Sequence[str], with_members: Collection[str] = ()) -> str:
    """A condition: a row is of one of the lake files `files`, or of a member of one of `with_members`."""
    quoted = ", ".join(text(f) for f in files)
    after = chr(ord(MEMBER) + 1)
    members = [f"(_file >= {text(f + MEMBER)} AND _file < {text(f + after)})" for f in with_members]
    return " OR ".join([f"_file IN ({quoted})", *members])


def files_with_rows(table: Path) -> set[str]:
    """The lake files, and members of such, that the table has rows of."""
    if not _exists(table):
        return set()
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    found = QueryBuilder().register("t", DeltaTable(str(table))).execute("SELECT DISTINCT _file FROM t")
    return set(pa.table(found.read_all())["_file"].to_pylist())


def lake_file(name: str) -> str:
    """The lake file that rows of `name` come from: itself, or the one that it is a member of."""
    return name.partition(MEMBER)[0]


def read_rows(table: Path, columns: Sequence[str], limit: int, files: Sequence[str] | None = None) -> list[dict[str, object]]:
    """Up to `limit` rows of the table, of the lake files `files` if given."""
    if not _exists(table):
        return []
    from deltalake import DeltaTable, QueryBuilder

    where = f" WHERE {any_of(files)}" if files is not None else ""
    names = ", ".join(f'"{c}"' for c in columns)
    query = QueryBuilder().register("t", DeltaTable(table)).execute(f"SELECT {names} FROM t{where} LIMIT {limit}")
    import pyarrow as pa

    return pa.table(query.read_all()).to_pylist()


def _rows(parts: Sequence[Path], schema: pa.Schema, table: DeltaTable | None = None) -> pa.RecordBatchReader:
    """The rows of the parts as Delta Lake can keep them, with nulls in the columns that only `table` has."""
    import pyarrow as pa

    kept = stored(schema)
    others = [f for f in pa.schema(table.schema().to_arrow()) if f.name not in kept.names] if table else []

    def completed(batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = batch.cast(kept)
        for field in others:
            batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
        return batch

    return pa.RecordBatchReader.from_batches(pa.schema([*kept, *others]), map(completed, _read(parts)))


def _read(parts: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for part in parts:
        with pq.ParquetFile(part) as opened:
            yield from opened.iter_batches(batch_size=_BATCH_ROWS)


def _adopt(table: DeltaTable, parts: Sequence[Path], properties: CommitProperties) -> None:
    """Make the parts files of the table, as they are."""
    import pyarrow.parquet as pq
    from deltalake.transaction import AddAction, RemoveAction

    folder = Path(table.table_uri.removeprefix("file://"))
    actions: list[AddAction | RemoveAction] = []
    for part in parts:
        with pq.ParquetFile(part) as opened:
            names = [opened.metadata.row_group(i) for i in range(opened.num_row_groups)]
            stats: dict[str, object] = {"numRecords": opened.metadata.num_rows}
            place = next(i for i in range(len(opened.schema)) if opened.schema.column(i).path == "_file")
        told = [group.column(place).statistics for group in names]
        if told and all(t is not None and t.has_min_max for t in told):
            stats |= {"minValues": {"_file": min(t.min for t in told)}, "maxValues": {"_file": max(t.max for t in told)}}
        with part.open("rb") as written:
            os.fsync(written.fileno())
        adopted = f"{uuid.uuid4().hex}.parquet"
        part.replace(folder / adopted)
        status = (folder / adopted).stat()
        actions.append(AddAction(adopted, status.st_size, {}, status.st_mtime_ns // 1_000_000, True, json.dumps(stats)))
    table.create_write_transaction(actions, "append", table.schema(), commit_properties=properties)


def _create(table: Path, schema: pa.Schema) -> bool:
    """Make the table if it does not exist; whether it was made."""
    if _exists(table):
        return False
    from deltalake import DeltaTable, Schema

    table.parent.mkdir(parents=True, exist_ok=True)
    DeltaTable.create(str(table), Schema.from_arrow(stored(schema)), mode="ignore", configuration=TABLE_PROPERTIES)
    return True


def _properties(transaction: Transaction) -> CommitProperties:
    from deltalake import CommitProperties
    from deltalake import Transaction as DeltaTransaction

    return CommitProperties(app_transactions=[DeltaTransaction(transaction.application, transaction.number)])


def _delta_field(field: pa.Field) -> Field:
    import pyarrow as pa
    from deltalake import Schema

    return Schema.from_arrow(pa.schema([field.with_nullable(True)])).fields[0]


def _stored_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_time(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _stored_type(f.type)) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(_stored_type(kind.value_type))
    return kind


def _is_kept_as(wanted: pa.DataType, kept: pa.DataType) -> bool:
    """Whether `kept` is how Delta Lake tells of the type `wanted`: some names in it differ, and what may be null."""
    import pyarrow as pa

    if pa.types.is_struct(wanted) and pa.types.is_struct(kept):
        inner = {f.name: f.type for f in kept}
        return inner.keys() == {f.name for f in wanted} and all(_is_kept_as(f.type, inner[f.name]) for f in wanted)
    if pa.types.is_list(wanted) and (pa.types.is_list(kept) or pa.types.is_large_list(kept)):
        return _is_kept_as(wanted.value_type, kept.value_type)
    if pa.types.is_string(wanted):
        return pa.types.is_string(kept) or pa.types.is_large_string(kept) or pa.types.is_string_view(kept)
    return wanted == kept


def _exists(table: Path) -> bool:
    return (table / "_delta_log").is_dir()
