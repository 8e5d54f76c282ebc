"""Elements taken out of a JSON array or an XML document. What stands around them, and between others, stays as it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from caudal.lake.readers.dialect import detected_encoding
from caudal.lake.readers.json_arrays import Document
from caudal.lake.readers.text import read_pieces
from caudal.lake.readers.xml_records import RecordHandler
from caudal.runtime.erasure.rewriting import CannotRewrite
from caudal.runtime.erasure.rewriting.lines import mark_and_codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from xml.parsers.expat import XMLParserType

    from caudal.lake.dataset import Dataset

_PIECE_BYTES = 1 << 20

#: A whole text, the beginning of one that goes on, or a mark.
_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]', re.DOTALL)


def without_json_elements(dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """An element goes with the comma before it. Text is decoded and written again in its encoding, the same byte for byte
    in all that write a character in one way alone.
    """
    encoding = detected_encoding(dataset.encoding, held, held.name, "JSON")
    with held.open("rb") as opened:
        mark, codec = mark_and_codec(opened, encoding)
    with target.open("wb") as written:
        written.write(mark)
        keys = [key for key in dataset.json.records.split(".") if key]
        for piece in _kept(held, encoding, keys, gone):
            written.write(piece if codec == "utf-8" else piece.decode().encode(codec))


def _kept(held: Path, encoding: str, keys: list[str], gone: Collection[int]) -> Iterator[bytes]:
    """The document as UTF-8, without the elements."""
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for piece in read_pieces(held, held.name, encoding, _PIECE_BYTES):
            taken += len(piece)
            yield piece

    document = Document(counted(), held.name)
    document.open_array(keys)
    rest = document.take()
    start = taken - len(rest)
    pieces = read_pieces(held, held.name, encoding, _PIECE_BYTES)
    while start > len(piece := next(pieces)):
        yield piece
        start -= len(piece)
    yield piece[:start]
    yield from _kept_elements(piece[start:], pieces, gone)
    yield from pieces


def _kept_elements(data: bytes, pieces: Iterator[bytes], gone: Collection[int]) -> Iterator[bytes]:
    """What follows the opening bracket in `data` and, as far as they are needed, `pieces`."""
    number, depth, start, at, comma = 1, 0, 0, 0, b""
    while True:
        for mark in _MARK.finditer(data, at):
            sign = data[mark.start() : mark.start() + 1]
            if sign == b'"' and not mark[1]:
                break  # It goes on in the next piece.
            at = mark.end()
            depth += (sign in b"{[") - (sign in b"}]")
            if depth < 0 or (depth == 0 and sign == b","):
                if number not in gone:
                    yield comma + data[start : mark.start()]
                    comma = b","
                if depth < 0:
                    yield data[mark.start() :]
                    return
                number, start = number + 1, at
        more = next(pieces, b"")
        if not more:
            raise CannotRewrite("the JSON array does not end")
        data, start, at = data[start:] + more, 0, at - start


def without_xml_elements(dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """An element is taken out from its tag to its end tag. The blanks around it stay.

    Raises:
        CannotRewrite: it is the document itself.

    """
    spans = _Spans(dataset, gone).of(held)
    with held.open("rb") as opened, target.open("wb") as written:
        for start, end in spans:
            _copy(opened.read, written.write, start - opened.tell())
            opened.seek(end)
        _copy(opened.read, written.write, None)


class _Spans(RecordHandler):
    """Where elements begin and end in a file, in bytes."""

    def __init__(self, dataset: Dataset, gone: Collection[int]) -> None:
        super().__init__(dataset.xml, dataset.limits.depth)
        self._gone, self._number = gone, 0
        self._begun, self._is_ended = 0, False
        self._spans: list[tuple[int, int]] = []

    def of(self, held: Path) -> list[tuple[int, int]]:
        from xml.parsers import expat

        parser = expat.ParserCreate(namespace_separator=self.separator)
        self.listen_to(parser)
        with held.open("rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                parser.Parse(piece, False)
                self.take()
            parser.Parse(b"", True)
        if self._is_ended:
            raise CannotRewrite("the row is the whole document")
        return self._spans

    def listen_to(self, parser: XMLParserType) -> None:
        super().listen_to(parser)
        parser.buffer_text = False  # Text that is held back would be told of at the place of what follows it.
        parser.StartElementHandler = self._also(self._start)
        parser.EndElementHandler = self._also(self._end)
        parser.CharacterDataHandler = self._also(self._characters)
        parser.DefaultHandlerExpand = self._also(lambda *_: None)

    def _also(self, handle: Callable[..., None]) -> Callable[..., None]:
        """`handle`, and see whether a row begins or ends there: it ends where the next thing begins."""

        def told(*given: object) -> None:
            place = self._parser.CurrentByteIndex
            if self._is_ended:
                self._spans.append((self._begun, place))
                self._is_ended = False
            was_open = bool(self._open)
            handle(*given)
            if self._open and not was_open:
                self._begun, self._number = place, self._number + 1
            elif was_open and not self._open:
                self._is_ended = self._number in self._gone

        return told


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], size: int | None) -> None:
    """Copy so many bytes; None: all that are left."""
    while (size is None or size > 0) and (piece := read(_PIECE_BYTES if size is None else min(size, _PIECE_BYTES))):
        write(piece)
        size = None if size is None else size - len(piece)
