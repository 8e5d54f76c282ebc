"""Lake files of the same source columns, read one after the other as one stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.lake.readers.formats import cannot_be_read
from caudal.lake.readers.rows import PLACE_COLUMNS, LakeFile, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Files that are normalized by one statement, and their weight, at most.
GROUP_FILES = 1_000
GROUP_BYTES = 512 << 20


@dataclass(frozen=True)
class Group:
    """Files of the same source columns."""

    files: list[LakeFile]
    rows: list[Rows]

    @property
    def is_full(self) -> bool:
        return len(self.files) >= GROUP_FILES or sum(r.weight_bytes for r in self.rows) >= GROUP_BYTES

    def of(self, indices: Sequence[int]) -> Group:
        return Group([self.files[i] for i in indices], [self.rows[i] for i in indices])


class Stream:
    """The rows of a group as one stream, which counts them and remembers which file stopped it."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.read = [0] * len(group.files)
        self.stopped_by: tuple[int, Exception] | None = None

    def reader(self) -> pa.RecordBatchReader:
        import pyarrow as pa

        fields = [(c.name, c.arrow_type) for c in self._group.rows[0].columns]
        place = [(name, pa.int64() if name == "_row" else pa.string()) for name in PLACE_COLUMNS]
        schema = pa.schema([*fields, *place, ("_index", pa.int32())])
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for index, (file, rows) in enumerate(zip(self._group.files, self._group.rows, strict=True)):
            try:
                for batch in rows.batches():
                    self.read[index] += batch.num_rows
                    place = pa.repeat(pa.scalar(index, pa.int32()), batch.num_rows)
                    yield pa.RecordBatch.from_arrays([*batch.columns, place], schema=schema)
            except OSError as failed:
                self.stopped_by = (index, cannot_be_read(file, failed))
                raise
            except Exception as failed:
                self.stopped_by = (index, failed)
                raise
