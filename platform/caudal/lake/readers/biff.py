"""Error cells of an `.xls` workbook: BIFF8 records ([MS-XLS]) in a stream of a compound file ([MS-CFB])."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER_SECTORS = 109
_LAST_REGULAR_SECTOR = 0xFFFFFFFA

#: Records: a formula with its result, a constant that is a truth value or an error, a sheet's place, the end of a sheet.
_FORMULA, _BOOLEAN_OR_ERROR, _SHEET, _END = 0x0006, 0x0205, 0x0085, 0x000A


def biff_errors(file: Path, sheet: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the cell (row, column), from 0, and the code of each error of the sheet at the place `sheet`, from 0.

    Raises:
        ValueError, struct.error: the file is damaged.

    """
    stream = _workbook_stream(file.read_bytes())
    places = [struct.unpack_from("<I", stream, start)[0] for kind, start in _records(stream, 0) if kind == _SHEET]
    for kind, start in _records(stream, places[sheet]):
        if kind == _BOOLEAN_OR_ERROR:
            row, column, _, code, is_error = struct.unpack_from("<HHHBB", stream, start)
            if is_error:
                yield (row, column), code
        elif kind == _FORMULA:
            row, column, _, result, code, special = struct.unpack_from("<HHHBxB3xH", stream, start)
            if special == 0xFFFF and result == 2:
                yield (row, column), code


def _records(stream: bytes, start: int) -> Iterator[tuple[int, int]]:
    """The records from `start` to the next end: type, and where its data begin."""
    while True:
        kind, size = struct.unpack_from("<HH", stream, start)
        if kind == _END:
            return
        yield kind, start + 4
        start += 4 + size


def _workbook_stream(data: bytes) -> bytes:
    if not data.startswith(COMPOUND_FILE):
        raise ValueError("no compound file")
    shift, short_shift = struct.unpack_from("<HH", data, 30)
    (directory,) = struct.unpack_from("<I", data, 48)
    smallest, short_table, _, more = struct.unpack_from("<IIII", data, 56)
    size = 1 << shift

    def sector(number: int) -> bytes:
        return data[(number + 1) * size : (number + 2) * size]

    listed = list(struct.unpack_from(f"<{_HEADER_SECTORS}I", data, 76))
    while more < _LAST_REGULAR_SECTOR and len(listed) * size <= len(data) * 2:
        *entries, more = struct.unpack(f"<{size // 4}I", sector(more))
        listed += entries
    table = _numbers(b"".join(sector(number) for number in listed if number < _LAST_REGULAR_SECTOR))
    entries = b"".join(sector(number) for number in _chain(table, directory))
    container, _ = struct.unpack_from("<II", entries, 116)
    for start in range(0, len(entries), 128):
        (length,) = struct.unpack_from("<H", entries, start + 64)
        name = entries[start : start + max(length - 2, 0)].decode("utf-16-le", "replace")
        if name.lower() not in ("workbook", "book"):
            continue
        first, total = struct.unpack_from("<II", entries, start + 116)
        if total >= smallest:
            return b"".join(sector(number) for number in _chain(table, first))[:total]
        short = _numbers(b"".join(sector(number) for number in _chain(table, short_table)))
        held = b"".join(sector(number) for number in _chain(table, container))
        places = (number << short_shift for number in _chain(short, first))
        return b"".join(held[place : place + (1 << short_shift)] for place in places)[:total]
    raise ValueError("no workbook inside")


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
