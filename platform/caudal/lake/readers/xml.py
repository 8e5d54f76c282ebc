"""XML documents in which one element, repeated, is the rows.

The columns of a row are the element's children, by their text, and its attributes, as `@name`. An attribute of a child with
text is a column `child/@name`. What has elements in it, and what stands there more than once, is JSON text: attributes as
`@name`, the text beside them as `#text`. A name in a namespace is called by what follows the prefix, with the prefix that
`xml.namespaces` gives the namespace, if it does. A child that is not there, or has `xsi:nil`, is no value. A row with text
between elements is rejected: its order would be lost.

A document type declaration is refused, and with it all entities but XML's own: they may unfold to any size, and read other
files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.jsonl import rows_of_lines
from caudal.lake.readers.rows import Rows, Unreadable
from caudal.lake.readers.text import MAX_LINE_BYTES, Block
from caudal.lake.readers.xml_records import RecordHandler, Refused, Row

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

    from caudal.contracts import Contract
    from caudal.lake.dataset import Dataset

_PIECE_BYTES = 256 << 10

#: Rows of one block are given together.
_BLOCK_ROWS = 8_192
_BLOCK_BYTES = 4 << 20

_AN_XML_DOCUMENT = "an XML document"


def read_xml(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is recognisably no XML document.

    """
    head = head_of(file, path, _AN_XML_DOCUMENT)
    found = recognised(head)
    if found and found != _AN_XML_DOCUMENT:
        raise Unreadable(f"{path}: this is {found}, not {_AN_XML_DOCUMENT}. Deliver XML, or declare the format otherwise")
    return rows_of_lines(dataset.contract, lambda: _blocks(dataset, file, path), file.stat().st_size)


def _blocks(dataset: Dataset, file: Path, path: str) -> Iterator[Block]:
    """Yield the rows as lines of JSON, each with its number from 1."""
    handler = RecordHandler(dataset.xml, dataset.limits.depth)
    writer = _Writer(dataset)
    given = 0
    for row in _rows(handler, file, path):
        writer.add(row)
        if writer.full:
            yield writer.take()
        given += 1
    if writer.lines:
        yield writer.take()
    if not given and handler.others:
        seen = ", ".join(f"`{name}`" for name in sorted(handler.others)[:10])
        raise Unreadable(f"{path}: there is no `{dataset.xml.record}`; in its place there are {seen}. Correct `xml.record`")


def _rows(handler: RecordHandler, file: Path, path: str) -> Iterator[Row]:
    from xml.parsers import expat

    parser = expat.ParserCreate(namespace_separator=handler.separator)
    handler.listen_to(parser)
    fed = 0
    with file.open("rb") as opened:
        while True:
            piece = opened.read(_PIECE_BYTES)
            try:
                parser.Parse(piece, not piece)
            except expat.ExpatError as broken:
                told = f"{expat.errors.messages[broken.code]} (line {broken.lineno}, character {broken.offset + 1})"
                raise Unreadable(f"{path}: the XML document is damaged or was not written to its end: {told}") from None
            except Refused as refused:
                raise Unreadable(f"{path}, line {parser.CurrentLineNumber}: {refused}") from None
            except (ValueError, LookupError) as bad:
                raise Unreadable(f"{path}: its prolog declares an encoding that is not read ({bad}). Deliver UTF-8") from None
            fed += len(piece)
            yield from handler.take()
            if fed - max(_place(parser), 0) > MAX_LINE_BYTES or handler.row_bytes > MAX_LINE_BYTES:
                raise Unreadable(
                    f"{path}, line {parser.CurrentLineNumber}: a row or a tag is longer than {MAX_LINE_BYTES >> 20} MiB"
                )
            if not piece:
                return


def _place(parser: XMLParserType) -> int:
    return parser.CurrentByteIndex


class _Writer:
    """Rows, written as lines of JSON."""

    def __init__(self, dataset: Dataset) -> None:
        self._contract: Contract = dataset.contract
        self._arrays = {c.name for c in dataset.contract.columns if c.logical_type == "array"}
        self._nulls = frozenset(dataset.xml.null_markers)
        self._names = {c.name: {c.name.lower(), *(n.lower() for n in c.renamed_from)} for c in dataset.contract.columns}
        self.lines: list[str] = []
        self._faults: dict[int, str] = {}
        self._first, self._size = 1, 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= _BLOCK_ROWS or self._size >= _BLOCK_BYTES

    def add(self, row: Row) -> None:
        """Write a row. What the contract has and the row has not is no value."""
        values = {n: None if type(v) is str and v in self._nulls else v for n, v in row.values.items()}
        for name in self._arrays & values.keys():
            if values[name] is not None and not isinstance(values[name], list):
                values[name] = [values[name]]
        there = {name.lower() for name in values}
        values |= {name: None for name, names in self._names.items() if not names & there}
        if row.fault:
            self._faults[self._first + len(self.lines)] = f"{row.fault} (line {row.line})"
        line = json.dumps(values, ensure_ascii=False)
        self._size += len(line)
        self.lines.append(line)

    def take(self) -> Block:
        """The rows since it was called last."""
        block = Block(("\n".join(self.lines) + "\n").encode(), self._first, self._faults or None)
        self._first += len(self.lines)
        self.lines, self._faults, self._size = [], {}, 0
        return block
