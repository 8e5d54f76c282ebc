"""The cells of an `.xls` workbook, and which hold errors: BIFF records ([MS-XLS]) in a stream of a compound file ([MS-CFB])."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER_SECTORS = 109
_LAST_REGULAR_SECTOR = 0xFFFFFFFA

#: Records: a formula with its result, a constant that is a truth value or an error, numbers side by side.
_FORMULA, _BOOLEAN_OR_ERROR, _NUMBERS = 0x0006, 0x0205, 0x00BD

#: All that are cells with a value.
_CELLS = {_FORMULA, _BOOLEAN_OR_ERROR, _NUMBERS, 0x00D6, 0x00FD, 0x0203, 0x0204, 0x027E}

#: Records: that what follows is encrypted, a sheet's place, the end of a sheet.
_PASSWORD, _SHEET, _END = 0x002F, 0x0085, 0x000A


class Locked(Exception):
    """The workbook has a password."""


def biff_errors(file: Path) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield the cells of all sheets that are not empty: sheet, row and column from 0, and the code of the error that it holds.

    Of cells that are written together, the first and the last are given.

    Raises:
        Locked: its cells are encrypted.
        ValueError, struct.error: the file is damaged.

    """
    stream = _workbook_stream(file.read_bytes())
    places = []
    for kind, start, _ in _records(stream, 0):
        if kind == _PASSWORD:
            raise Locked
        if kind == _SHEET:
            places.append(struct.unpack_from("<I", stream, start)[0])
    for sheet, place in enumerate(places):
        for kind, start, size in _records(stream, place):
            if kind in _CELLS:
                row, column = struct.unpack_from("<HH", stream, start)
                yield sheet, row, column, _error(stream, kind, start)
                if kind == _NUMBERS:
                    yield sheet, row, column + (size - 6) // 6 - 1, None


def _error(stream: bytes, kind: int, start: int) -> int | None:
    if kind == _BOOLEAN_OR_ERROR:
        code, is_error = struct.unpack_from("<BB", stream, start + 6)
        return code if is_error else None
    if kind == _FORMULA:
        result, code, special = struct.unpack_from("<BxB3xH", stream, start + 6)
        return code if (result, special) == (2, 0xFFFF) else None
    return None


def _records(stream: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """The records from `start` to the next end: type, where its data begin, and how long they are."""
    while True:
        kind, size = struct.unpack_from("<HH", stream, start)
        if kind == _END:
            return
        yield kind, start + 4, size
        start += 4 + size


def stream_names(file: Path) -> set[str]:
    """The names of the streams and folders in a compound file, in lower case. Raises `ValueError`, `struct.error`."""
    return {name for name, _, _ in _Container(file.read_bytes()).entries}


def _workbook_stream(data: bytes) -> bytes:
    container = _Container(data)
    for wanted in ("workbook", "book"):
        for name, first, total in container.entries:
            if name == wanted:
                return container.stream(first, total)
    raise ValueError("no workbook inside")


class _Container:
    """A compound file: streams in chains of sectors, short ones in chains of short sectors of one of them."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(COMPOUND_FILE):
            raise ValueError("no compound file")
        self._data = data
        shift, self._short_shift = struct.unpack_from("<HH", data, 30)
        (directory,) = struct.unpack_from("<I", data, 48)
        self._smallest, self._short_table, _, more = struct.unpack_from("<IIII", data, 56)
        if shift not in (9, 12) or self._short_shift >= shift:
            raise ValueError(f"sectors of 2**{shift} bytes")
        self._size = size = 1 << shift
        listed = list(struct.unpack_from(f"<{_HEADER_SECTORS}I", data, 76))
        while more < _LAST_REGULAR_SECTOR and len(listed) * size <= len(data) * 2:
            *entries, more = struct.unpack(f"<{size // 4}I", self._sector(more))
            listed += entries
        self._table = _numbers(b"".join(self._sector(number) for number in listed if number < _LAST_REGULAR_SECTOR))
        found = b"".join(self._sector(number) for number in _chain(self._table, directory))
        self._held = struct.unpack_from("<I", found, 116)[0]
        self.entries = [_entry(found, start) for start in range(0, len(found), 128)]

    def stream(self, first: int, total: int) -> bytes:
        """The stream of `total` bytes that starts in the sector `first`."""
        if total >= self._smallest:
            return b"".join(self._sector(number) for number in _chain(self._table, first))[:total]
        short = _numbers(b"".join(self._sector(number) for number in _chain(self._table, self._short_table)))
        held = b"".join(self._sector(number) for number in _chain(self._table, self._held))
        places = (number << self._short_shift for number in _chain(short, first))
        return b"".join(held[place : place + (1 << self._short_shift)] for place in places)[:total]

    def _sector(self, number: int) -> bytes:
        return self._data[(number + 1) * self._size : (number + 2) * self._size]


def _entry(directory: bytes, start: int) -> tuple[str, int, int]:
    """A stream of the directory: its name in lower case, its first sector and its size."""
    (length,) = struct.unpack_from("<H", directory, start + 64)
    name = directory[start : start + max(length - 2, 0)].decode("utf-16-le", "replace")
    return (name.lower(), *struct.unpack_from("<II", directory, start + 116))


def _numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data)


def _chain(table: tuple[int, ...], number: int) -> Iterator[int]:
    """The sectors of a stream, from the first one on."""
    for _ in range(len(table) + 1):
        if number >= _LAST_REGULAR_SECTOR:
            return
        yield number
        number = table[number]
    raise ValueError("a chain of sectors without an end")
