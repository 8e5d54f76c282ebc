"""Writing parts and rejects as Parquet files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from caudal.lake.readers.rows import LakeFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

#: A row group is written when it has so many rows, or takes so much memory.
GROUP_ROWS = 122_880
GROUP_BYTES = 64 << 20

#: A column whose different values take more is written as they are.
_DICTIONARY_BYTES = 128 << 10


class LineageWriter:
    """Writes rows of some lake files into one Parquet file, which is there after the `with` block if there was a row.

    Args:
        schema: of the file, with the lineage columns.
        files: that rows are of; `_index` says of which one.

    """

    def __init__(self, target: Path, schema: pa.Schema, files: Sequence[LakeFile], loaded_at: datetime) -> None:
        import pyarrow as pa

        self.rows = 0
        self._target, self._schema, self._loaded_at = target, schema, loaded_at
        self._names = pa.array([f.name for f in files], pa.string())
        self._versions = pa.array([f.version for f in files], pa.string())
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        """Write rows: the columns of the schema, but `_index` for those of the lake file and of the time."""
        if not rows.num_rows:
            return
        self.rows += rows.num_rows
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            if self._writer is not None:
                self._writer.close()
        if kind is not None:
            self._target.unlink(missing_ok=True)

    @property
    def path(self) -> Path | None:
        """The file; None without a row."""
        return self._target if self.rows else None

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        rows = pa.concat_tables(self._held)
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        files = rows["_index"].chunks
        given = {
            "_file": pa.chunked_array([pa.DictionaryArray.from_arrays(index, self._names) for index in files]),
            "_version": pa.chunked_array([pa.DictionaryArray.from_arrays(index, self._versions) for index in files]),
            "_loaded_at": pa.repeat(pa.scalar(self._loaded_at, self._schema.field("_loaded_at").type), len(rows)),
        }
        columns = [given[name] if name in given else rows[name] for name in self._schema.names]
        table = pa.table(columns, self._schema.names)
        if self._writer is None:
            # Without the schema of Arrow in it, text that is given as a dictionary is read as text.
            self._writer = pq.ParquetWriter(
                self._target,
                table.schema,
                store_schema=False,
                store_decimal_as_integer=True,
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
            )
        self._writer.write_table(table, row_group_size=len(table))
