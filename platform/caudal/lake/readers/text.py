"""Text files as UTF-8 blocks of whole lines: decoded as declared, never guessed, in bounded memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from caudal.lake.readers.content import head_of, refuse_other_content
from caudal.lake.readers.rows import Unreadable

BLOCK_BYTES = 4 << 20

#: A line, or a row of several lines, is at most this long.
MAX_LINE_BYTES = 16 << 20

_BOM = "\ufeff".encode()

#: Byte-order marks and what they tell, longest first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NAMES_OF_UTF8 = ("utf-8", "utf-8-sig", "ascii")


def encoding_of_mark(head: bytes) -> str | None:
    """The encoding that a byte-order mark at the start tells; None without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes:
        data: UTF-8; every line ends in a newline, the last one of the file too.
        first_line: the number of the first one, from 1.
        faults: why lines are no rows, by their number, where that is known already.

    """

    data: bytes
    first_line: int
    faults: Mapping[int, str] | None = None


def open_text(file: Path, path: str, encoding: str, wanted: str) -> bytes:
    """The first bytes of a text file, after the checks that need no more than those.

    Raises:
        Unreadable: it is empty, no text, or marked as text of another encoding.

    """
    head = head_of(file, path, wanted)
    refuse_other_content(head, path, wanted)
    codec = _codec(encoding, path)
    marked = encoding_of_mark(head)
    if marked and not codec.startswith(marked):
        raise Unreadable(
            f"{path}: it starts with the byte-order mark of {marked}, but the dataset declares `encoding: {encoding}`. "
            f"Declare `encoding: {marked}`, or deliver {encoding}"
        )
    if codec in ("utf-16", "utf-32") and marked is None:
        raise Unreadable(
            f"{path}: {encoding} without a byte-order mark may be read in two ways. Declare `encoding: {codec}-le` "
            f"(Windows) or `{codec}-be`"
        )
    return head


def block_bytes(columns: int) -> int:
    """The size of blocks of rows of so many columns: what is done for each column of a block is worth it."""
    return BLOCK_BYTES * max(1, min(columns // 128, 4))


def read_blocks(file: Path, path: str, encoding: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in blocks of about `block_bytes`. A byte-order mark is left out.

    Raises:
        Unreadable: a byte that the encoding does not have, a NUL byte, or a line longer than `MAX_LINE_BYTES`.

    """
    codec = _codec(encoding, path)
    with file.open("rb") as opened:
        pieces = _lines(opened, block_bytes) if codec in _NAMES_OF_UTF8 else _transcoded(opened, path, codec, block_bytes)
        first_line, rest = 1, b""
        for number, piece in enumerate(pieces):
            data = rest + (piece.removeprefix(_BOM) if number == 0 else piece)
            cut = data.rfind(b"\n") + 1
            data, rest = data[:cut], data[cut:]
            if len(rest) > MAX_LINE_BYTES:
                raise too_long(path, first_line + count_lines(data))
            if data:
                yield _checked(data, first_line, path, codec)
                first_line += count_lines(data)
        if rest:
            yield _checked(rest + b"\n", first_line, path, codec)


def count_lines(data: bytes) -> int:
    """How many newlines there are: several times as fast as `bytes.count`."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))


def without_footer(blocks: Iterator[Block], lines: int) -> Iterator[Block]:
    """Yield the blocks without the last `lines` that are not blank, and what stands between and after them."""
    if not lines:
        yield from blocks
        return
    held = Block(b"", 1)
    for block in blocks:
        data = held.data + block.data
        first = held.first_line if held.data else block.first_line
        cut = _start_of_last(data, lines)
        if cut:
            yield Block(data[:cut], first)
        held = Block(data[cut:], first + data.count(b"\n", 0, cut))


def _start_of_last(data: bytes, lines: int) -> int:
    """Where the last `lines` that are not blank begin."""
    start = len(data)
    while lines and start:
        before = data.rfind(b"\n", 0, start - 1) + 1
        lines -= bool(data[before:start].strip())
        start = before
    return start


def read_pieces(file: Path, path: str, encoding: str, piece_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the file's text as UTF-8, cut anywhere between two characters. A byte-order mark is left out.

    Raises:
        Unreadable: a byte that the encoding does not have, or a NUL byte.

    """
    codec = _codec(encoding, path)
    with file.open("rb") as opened:
        pieces = _utf8(opened, piece_bytes) if codec in _NAMES_OF_UTF8 else _transcoded(opened, path, codec, piece_bytes)
        given, rest = 0, b""
        for number, piece in enumerate(pieces):
            data = rest + (piece.removeprefix(_BOM) if number == 0 else piece)
            cut = _end_of_characters(data)
            data, rest = data[:cut], data[cut:]
            _check_piece(data, given, path, codec)
            given += len(data)
            yield data
        _check_piece(rest, given, path, codec)


def _end_of_characters(data: bytes) -> int:
    """Where the last whole character of UTF-8 ends."""
    for back in range(1, min(len(data), 3) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            return len(data) - back if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else len(data)
    return len(data)


def _check_piece(data: bytes, before: int, path: str, codec: str) -> None:
    place = data.find(b"\0")
    if place >= 0:
        raise Unreadable(f"{path}, byte {before + place + 1}: a NUL byte, which text does not hold. Deliver the file again")
    try:
        data.decode("ascii" if codec == "ascii" else "utf-8")
    except UnicodeDecodeError as bad:
        raise Unreadable(
            f"{path}, byte {before + bad.start + 1}: 0x{data[bad.start]:02X} is not {codec} text, which the dataset declares. "
            "Deliver UTF-8, or declare the encoding that the file is written in"
        ) from None


def too_long(path: str, line: int) -> Unreadable:
    """The refusal of a file with an endless line."""
    return Unreadable(f"{path}, line {line}: longer than {MAX_LINE_BYTES >> 20} MiB. Expected lines that end in a newline")


def _codec(encoding: str, path: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise Unreadable(
            f"{path}: the dataset declares `encoding: {encoding}`, which is none that Python knows; "
            "expected such as utf-8, cp1252, latin-1, utf-16"
        ) from None


def _utf8(opened: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    while piece := opened.read(block_bytes):
        yield piece


def _lines(opened: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    """Whole lines, but for those that are too long: what is not cut needs not be put together."""
    for piece in _utf8(opened, block_bytes):
        yield piece + opened.readline(MAX_LINE_BYTES + 1)


def _transcoded(opened: BinaryIO, path: str, codec: str, block_bytes: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    lines = 0
    while True:
        piece = opened.read(block_bytes)
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as bad:
            before = bad.object[: bad.start].decode(codec, "replace").count("\n")
            shown = bad.object[bad.start : bad.end].hex(" ")
            raise Unreadable(
                f"{path}, line {lines + before + 1}: the bytes {shown} (hexadecimal) are not {codec} text, which the "
                "dataset declares. Declare the encoding that the file is written in"
            ) from None
        lines += text.count("\n")
        if text:
            yield text.encode("utf-8", "surrogatepass")
        if not piece:
            return


def _checked(data: bytes, first_line: int, path: str, codec: str) -> Block:
    nul = data.find(b"\0")
    if nul >= 0:
        raise Unreadable(_nul_message(data, nul, first_line, path))
    try:
        if not data.isascii():
            data.decode("ascii" if codec == "ascii" else "utf-8")
    except UnicodeDecodeError as bad:
        raise Unreadable(_encoding_message(data, bad.start, first_line, path, codec)) from None
    return Block(data, first_line)


def _place(data: bytes, offset: int, first_line: int) -> tuple[int, int]:
    """The line in the file and the byte in that line, both from 1."""
    return first_line + data.count(b"\n", 0, offset), offset - data.rfind(b"\n", 0, offset)


def _nul_message(data: bytes, offset: int, first_line: int, path: str) -> str:
    line, byte = _place(data, offset, first_line)
    start = data[:400]
    advice = "Deliver the file again"
    if start.count(b"\0") * 3 > len(start):
        order = "be" if start.startswith(b"\0") else "le"
        advice = f"It looks like UTF-16: declare `encoding: utf-16-{order}`"
    return f"{path}, line {line}, byte {byte}: a NUL byte, which text does not hold. {advice}"


def _encoding_message(data: bytes, offset: int, first_line: int, path: str, codec: str) -> str:
    line, byte = _place(data, offset, first_line)
    end = data.find(b"\n", offset)
    around = data[max(offset - 12, data.rfind(b"\n", 0, offset) + 1) : min(offset + 12, end if end >= 0 else len(data))]
    advice = "Deliver UTF-8, or declare the encoding that the file is written in"
    for likely in ("utf-8", "cp1252", "latin-1"):
        if likely != codec and _reads_as(data, likely):
            advice = f"If `{around.decode(likely, 'replace').strip()}` is what should stand there, declare `encoding: {likely}`"
            break
    return f"{path}, line {line}, byte {byte}: 0x{data[offset]:02X} is not {codec} text, which the dataset declares. {advice}"


def _reads_as(data: bytes, encoding: str) -> bool:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return not any("\x80" <= c <= "\x9f" for c in text)
