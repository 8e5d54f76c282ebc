"""Rows taken out of a Parquet file, so that nothing of them is in the new one: no value, bound or entry of a dictionary."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

#: A group of rows is written when it is as large as in the old file, or holds so much memory.
_GROUP_BYTES = 64 << 20
_BATCH_ROWS = 16_384
_BUFFER_BYTES = 64 << 10


class NotKept(ValueError):
    """The new file would not be of the same schema. The message says why."""


def without_rows(file: Path, gone: Collection[int], target: Path) -> int:
    """Write `target`: the file without the rows of these numbers, from 0; how many are left.

    What kind of file it is stays: schema, order, compression of each column, and about the size of its groups of rows.

    Raises:
        NotKept: it has a type that cannot be written so.

    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = np.fromiter(gone, np.int64, len(gone))
    # With a buffer, a column of a group of rows is read piece by piece, however large the group is.
    with pq.ParquetFile(file, memory_map=False, buffer_size=_BUFFER_BYTES) as opened:
        schema = opened.schema_arrow
        _refuse_nested_dictionaries(schema)
        first = left = 0
        with pq.ParquetWriter(target, schema, **_as_in(opened)) as writer:
            for group in _groups(opened):
                stays = ~np.isin(np.arange(first, first + group.num_rows), places)
                first, left = first + group.num_rows, left + int(stays.sum())
                if stays.any():
                    kept = _with_own_dictionaries(group.filter(pa.array(stays)))
                    writer.write_table(kept, row_group_size=kept.num_rows)
    return left


def _groups(opened: pq.ParquetFile) -> Iterator[pa.Table]:
    """All rows, in tables that are as large as a group of rows, or about `_GROUP_BYTES`."""
    import pyarrow as pa

    for number in range(opened.num_row_groups):
        held, size = [], 0
        for batch in opened.iter_batches(_BATCH_ROWS, row_groups=[number], use_threads=False):
            held.append(batch)
            size += batch.nbytes
            if size >= _GROUP_BYTES:
                yield pa.Table.from_batches(held, opened.schema_arrow)
                held, size = [], 0
        if held:
            yield pa.Table.from_batches(held, opened.schema_arrow)


def _with_own_dictionaries(table: pa.Table) -> pa.Table:
    """Columns that are dictionaries keep all entries when rows are taken out: here only those that are used, in their order."""
    import pyarrow as pa
    from pyarrow import compute

    for place, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type):
            continue
        column = table.column(place).unify_dictionaries().combine_chunks()
        whole = column if isinstance(column, pa.DictionaryArray) else column.chunk(0)
        used = compute.call_function("unique", [whole.indices]).drop_null().sort()
        options = compute.SetLookupOptions(used)
        indices = compute.call_function("index_in", [whole.indices], options).cast(field.type.index_type)
        entries = whole.dictionary.take(used)
        fitted = pa.DictionaryArray.from_arrays(indices, entries, ordered=field.type.ordered)
        table = table.set_column(place, field, fitted)
    return table


def _refuse_nested_dictionaries(schema: pa.Schema) -> None:
    import pyarrow as pa

    for field in schema:
        if pa.types.is_nested(field.type) and "dictionary<" in str(field.type):
            raise NotKept(f"column `{field.name}` has a dictionary inside its values, which would keep what is taken out")


def _as_in(opened: pq.ParquetFile) -> dict[str, object]:
    """How the file is written, for a writer."""
    described = opened.metadata
    kinds = {described.schema.column(i).physical_type for i in range(described.num_columns)}
    packed: str | dict[str, str] = "SNAPPY"
    if described.num_row_groups:
        group = described.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        packed = {c.path_in_schema: _CODECS.get(c.compression, c.compression) for c in columns}
    return {"compression": packed, "use_deprecated_int96_timestamps": "INT96" in kinds}


#: What pyarrow's reader and writer call differently.
_CODECS = {"UNCOMPRESSED": "NONE", "LZ4_RAW": "LZ4"}
