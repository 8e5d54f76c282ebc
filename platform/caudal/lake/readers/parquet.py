"""Parquet. Values keep the type that the file gives them; nothing is cut on the way.

Arrow and DuckDB cut nanoseconds to microseconds in time zones and in times without a word: such columns are given as counts of
nanoseconds. Decimals of more than 38 digits are given as text. INT96 is read as microseconds, and a row whose INT96 says more
is refused; so is one whose text is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.drift import match_columns, undeclared_columns
from caudal.lake.readers.parquet_types import kind_of
from caudal.lake.readers.rows import Problem, Rows, SourceColumn, Unreadable, batch_of, consecutive, rows_of_a_batch

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from caudal.lake.dataset import Dataset

_FINER = "finer than a microsecond, which a timestamp would lose; declare `nanoseconds: cut` to keep the microseconds"

#: Read from a column of a row group at a time.
_BUFFER_BYTES = 64 << 10


def read_parquet(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no whole Parquet file, has other columns than the contract, or one of a type that cannot be kept.

    """
    import pyarrow as pa

    head = head_of(file, path, "a Parquet file")
    if not head.startswith(b"PAR1"):
        found = recognised(head) or "something else, perhaps text"
        raise Unreadable(f"{path}: this is {found}, not a Parquet file. Deliver Parquet, or declare the format otherwise")
    try:
        with _open(file) as opened:
            schema = opened.schema_arrow
            int96 = {c.path for c in map(opened.schema.column, range(len(opened.schema))) if c.physical_type == "INT96"}
            weight = sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.num_row_groups))
    except (pa.ArrowException, OSError) as broken:
        raise _broken(path, broken, file) from None
    matched = match_columns(schema.names, dataset.contract, path, "its schema")
    places = zip(dataset.contract.column_names, matched.positions, strict=True)
    fields = {name: schema.field(place) for name, place in places if place is not None}
    columns = tuple(_source_column(name, field, int96, path) for name, field in fields.items())
    names = [field.name for field in fields.values()]
    cut = {fields[c.name].name for c in dataset.contract.columns if c.cuts_nanoseconds and c.name in fields}
    undeclared = undeclared_columns(schema, matched.ignored)
    return Rows(columns, lambda: _read(columns, names, int96 - cut, file, path), undeclared, weight)


def _open(file: Path, unit: str | None = None) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    # With a buffer, a column of a row group is read piece by piece, however large the row group is.
    return pq.ParquetFile(file, memory_map=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit=unit)


def _source_column(name: str, field: pa.Field, int96: set[str], path: str) -> SourceColumn:
    import pyarrow as pa

    found = ("timestamp", pa.timestamp("us")) if field.name in int96 else kind_of(field.type)
    if found is None:
        raise Unreadable(
            f"{path}, column `{name}`: its type {field.type} cannot be kept exactly. "
            "Write it as text, a number, a date or a timestamp"
        )
    return SourceColumn(name, *found)


def _read(
    columns: Sequence[SourceColumn], names: Sequence[str], exactly: set[str], file: Path, path: str
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    first = 1
    wide = [n for n in names if n in exactly]
    try:
        with _open(file, "us") as opened, _open(file) if wide else nullcontext() as again:
            count = rows_of_a_batch(len(names))
            exact = again.iter_batches(count, columns=wide, use_threads=False) if again else repeat(None)
            batches = opened.iter_batches(count, columns=list(names), use_threads=False)
            for batch, nanoseconds in zip(batches, exact, strict=False):
                problems: dict[int, Problem] = {}
                arrays = [carried(batch[n], c, problems) for n, c in zip(names, columns, strict=True)]
                for column, name in zip(columns, names, strict=True):
                    if nanoseconds is not None and name in wide:
                        _refuse_cut(batch[name], nanoseconds[name], column.name, problems)
                yield batch_of(arrays, [c.name for c in columns], consecutive(first, batch.num_rows), problems)
                first += batch.num_rows
    except (pa.ArrowException, OSError) as broken:
        raise _broken(path, broken, file) from None


def _broken(path: str, broken: Exception, file: Path) -> Unreadable:
    why = " ".join(str(broken).replace(str(file), path).split())[:300]
    return Unreadable(f"{path}: the Parquet file is damaged or was not written to its end ({why}). Deliver it again")


def carried(values: pa.Array, column: SourceColumn, problems: dict[int, Problem]) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if isinstance(values.type, pa.UuidType):
        return pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if column.kind != "text" or pa.types.is_decimal(values.type) or pa.types.is_null(values.type):
        return values.cast(column.arrow_type)
    try:
        text = values.cast(column.arrow_type)
        text.validate(full=True)
    except pa.ArrowInvalid:
        kept = enumerate(values.cast(pa.binary()).to_pylist())
        return pa.array([_utf8(v, i, column.name, problems) for i, v in kept], pa.string())
    return text


def _utf8(value: bytes | None, index: int, column: str, problems: dict[int, Problem]) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        problems[index] = Problem("not UTF-8 text", value.decode("utf-8", "backslashreplace"), column)
        return None


def _refuse_cut(microseconds: pa.Array, nanoseconds: pa.Array, column: str, problems: dict[int, Problem]) -> None:
    """Refuse rows whose INT96 holds more than microseconds. Both counts wrap around alike where they do not fit."""
    import numpy as np
    import pyarrow as pa

    cut, full = (a.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) for a in (microseconds, nanoseconds))
    for index in np.flatnonzero(cut * 1000 != full):
        shown = f"{microseconds[index].cast(pa.string()).as_py()} and {(full[index] - cut[index] * 1000)} ns"
        problems[int(index)] = Problem(_FINER, shown, column)
