"""Parts: the typed rows of lake files, and the rejects, each with its reason. What is read is either loaded or rejected.

Files of the same columns are normalized by one statement, many at a time. A file that cannot be read is told and left out; the
others go on.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.formats import read_lake_file
from caudal.lake.readers.members import Refused, members
from caudal.lake.readers.rows import LakeFile, SourceColumn, Unreadable
from caudal.warehouse.json_text import provide_json_fault
from caudal.warehouse.sql import text
from caudal.warehouse.statements import Statements
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
    "write_unreadable",
]

_RELATION = "caudal_rows"


@dataclass(frozen=True)
class FileCounts:
    """What became of the rows of one lake file: `rows_read == rows_loaded + rows_rejected`."""

    path: str
    version: str
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    member: str | None = None


@dataclass(frozen=True)
class Normalized:
    """Lake files that were normalized together.

    Attributes:
        files: of each, how many rows.
        part: a Parquet file of `Contract.arrow_schema()`, the rows in the order of `files` and of their places; None without a
            row. It is the caller's to delete.
        rejects: a Parquet file of `reject_schema()`, one row for each problem; None without any.
        undeclared: columns that some file has and the contract does not.

    """

    files: tuple[FileCounts, ...]
    part: Path | None
    rejects: Path | None
    undeclared: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """A lake file that could not be read, and why, for people."""

    path: str
    version: str
    reason: str
    member: str | None = None


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
    work = _Work(connection, dataset, loaded_at, into)
    groups: dict[tuple[SourceColumn, ...], Group] = {}
    for file in work.members(files):
        if isinstance(file, Quarantined):
            yield file
            continue
        try:
            rows = read_lake_file(dataset, file)
            work.statements(rows.columns).check()
        except Unreadable as refused:
            yield Quarantined(file.path, file.version, _told(refused, file), file.member)
            continue
        group = groups.setdefault(rows.columns, Group([], []))
        group.files.append(file)
        group.rows.append(rows)
        if group.is_full:
            yield from work.normalize(groups.pop(rows.columns))
    for group in groups.values():
        yield from work.normalize(group)


def reject_schema() -> pa.Schema:
    """The schema of rejects: one row for each problem of a row that its contract refused, or for a file that was quarantined.

    `_row` is None for a whole file. `column` is None where no column is to blame. `value` is what stands in the file.
    """
    import pyarrow as pa

    lineage = [("_file", pa.string()), ("_version", pa.string()), ("_row", pa.int64())]
    told = [("column", pa.string()), ("value", pa.string()), ("reason", pa.string())]
    return pa.schema([*lineage, *told, ("_loaded_at", pa.timestamp("us", "UTC"))])


def write_unreadable(reasons: Mapping[str, str], versions: Mapping[str, str], loaded_at: datetime, into: Path) -> Path:
    """Write quarantined files as rejects: a Parquet file of `reject_schema()`.

    Args:
        reasons: by path.
        versions: by path.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"_file": path, "_version": versions[path], "reason": reason, "_loaded_at": loaded_at}
        for path, reason in reasons.items()
    ]
    written = into / f"{uuid.uuid4().hex}.quarantined.parquet"
    pq.write_table(pa.Table.from_pylist(rows, reject_schema()), written)
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

    def statements(self, columns: tuple[SourceColumn, ...]) -> Statements:
        options = {"csv": self.dataset.csv.null_markers, "excel": self.dataset.excel.null_markers}
        markers = options.get(self.dataset.format, ())
        return Statements(self.dataset.contract, columns, markers, _RELATION, self.loaded_at)

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
                yield self._together(group, stream)
            except duckdb.Error as failed:
                if stream.stopped_by is None:
                    yield from self._apart(group, failed)
                    return
                index, cause = stream.stopped_by
                if not isinstance(cause, Unreadable):
                    raise cause from None
                file = group.files[index]
                yield Quarantined(file.path, file.version, _told(cause, file), file.member)
                group = group.of([i for i in range(len(group.files)) if i != index])
            else:
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
        name = uuid.uuid4().hex
        part, rejects = self.into / f"{name}.parquet", self.into / f"{name}.rejects.parquet"
        statements = self.statements(group.rows[0].columns)
        self._write(stream, statements.part(group.files), part)
        loaded = self._rows_by_file(part, "count(*)")
        faulty = [i for i, f in enumerate(group.files) if loaded.get(f.name, 0) != stream.read[i]]
        rejected: dict[str, int] = {}
        if faulty:
            again = group.of(faulty)
            self._write(Stream(again), statements.rejects(again.files), rejects)
            rejected = self._rows_by_file(rejects, "count(DISTINCT _row)")
        counts = tuple(
            FileCounts(f.path, f.version, read, loaded.get(f.name, 0), rejected.get(f.name, 0), f.member)
            for f, read in zip(group.files, stream.read, strict=True)
        )
        lost = [c for c in counts if c.rows_read != c.rows_loaded + c.rows_rejected]
        if lost:
            raise RuntimeError(f"the rows read are not the rows loaded and rejected: {lost[0]}")
        undeclared = {column.name: column for rows in group.rows for column in rows.undeclared}
        result = Normalized(counts, part, rejects if faulty else None, tuple(undeclared.values()))
        if not loaded:
            part.unlink()
            result = replace(result, part=None)
        return result

    def _write(self, stream: Stream, select: str, target: Path) -> None:
        with self._registered(stream):
            self.connection.execute(f"COPY ({select}) TO {text(str(target))} (FORMAT parquet)")

    @contextmanager
    def _registered(self, stream: Stream) -> Generator[None]:
        """Offer the rows as the relation. A condition is not pushed below the projection, where it would be evaluated twice."""
        self.connection.register(_RELATION, stream.reader())
        self.connection.execute("SET disabled_optimizers = 'filter_pushdown'")
        try:
            yield
        finally:
            self.connection.execute("RESET disabled_optimizers")
            self.connection.unregister(_RELATION)

    def _rows_by_file(self, parquet: Path, aggregate: str) -> dict[str, int]:
        select = f"SELECT _file, {aggregate} FROM read_parquet({text(str(parquet))}) GROUP BY _file"
        return dict(self.connection.execute(select).fetchall())
