"""Lines taken out of text: CSV, JSON lines, fixed width. The others stay byte for byte, with their ends."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from caudal.lake.readers.csv_records import RecordSplitter
from caudal.lake.readers.dialect import detected, detected_encoding
from caudal.lake.readers.text import MAX_LINE_BYTES
from caudal.runtime.erasure.rewriting import CannotRewrite

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.lake.dataset import Dataset

_PIECE_BYTES = 4 << 20
_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OF_MARKS = {"utf-16": {codecs.BOM_UTF16_BE: "utf-16-be"}, "utf-32": {codecs.BOM_UTF32_BE: "utf-32-be"}}


def without_lines(dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """A row is the line that its place numbers, and of CSV those that it goes on to.

    Raises:
        CannotRewrite: a line cannot be decoded by itself.

    """
    splitter, encoding = _written_in(dataset, held)
    with held.open("rb") as opened, target.open("wb") as written:
        mark, codec = mark_and_codec(opened, encoding)
        newline = "\n".encode(codec)
        written.write(mark)
        lines = _Lines(_lines(opened, newline))
        number, kept = 1, False
        while line := lines.take():
            if number in gone:
                number += _rest_of_row(line, lines, splitter, codec) if splitter else 0
            else:
                written.write(line)
                kept = True
            number += 1
        if not kept:
            written.write(newline)  # A file of no bytes at all is refused as one that was cut.


def mark_and_codec(opened: BinaryIO, encoding: str) -> tuple[bytes, str]:
    """The byte-order mark that the file starts with, which is read, and a codec that writes none."""
    name = codecs.lookup(encoding).name
    head = opened.read(4)
    mark = next((m for m in _MARKS if head.startswith(m)), b"") if name.startswith("utf") else b""
    opened.seek(len(mark))
    if name in _OF_MARKS:
        return mark, _OF_MARKS[name].get(mark, f"{name}-le")
    return mark, "utf-8" if name == "utf-8-sig" else name


def _written_in(dataset: Dataset, held: Path) -> tuple[RecordSplitter | None, str]:
    """What splits CSV, and the encoding."""
    name = held.name
    if dataset.format == "csv":
        options, _ = detected(dataset.csv, dataset.contract, held, name)
        return RecordSplitter(options.delimiter, options.quote, frozenset(), options.escape), options.encoding
    declared = dataset.encoding if dataset.format == "jsonl" else dataset.fixed_width.encoding
    return None, detected_encoding(declared, held, name, "text")


class _Lines:
    """Lines one after the other, which may be given back."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._given_back: deque[bytes] = deque()

    def take(self) -> bytes:
        """The next one; b"" at the end."""
        return self._given_back.popleft() if self._given_back else next(self._lines, b"")

    def give_back(self, lines: Sequence[bytes]) -> None:
        self._given_back.extendleft(reversed(lines))


def _rest_of_row(first: bytes, lines: _Lines, splitter: RecordSplitter, codec: str) -> int:
    """Take the lines that the row of the line `first` goes on to; how many. None, as in reading, if a quote is never closed."""
    taken: list[bytes] = []
    wanted = 0
    while True:
        while len(taken) < wanted and (line := lines.take()):
            taken.append(line)
        try:
            text = b"".join([first, *taken]).decode(codec)
        except UnicodeDecodeError:
            raise CannotRewrite(f"a line cannot be decoded by itself as {codec}") from None
        text = text if text.endswith("\n") else f"{text}\n"
        record, after = splitter.record_at(text, 0)
        if record is not None or len(taken) < wanted or len(text) > MAX_LINE_BYTES:
            own = text.count("\n", 0, after) - 1 if record is not None else 0
            lines.give_back(taken[own:])
            return own
        wanted = 2 * wanted + 1


def _lines(opened: BinaryIO, newline: bytes) -> Iterator[bytes]:
    """Yield the lines with their ends."""
    if newline == b"\n":
        yield from opened
        return
    size, rest = len(newline), b""
    while piece := opened.read(_PIECE_BYTES):
        data, start, at = rest + piece, 0, -1
        while (at := data.find(newline, at + 1)) >= 0:
            if at % size == 0:
                yield data[start : at + size]
                start = at + size
        rest = data[start:]
    if rest:
        yield rest
