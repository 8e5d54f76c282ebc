"""The part of the files that is looked at: whole files up to a bound, unpacked into a work folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from caudal.lake.dataset import Dataset
from caudal.lake.readers import archives
from caudal.lake.readers.compression import Packed, compression_of, decompressed
from caudal.lake.readers.members import Refused, members
from caudal.lake.readers.rows import LakeFile, Unreadable, named
from caudal.warehouse.propose.sniff import Sniffed
from caudal.warehouse.propose.table import text_contract

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of each file.
SAMPLE_BYTES, SAMPLE_ROWS = 64 << 20, 1_000_000

#: Formats of which the first lines are a file of their own.
_LINES = ("csv", "jsonl", "fixed_width")


@dataclass
class Unpacked:
    """Files to be read, each as it stands or unpacked.

    Attributes:
        packed: with what some of them are packed, such as `gzip`.
        members: of archives, where not all are of one kind: a glob of those that are taken.
        cut: files of which only the start was taken.

    """

    files: list[LakeFile] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    packed: set[str] = field(default_factory=set)
    cut: list[str] = field(default_factory=list)
    members: str | None = None


def unpack(files: Sequence[Path], into: Path, sample_bytes: int) -> Unpacked:
    """Unpack what is packed; of a compressed stream the start."""
    found = Unpacked()
    for file in files:
        lake_file = LakeFile(file.name, "sample", file)
        try:
            _unpack(lake_file, into, sample_bytes, found)
        except Unreadable as refused:
            found.unreadable.append((file.name, str(refused)))
        except OSError as failed:
            found.unreadable.append((file.name, f"{file.name}: cannot be read: {failed.strerror}"))
    return found


def first_lines(files: Sequence[LakeFile], sniffed: Sniffed, into: Path, sample_bytes: int, cut: list[str]) -> list[LakeFile]:
    """The files, but the first whole lines instead of one that is larger than the bound. What was cut is told in `cut`."""
    if sniffed.format not in _LINES:
        return list(files)
    taken = []
    for number, file in enumerate(files):
        if file.file.stat().st_size > sample_bytes or file.name in cut:
            target = into / f"{number}.start"
            _copy_lines(file.file, target, sample_bytes)
            taken.append(replace(file, file=target))
            if file.name not in cut:
                cut.append(file.name)
        else:
            taken.append(file)
    return taken


def tables_of(dataset: Dataset, files: Sequence[LakeFile], into: Path) -> tuple[list[LakeFile], list[tuple[str, str]]]:
    """Each table in the files, such as a sheet; and what cannot be had, with the reason."""
    tables, unreadable = [], []
    for file in files:
        try:
            for member in members(dataset, file, into):
                if isinstance(member, Refused):
                    unreadable.append((member.member or member.path, member.reason))
                else:
                    tables.append(member)
        except Unreadable as refused:
            unreadable.append((file.name, str(refused)))
    return tables, unreadable


def _unpack(file: LakeFile, into: Path, sample_bytes: int, found: Unpacked) -> None:
    with file.file.open("rb") as opened:
        kind = compression_of(opened.read(16))
        if kind is None or (kind == "zip" and archives.is_workbook(opened)):
            found.files.append(file)
            return
        found.packed.add(kind)
        if kind != "zip":
            opened.seek(0)
            target = into / f"{len(found.files)}.unpacked"
            if _write(decompressed(Packed(opened), kind, file.name), target, sample_bytes):
                found.cut.append(file.name)
            found.files.append(LakeFile(file.path, file.version, target))
            return
    archive = Dataset("sample", "sample", "jsonl", text_contract([]))
    inside = list(members(archive, file, into))
    kinds = Counter(PurePath(m.member or "").suffix for m in inside)
    usual, count = kinds.most_common(1)[0] if kinds else ("", 0)
    if usual and 2 * count > len(inside) > count:
        found.members = f"*{usual}"
    for member in inside:
        if found.members and not (member.member or "").endswith(found.members[1:]):
            continue
        if isinstance(member, Refused):
            found.unreadable.append((named(file.name, member.member), member.reason))
        else:
            found.files.append(member)


def _write(pieces: Iterable[bytes], target: Path, at_most: int) -> bool:
    """Write the pieces, but not much more than `at_most` bytes; whether there were more."""
    written = 0
    with target.open("wb") as opened:
        for piece in pieces:
            if written >= at_most:
                return True
            opened.write(piece)
            written += len(piece)
    return False


def _copy_lines(file: Path, target: Path, at_most: int) -> None:
    """Copy the first whole lines. Text of two bytes a character is cut between characters, as its newline is two bytes."""
    with file.open("rb") as opened, target.open("wb") as written:
        start = opened.read(at_most)
        wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:64]
        newline = (b"\0\n" if start[:2] == b"\xfe\xff" or start[:1] == b"\0" else b"\n\0") if wide else b"\n"
        cut = start.rfind(newline) + len(newline)
        cut -= cut % 2 if wide else 0
        written.write(start[: cut or len(start)])
