"""Rows and strings of a workbook read tag by tag, in whatever form XML allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from caudal.lake.readers.excel.tokens import unescaped_text


@dataclass
class SlowCell:
    """A cell as it is written. `value` is None without the element `v`; `formula` None without a formula."""

    row: int
    column: int
    kind: str
    style: int
    value: str | None = None
    formula: str | None = None
    inline: list[str] = field(default_factory=list)


def slow_cells(piece: bytes, last_row: int) -> tuple[list[SlowCell], int]:
    """The cells of a piece of whole rows, in the order in which they stand, and the last row.

    Args:
        piece: elements `row`.
        last_row: the row before them, from 1; 0 for none.

    Raises:
        ValueError: no XML, or a cell where none can be.

    """
    reading = _Cells(last_row)
    _parse(piece, reading)
    return reading.cells, reading.row


def slow_strings(piece: bytes) -> list[str]:
    """The texts of elements `si`. Raises `ValueError`."""
    reading = _Strings()
    _parse(piece, reading)
    return reading.strings


class _Text:
    """The text inside elements, but what says how it is pronounced."""

    def __init__(self) -> None:
        self.text: list[str] | None = None
        self._pronounced = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "rPh":
            self._pronounced += 1
        elif tag in ("v", "f") or (tag == "t" and not self._pronounced):
            self.text = []
        self.opened(tag, attributes)

    def end(self, tag: str) -> None:
        if tag == "rPh":
            self._pronounced -= 1
        self.closed(tag, "".join(self.text or ()))
        self.text = None

    def data(self, text: str) -> None:
        if self.text is not None:
            self.text.append(text)

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def closed(self, tag: str, text: str) -> None:
        raise NotImplementedError


class _Cells(_Text):
    def __init__(self, last_row: int) -> None:
        super().__init__()
        self.cells: list[SlowCell] = []
        self.row, self._column = last_row, -1
        self._cell: SlowCell | None = None

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "row":
            self.row, self._column = int(attributes.get("r", self.row + 1)), -1
        elif tag == "c":
            column, row = _place(attributes["r"]) if "r" in attributes else (self._column + 1, self.row)
            if row != self.row:
                raise ValueError(f"the cell {attributes['r']} stands in row {self.row}")
            self._column = column
            self._cell = SlowCell(row, column, attributes.get("t", "n"), int(attributes.get("s") or 0))
            self.cells.append(self._cell)

    def closed(self, tag: str, text: str) -> None:
        cell = self._cell
        if cell is None:
            return
        match tag:
            case "v":
                cell.value = text
            case "f":
                cell.formula = text
            case "t" if self.text is not None:
                cell.inline.append(unescaped_text(text))
            case "c":
                self._cell = None


class _Strings(_Text):
    def __init__(self) -> None:
        super().__init__()
        self.strings: list[str] = []
        self._runs: list[str] = []

    def opened(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002
        if tag == "si":
            self._runs = []

    def closed(self, tag: str, text: str) -> None:
        if tag == "t" and self.text is not None:
            self._runs.append(unescaped_text(text))
        elif tag == "si":
            self.strings.append("".join(self._runs))


def _parse(piece: bytes, reading: _Text) -> None:
    parser: Any = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = reading.start, reading.end, reading.data
    try:
        parser.Parse(b"<items>", False)
        parser.Parse(piece, False)
        parser.Parse(b"</items>", True)
    except expat.ExpatError as broken:
        raise ValueError(f"no well-formed XML: {broken}") from None


def _place(reference: str) -> tuple[int, int]:
    letters = reference.rstrip("0123456789")
    if not (letters.isascii() and letters.isalpha() and len(letters) <= 3) or letters == reference:
        raise ValueError(f"no cell is called {reference}")
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter.upper()) - 64
    return number - 1, int(reference[len(letters) :])
