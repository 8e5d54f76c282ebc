"""Zip archives: each file in one is a member, checked against what the archive says of it, and told apart from a bomb.

Sources: APPNOTE.TXT 6.3.10; D. Fifield, "A better zip bomb" (WOOT 2019), for entries that lie upon each other.
"""

from __future__ import annotations

import fnmatch
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from caudal.lake.readers.compression import Budget, Packed, StreamKind, compression_of, decompressed, peeked
from caudal.lake.readers.rows import LakeFile, Unreadable, named

_END, _END_BYTES, _LOCATOR = b"PK\x05\x06", 22, b"PK\x06\x07"
_LOCAL, _LOCAL_BYTES = b"PK\x03\x04", 30

#: What the directory may take for each member, and beside them.
_DIRECTORY_BYTES_A_MEMBER, _DIRECTORY_BYTES = 1 << 10, 1 << 20

_METHODS: dict[int, StreamKind | None] = {0: None, 8: "deflate", 12: "bz2", 93: "zstd", 95: "xz"}
_METHOD_NAMES = {1: "Shrink", 6: "Implode", 9: "Deflate64", 14: "LZMA", 98: "PPMd", 99: "AES encryption"}

#: Between two entries there may be so much: a description of the data, and padding.
_GAP_BYTES = 64 << 10

_ENCRYPTED, _UTF8_NAME = 0x1, 0x800

#: What only a workbook has among its members.
_WORKBOOK_MARKS = frozenset({"[Content_Types].xml", "mimetype"})


@dataclass(frozen=True)
class Entry:
    """One file of an archive.

    Attributes:
        start: of its data in the archive.
        local_problem: what its own header says that the directory does not.

    """

    info: zipfile.ZipInfo
    start: int
    local_problem: str | None = None

    @property
    def name(self) -> str:
        return self.info.orig_filename

    @property
    def end(self) -> int:
        return self.start + self.info.compress_size


def is_workbook(opened: BinaryIO) -> bool:
    """Whether a zip archive is an Excel or OpenDocument workbook. True too of one that cannot be opened."""
    try:
        with zipfile.ZipFile(opened) as archive:
            return bool(_WORKBOOK_MARKS & set(archive.namelist()))
    except (zipfile.BadZipFile, *_BROKEN):
        return True


def entries_of(opened: BinaryIO, name: str, most: int) -> list[Entry]:
    """The entries of an archive in the order of their places.

    Raises:
        Unreadable: it is damaged, has more than `most` entries, or they lie upon each other.

    """
    start = _check_directory(opened, name, most)
    try:
        with zipfile.ZipFile(opened) as archive:
            infos = sorted(archive.infolist(), key=lambda i: i.header_offset)
    except (zipfile.BadZipFile, *_BROKEN) as damaged:
        raise _damaged(name, damaged) from None
    if len(infos) > most:
        raise _too_many(name, len(infos), most)
    if infos and infos[0].header_offset != 0:
        raise _damaged(name, f"{infos[0].header_offset} bytes stand before its first entry")
    found = [_entry(opened, info, name) for info in infos]
    limits = [*(i.header_offset for i in infos[1:]), start]
    for entry, limit in zip(found, limits[: len(found)], strict=True):
        if entry.end > limit:
            raise Unreadable(f"{name}: the entry `{entry.name}` lies upon what follows it, as in a zip bomb. Pack it anew")
        opened.seek(entry.end)
        if limit - entry.end > _GAP_BYTES or _LOCAL in opened.read(limit - entry.end):
            raise _damaged(name, f"after `{entry.name}` stands something that its directory does not list")
    return found


def chosen(entries: list[Entry], pattern: str, name: str) -> list[Entry]:
    """The entries that are files and match the glob.

    Raises:
        Unreadable: none is.

    """
    files = [e for e in entries if refusal(e) or not _is_aside(e.name)]
    wanted = [e for e in files if refusal(e) or fnmatch.fnmatchcase(e.name, pattern)]
    if not files:
        raise Unreadable(f"{name}: there is no file in the archive. Deliver one that holds the data")
    if not wanted:
        listed = ", ".join(f"`{e.name}`" for e in files[:5]) + (", ..." if len(files) > 5 else "")
        raise Unreadable(f"{name}: no file of the archive matches `members: {pattern}`; there are {listed}")
    return wanted


def repeated(entries: list[Entry]) -> frozenset[str]:
    """Names that stand for several entries, case not told apart."""
    counts = Counter(e.name.lower() for e in entries)
    return frozenset(e.name for e in entries if counts[e.name.lower()] > 1)


def refusal(entry: Entry) -> str | None:
    """Why the entry is not read, for people; None if it can be."""
    info, name = entry.info, entry.name
    if any(ord(c) < 0x20 or c == "\x7f" for c in name):
        return "its name holds a control character"
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
        return "its name leads out of the archive (an absolute path, a drive or `..`)"
    mode = info.external_attr >> 16
    if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device, not a file"
    if name.endswith("/"):
        return f"it is called a folder and holds {info.file_size} bytes" if info.file_size else None
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted. Pack it without a password"
    if info.compress_type not in _METHODS:
        method = _METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
        return f"it is packed with {method}, which is not read. Pack it with Deflate"
    return entry.local_problem


def unpack(opened: BinaryIO, entry: Entry, file: LakeFile, budget: Budget, *, may_be_zip: bool) -> LakeFile:
    """The entry as a lake file of its own, unpacked; what is compressed in it is unpacked too.

    Args:
        may_be_zip: the dataset's files are zip archives themselves, as workbooks are.

    Raises:
        Unreadable: it is not what the archive says, or too large.

    """
    name = named(file.path, entry.name)
    opened.seek(entry.start)
    packed = Packed(opened, entry.info.compress_size)
    head, pieces = peeked(_checked(packed, entry, name), 16)
    inner = compression_of(head)
    if inner == "zip" and not may_be_zip:
        raise Unreadable(f"{name}: this is a zip archive in a zip archive, which is not read. Deliver it by itself")
    if inner and inner != "zip":
        pieces = decompressed(pieces, inner, name)
    unpacked = budget.write(pieces, packed, name)
    return LakeFile(file.path, file.version, unpacked, entry.name, temporary=True)


def _checked(packed: Packed, entry: Entry, name: str) -> Iterator[bytes]:
    """What the entry unpacks to, if it has the size and the checksum that the archive says."""
    info = entry.info
    kind = _METHODS[info.compress_type]
    crc = size = 0
    for piece in decompressed(packed, kind, name) if kind and info.compress_size else packed:
        size += len(piece)
        if size > info.file_size:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if size != info.file_size:
        raise Unreadable(
            f"{name}: it is {'larger' if size > info.file_size else 'smaller'} than the archive says. Pack it anew"
        )
    if crc != info.CRC or packed.read_bytes != info.compress_size:
        raise Unreadable(f"{name}: it is damaged: its checksum is not what the archive says. Deliver the archive again")


def _check_directory(opened: BinaryIO, name: str, most: int) -> int:
    """Where the directory starts, if it is not so large that reading it would cost too much."""
    size = opened.seek(0, 2)
    tail_start = opened.seek(max(0, size - _END_BYTES - 0xFFFF))
    tail = opened.read()
    at = len(tail) - _END_BYTES if tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0") else tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _damaged(name, "its directory is missing")
    count, length, start, comment = struct.unpack_from("<HIIH", tail, at + 10)
    if at + _END_BYTES + comment != len(tail):
        raise _damaged(name, "something follows its end")
    if tail[at - 20 : at].startswith(_LOCATOR):
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        opened.seek(min(place, size))
        record = opened.read(56)
        if len(record) < 56:
            raise _damaged(name, "its directory is missing")
        count, length, start = struct.unpack_from("<QQQ", record, 32)
    if count > most:
        raise _too_many(name, count, most)
    if length > most * _DIRECTORY_BYTES_A_MEMBER + _DIRECTORY_BYTES:
        raise _damaged(name, f"its directory of {length} bytes is too large for {count} entries")
    if start + length > tail_start + at:
        raise _damaged(name, "its directory is not where it should be")
    return start


def _entry(opened: BinaryIO, info: zipfile.ZipInfo, name: str) -> Entry:
    opened.seek(info.header_offset)
    header = opened.read(_LOCAL_BYTES)
    if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL):
        raise _damaged(name, f"the entry `{info.orig_filename}` is not where its directory says")
    flags, method = struct.unpack_from("<HH", header, 6)
    name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
    local_name = opened.read(name_bytes).decode("utf-8" if flags & _UTF8_NAME else "cp437", "replace")
    differs = local_name != info.orig_filename or method != info.compress_type or (flags ^ info.flag_bits) & _ENCRYPTED
    problem = "its own header says something else than the archive's directory. Pack it anew" if differs else None
    return Entry(info, info.header_offset + _LOCAL_BYTES + name_bytes + extra_bytes, problem)


def _is_aside(name: str) -> bool:
    """Whether it is a folder, or nothing that a person put there."""
    pieces = re.split(r"[/\\]", name)
    return name.endswith("/") or pieces[0] == "__MACOSX" or any(piece.startswith(".") for piece in pieces)


#: What the standard library raises, beside `BadZipFile`, of an archive that is damaged.
_BROKEN = (NotImplementedError, ValueError, LookupError, EOFError, OverflowError, struct.error, zlib.error)


def _damaged(name: str, why: object) -> Unreadable:
    return Unreadable(f"{name}: the zip archive is damaged or was not written to its end ({why}). Deliver it again")


def _too_many(name: str, count: int, most: int) -> Unreadable:
    return Unreadable(
        f"{name}: the archive has {count} entries; at most {most} are read. If it is right, raise `limits.members`"
    )
