"""Parts: the typed rows of lake files, and the rejects, each with its reason. What is read is either loaded or rejected.

Files of the same columns are normalized by one statement, many at a time. A file that cannot be read is told and left out; the
others go on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.ahead import in_order, read_ahead
from caudal.lake.readers.formats import read_lake_file
from caudal.lake.readers.members import Refused, members
from caudal.lake.readers.rows import LakeFile, SourceColumn, Unreadable, named
from caudal.lake.readers.unpacked import UnpackedFiles
from caudal.warehouse.json_split import provide_split
from caudal.warehouse.json_text import provide_json_fault
from caudal.warehouse.judging import Judge
from caudal.warehouse.part_file import LineageWriter
from caudal.warehouse.streams import Group, Stream

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb
    import pyarrow as pa

    from caudal.contracts import Column
    from caudal.lake.dataset import Dataset

__all__ = [
    "FileCounts",
    "LakeFile",
    "Normalized",
    "Quarantined",
    "Unreadable",
    "normalize",
    "normalize_many",
    "reject_schema",
    "write_quarantined",
]


@dataclass(frozen=True)
class FileCounts:
    """What became of the rows of one lake file: `rows_read == rows_loaded + rows_rejected + rows_erased`."""

    path: str
    version: str
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    member: str | None = None
    dialect: str | None = None
    rows_erased: int = 0

    @property
    def name(self) -> str:
        """What its rows call it."""
        return named(self.path, self.member)


@dataclass(frozen=True)
class Normalized:
    """Lake files that were normalized together.

    Attributes:
        files: of each, how many rows.
        part: a Parquet file of `Contract.arrow_schema()`, the rows in the order of `files` and of their places; None without a
            row. It is the caller's to delete.
        rejects: a Parquet file of `reject_schema()`, one row for each problem; None without any.
        undeclared: columns that some file has and the contract does not.
        left_out: the paths of keys inside structs, such as `lines[].colour`, that the contract does not have.

    """

    files: tuple[FileCounts, ...]
    part: Path | None
    rejects: Path | None
    undeclared: tuple[Column, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """A lake file that could not be read, and why, for people."""

    path: str
    version: str
    reason: str
    member: str | None = None

    @property
    def name(self) -> str:
        """What people are told."""
        return named(self.path, self.member)


def normalize(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    file: Path,
    *,
    path: str,
    version: str,
    loaded_at: datetime,
    into: Path,
) -> Normalized:
    """Normalize one lake file.

    Raises:
        Unreadable: it cannot be read.

    """
    (result,) = normalize_many(connection, dataset, [LakeFile(path, version, file)], loaded_at=loaded_at, into=into)
    if isinstance(result, Quarantined):
        raise Unreadable(result.reason)
    return result


def normalize_many(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, files: Iterable[LakeFile], *, loaded_at: datetime, into: Path
) -> Iterator[Normalized | Quarantined]:
    """Normalize lake files, each of which is in exactly one of the results.

    Args:
        connection: of `caudal.warehouse.engine.connect_memory`; used by nobody else meanwhile.
        loaded_at: with a time zone; written into every row.
        into: the folder for parts and rejects.

    """
    into.mkdir(parents=True, exist_ok=True)
    provide_json_fault(connection, dataset.contract)
    work = _Work(connection, dataset, loaded_at, into, provide_split(connection, dataset.contract))
    groups: dict[tuple[SourceColumn, ...], Group] = {}
    with UnpackedFiles() as unpacked:
        for file in work.members(files):
            if isinstance(file, Quarantined):
                yield file
                continue
            unpacked.take(file)
            try:
                rows = read_lake_file(dataset, file)
                work.judge_of(rows.columns)
            except Unreadable as refused:
                yield Quarantined(file.path, file.version, _told(refused, file), file.member)
                unpacked.done(file)
                continue
            group = groups.setdefault(rows.columns, Group())
            if not group.has_room_for(rows):
                yield from work.normalize(group)
                unpacked.done(*group.files)
                group = groups[rows.columns] = Group()
            group.add(file, rows)
            if group.is_full:
                yield from work.normalize(groups.pop(rows.columns))
                unpacked.done(*group.files)
        for group in groups.values():
            yield from work.normalize(group)
            unpacked.done(*group.files)


def reject_schema() -> pa.Schema:
    """The schema of rejects: one row for each problem of a row that its contract refused, or for a file that was quarantined.

    `_row` is None for a whole file. `column` is None where no column is to blame. `value` is what stands in the file, and
    `record` the whole row as one object of JSON, with text or null for each column of the contract that the file has; it is
    None where the row could not be split into values: then `value` is the whole line.
    """
    import pyarrow as pa

    lineage = [("_file", pa.string()), ("_version", pa.string()), ("_row", pa.int64())]
    told = [("column", pa.string()), ("value", pa.string()), ("reason", pa.string()), ("record", pa.string())]
    return pa.schema([*lineage, *told, ("_loaded_at", pa.timestamp("us", "UTC"))])


def write_quarantined(quarantined: Sequence[Quarantined], loaded_at: datetime, into: Path) -> Path:
    """Write quarantined files and members as rejects: a Parquet file of `reject_schema()`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"_file": q.name, "_version": q.version, "reason": q.reason} for q in quarantined]
    table = pa.Table.from_pylist([row | {"_loaded_at": loaded_at} for row in rows], reject_schema())
    written = into / f"{uuid.uuid4().hex}.quarantined.parquet"
    pq.write_table(table, written)
    return written


def _told(refused: Unreadable, file: LakeFile) -> str:
    told = str(refused)
    return told if told.startswith(file.path) else f"{file.name}, {told}"


@dataclass(frozen=True)
class _Work:
    """One call of `normalize_many`."""

    connection: duckdb.DuckDBPyConnection
    dataset: Dataset
    loaded_at: datetime
    into: Path
    left_out: set[str]

    @cached_property
    def _judges(self) -> dict[tuple[SourceColumn, ...], Judge]:
        return {}

    def judge_of(self, columns: tuple[SourceColumn, ...]) -> Judge:
        """The judge of rows of these columns. Raises `Unreadable` where the type of one is no form of the declared one."""
        if columns not in self._judges:
            self._judges[columns] = Judge(self.connection, self.dataset.contract, columns, self.dataset.null_markers)
        return self._judges[columns]

    def members(self, files: Iterable[LakeFile]) -> Iterator[LakeFile | Quarantined]:
        """What is to be read of each file: itself, or its members."""
        for file in files:
            try:
                for member in members(self.dataset, file, self.into):
                    if isinstance(member, Refused):
                        yield Quarantined(member.path, member.version, member.reason, member.member)
                    else:
                        yield member
            except Unreadable as refused:
                yield Quarantined(file.path, file.version, _told(refused, file))

    def normalize(self, group: Group) -> Iterator[Normalized | Quarantined]:
        """Normalize a group. A file that stops it is quarantined, and the others are tried again."""
        import duckdb

        while group.files:
            stream = Stream(group)
            try:
                result = self._together(group, stream)
            except Exception as failed:
                if stream.stopped_by is None:
                    if not isinstance(failed, duckdb.Error):
                        raise
                    yield from self._apart(group, failed)
                    return
                index, cause = stream.stopped_by
                if not isinstance(cause, Unreadable):
                    raise cause from None
                file = group.files[index]
                yield Quarantined(file.path, file.version, _told(cause, file), file.member)
                group = group.of([i for i in range(len(group.files)) if i != index])
            else:
                yield result
                return

    def _apart(self, group: Group, failed: duckdb.Error) -> Iterator[Normalized | Quarantined]:
        """Find the file that the database fails at. What the file is not to blame for is raised."""
        import duckdb

        if isinstance(failed, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.InterruptException):
            raise failed
        if len(group.files) == 1:
            (file,) = group.files
            why = str(failed).splitlines()[0].replace(str(file.file), file.path)
            yield Quarantined(file.path, file.version, f"{file.name}: cannot be normalized: {why}", file.member)
            return
        half = len(group.files) // 2
        yield from self.normalize(group.of(range(half)))
        yield from self.normalize(group.of(range(half, len(group.files))))

    def _together(self, group: Group, stream: Stream) -> Normalized:
        name, files = uuid.uuid4().hex, group.files
        judge = self.judge_of(group.rows[0].columns)
        schema = self.dataset.contract.arrow_schema()
        loaded, rejected = ([0] * len(files) for _ in range(2))
        with (
            LineageWriter(self.into / f"{name}.parquet", schema, files, self.loaded_at) as part,
            LineageWriter(self.into / f"{name}.rejects.parquet", reject_schema(), files, self.loaded_at) as rejects,
            closing(read_ahead(stream.batches())) as batches,
            closing(in_order(partial(judge.judge, batch) for batch in batches)) as judged,
        ):
            for rows in judged:
                part.write(rows.accepted)
                _count(rows.accepted, loaded)
                if rows.rejects is not None:
                    rejects.write(rows.rejects)
                    _count(rows.rejects.group_by(["_index", "_row"]).aggregate([]), rejected)
        counts = tuple(
            FileCounts(f.path, f.version, stream.read[i], loaded[i], rejected[i], f.member, group.rows[i].dialect)
            for i, f in enumerate(files)
        )
        lost = [c for c in counts if c.rows_read != c.rows_loaded + c.rows_rejected]
        if lost or part.rows != sum(loaded):
            raise RuntimeError(f"the rows read are not the rows loaded and rejected: {(lost or counts)[0]}")
        undeclared = {column.name: column for rows in group.rows for column in rows.undeclared}
        left_out = sorted(self.left_out | judge.left_out)
        return Normalized(counts, part.path, rejects.path, tuple(undeclared.values()), tuple(left_out))


def _count(rows: pa.Table, counts: list[int]) -> None:
    """Add the rows of each file to its count."""
    import numpy as np

    for index, count in enumerate(np.bincount(rows["_index"].to_numpy(), minlength=len(counts)).tolist()):
        counts[index] += count
