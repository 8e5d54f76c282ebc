"""What is to be read of a lake file: itself, or the members that it holds."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from caudal.lake.readers import archives
from caudal.lake.readers.compression import Budget, Packed, compression_of, decompressed
from caudal.lake.readers.content import recognised
from caudal.lake.readers.rows import LakeFile, Unreadable, named

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset


@dataclass(frozen=True)
class Refused:
    """A member that cannot be had, and why, for people."""

    path: str
    version: str
    member: str | None
    reason: str


def members(dataset: Dataset, file: LakeFile, into: Path) -> Iterator[LakeFile | Refused]:
    """Yield what is to be read of `file`, unpacked into `into` where need be.

    Raises:
        Unreadable: nothing of it can be had.

    """
    for found in _unpacked(dataset, file, into):
        if dataset.format == "excel" and isinstance(found, LakeFile):
            yield from _tables(dataset, found)
        else:
            yield found


def _tables(dataset: Dataset, file: LakeFile) -> Iterator[LakeFile | Refused]:
    """The declared tables of a workbook."""
    from caudal.lake.readers.excel.members import tables

    given = False
    try:
        for table in tables(dataset, file):
            if isinstance(table, LakeFile):
                given = True
                yield table
            else:
                yield Refused(file.path, file.version, table.member, table.reason)
    except Unreadable as refused:
        if file.member is None:
            raise
        yield Refused(file.path, file.version, file.member, str(refused))
    finally:
        if file.temporary and not given:
            file.file.unlink(missing_ok=True)


def _unpacked(dataset: Dataset, file: LakeFile, into: Path) -> Iterator[LakeFile | Refused]:
    """The file itself, or what it is packed from."""
    declared = dataset.compression
    if declared == "none":
        yield file
        return
    try:
        with file.file.open("rb") as opened:
            head = opened.read(16)
            found = compression_of(head)
            if declared == "auto" and found == "zip" and dataset.format == "excel" and archives.is_workbook(opened):
                found = None
            if declared not in ("auto", found):
                told = recognised(head) or ("an empty file" if not head else "not that, perhaps not packed at all")
                raise Unreadable(
                    f"{file.name}: the dataset declares `compression: {declared}`, and this is {told}. Correct one"
                )
            if found is None:
                yield file
                return
            opened.seek(0)
            budget = Budget(dataset.limits, into)
            if found == "zip":
                yield from _of_archive(dataset, file, opened, budget)
            else:
                packed = Packed(opened)
                unpacked = budget.write(decompressed(packed, found, file.name), packed, file.name)
                yield LakeFile(file.path, file.version, unpacked, file.member, temporary=True)
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unreadable(f"{file.name}: cannot be opened: {failed.strerror or type(failed).__name__}") from None


def _of_archive(dataset: Dataset, file: LakeFile, opened: BinaryIO, budget: Budget) -> Iterator[LakeFile | Refused]:
    entries = archives.entries_of(opened, file.name, dataset.limits.members)
    wanted = archives.chosen(entries, dataset.members, file.name)
    budget.expect(sum(e.info.file_size for e in wanted), file.name)
    repeated = archives.repeated(wanted)
    for entry in {e.name: e for e in wanted}.values():
        reason = archives.refusal(entry)
        if entry.name in repeated:
            reason = "its name stands in the archive more than once (case is not told apart)"
        if reason is None:
            try:
                yield archives.unpack(opened, entry, file, budget, may_be_zip=dataset.format == "excel")
            except Unreadable as refused:
                yield Refused(file.path, file.version, entry.name, str(refused))
        else:
            yield Refused(file.path, file.version, entry.name, f"{named(file.path, entry.name)}: {reason}")
