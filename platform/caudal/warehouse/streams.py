"""Lake files of the same source columns, read one after the other as one stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.lake.readers.formats import cannot_be_read
from caudal.lake.readers.rows import LakeFile, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Files that become one part, and their weight, at most. A heavier file is a group of its own.
GROUP_FILES = 1_000
GROUP_BYTES = 512 << 20

#: Batches of small files are put together until they have so many rows, or take so much memory.
MERGED_ROWS = 8_192
MERGED_BYTES = 1 << 20


@dataclass
class Group:
    """Files of the same source columns."""

    files: list[LakeFile] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    weight_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.files) >= GROUP_FILES or self.weight_bytes >= GROUP_BYTES

    def has_room_for(self, rows: Rows) -> bool:
        return not self.files or self.weight_bytes + rows.weight_bytes <= GROUP_BYTES

    def add(self, file: LakeFile, rows: Rows) -> None:
        self.files.append(file)
        self.rows.append(rows)
        self.weight_bytes += rows.weight_bytes

    def of(self, indices: Sequence[int]) -> Group:
        """Those files alone."""
        return Group([self.files[i] for i in indices], [self.rows[i] for i in indices])


class Stream:
    """The rows of a group as one stream, which counts them and remembers which file stopped it."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.read = [0] * len(group.files)
        self.stopped_by: tuple[int, Exception] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as readers give them, and `_index`, which says of which file of the group they are."""
        held: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in self._read():
            if held and (rows >= MERGED_ROWS or size >= MERGED_BYTES or batch.schema != held[0].schema):
                yield _merged(held)
                held, rows, size = [], 0, 0
            held.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
        if held:
            yield _merged(held)

    def _read(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for index, (file, rows) in enumerate(zip(self._group.files, self._group.rows, strict=True)):
            try:
                for batch in rows.batches():
                    self.read[index] += batch.num_rows
                    place = pa.repeat(pa.scalar(index, pa.int32()), batch.num_rows)
                    yield pa.RecordBatch.from_arrays([*batch.columns, place], [*batch.schema.names, "_index"])
            except OSError as failed:
                self.stopped_by = (index, cannot_be_read(file, failed))
                raise
            except Exception as failed:
                self.stopped_by = (index, failed)
                raise


def _merged(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]
