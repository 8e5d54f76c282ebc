"""Lake files of the same source columns, read one after the other as one stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.lake.readers.formats import cannot_be_read
from caudal.lake.readers.rows import LakeFile, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Files that become one part, and their weight, at most. A heavier file is a group of its own.
GROUP_FILES = 1_000
GROUP_BYTES = 512 << 20

#: Batches of small files are put together until they have so many rows, or take so much memory.
MERGED_ROWS = 32_768
MERGED_BYTES = 4 << 20


@dataclass(frozen=True)
class Group:
    """Files of the same source columns."""

    files: list[LakeFile]
    rows: list[Rows]

    @property
    def is_full(self) -> bool:
        return len(self.files) >= GROUP_FILES or self._weight >= GROUP_BYTES

    def has_room_for(self, rows: Rows) -> bool:
        return not self.files or self._weight + rows.weight_bytes <= GROUP_BYTES

    def of(self, indices: Sequence[int]) -> Group:
        return Group([self.files[i] for i in indices], [self.rows[i] for i in indices])

    @property
    def _weight(self) -> int:
        return sum(r.weight_bytes for r in self.rows)


class Stream:
    """The rows of a group as one stream, which counts them and remembers which file stopped it."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.read = [0] * len(group.files)
        self.stopped_by: tuple[int, Exception] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as readers give them, and `_index`, which says of which file of the group they are."""
        import pyarrow as pa

        held: list[pa.RecordBatch] = []
        for batch in self._read():
            if held and batch.schema != held[0].schema:
                yield pa.concat_batches(held)
                held = []
            held.append(batch)
            if sum(map(len, held)) >= MERGED_ROWS or sum(b.nbytes for b in held) >= MERGED_BYTES:
                yield pa.concat_batches(held)
                held = []
        if held:
            yield pa.concat_batches(held)

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
