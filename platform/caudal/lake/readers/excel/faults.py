"""Where a sheet holds errors such as `#REF!`, or formulas without a value: calamine gives such cells as empty, without a word.

Formats: the binary form of Office Open XML [MS-XLSB], BIFF8 in a compound file ([MS-XLS], [MS-CFB]), OpenDocument 1.3.
"""

from __future__ import annotations

import posixpath
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from caudal.lake.readers.excel.biff import biff_errors
from caudal.lake.readers.excel.cells import ERROR, UNCOMPUTED
from caudal.lake.readers.excel.workbook import TooLarge

#: Cells (row, column), both from 0, and of each the kind of the fault and the text of it.
Faults = dict[tuple[int, int], tuple[int, str]]

_CODES = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
}  # fmt: skip
_UNNAMED = "an error"

#: Cells of a sheet that are held in memory, each some 40 bytes.
_MOST_CELLS = 20_000_000
_MOST_FAULTS = 1_000_000

#: Records of [MS-XLSB].
_ROW, _CELL_ERROR, _FORMULA_ERROR, _SHEET = 0, 3, 11, 156
_FULL_CELLS = {*range(2, 12), 62}


def faults_of(file: Path, kind: str) -> Callable[[str, int], Faults]:
    """Look over an `xls`, `xlsb` or `ods` workbook before it is opened.

    Returns:
        a function of a sheet's name and its place among all sheets, from 0: its cells that hold an error, or a formula without
        a value.

    Raises, as that function does:
        Locked: it has a password.
        TooLarge: a sheet, or all that are held in memory together, has too many cells.
        ValueError, LookupError, StopIteration, zipfile.BadZipFile, ElementTree.ParseError, struct.error: it is damaged.

    """
    if kind == "xlsb":
        return lambda name, _: _binary_faults(file, name)
    if kind == "ods":
        by_name = _opendocument_faults(file)
        return lambda name, _: by_name.get(name, {})
    by_index: dict[int, Faults] = {}
    extents: dict[int, _Extent] = {}
    for sheet, row, column, code in biff_errors(file):
        extents.setdefault(sheet, _Extent()).add(row, column)
        if code is not None:
            by_index.setdefault(sheet, {})[row, column] = ERROR, _CODES.get(code, _UNNAMED)
    _refuse_many(extents.values())
    return lambda _, index: by_index.get(index, {})


def _refuse_many(extents: Iterable[_Extent]) -> None:
    together = sum(extent.cells for extent in extents)
    if together > _MOST_CELLS:
        raise TooLarge(
            f"its sheets take {together} cells, and at most {_MOST_CELLS} are held in memory; as .xlsx it can be read"
        )


class _Extent:
    """The rectangle that the cells of a sheet take, which calamine holds in memory."""

    def __init__(self) -> None:
        self._rows: tuple[int, int] | None = None
        self._columns = (0, 0)

    @property
    def cells(self) -> int:
        (top, bottom), (left, right) = self._rows or (0, -1), self._columns
        return (bottom - top + 1) * (right - left + 1)

    def add(self, row: int, column: int) -> None:
        """Take in a cell. Raises `TooLarge`."""
        (top, bottom), (left, right) = self._rows or (row, row), self._columns if self._rows else (column, column)
        self._rows, self._columns = (min(top, row), max(bottom, row)), (min(left, column), max(right, column))
        height, width = (last - first + 1 for first, last in (self._rows, self._columns))
        if height * width > _MOST_CELLS:
            raise TooLarge(
                f"its cells stand so far apart that they take {height} rows of {width} columns, and at most {_MOST_CELLS} "
                "cells are held in memory; saved as .xlsx it can be read"
            )


def _binary_faults(file: Path, sheet: str) -> Faults:
    with zipfile.ZipFile(file) as archive:
        members = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        workbook = next(_targets(archive, members, "", lambda r: r.get("Type", "").endswith("/officeDocument")))
        sheets = dict(_binary_sheets(archive.read(members[workbook])))
        part = members[next(_targets(archive, members, workbook, lambda r: r.get("Id") == sheets[sheet]))]
        return {cell: (ERROR, told) for cell, told in _binary_errors(archive.read(part))}


def _targets(
    archive: zipfile.ZipFile, members: dict[str, str], source: str, wanted: Callable[[ET.Element], bool]
) -> Iterator[str]:
    """The parts that the part `source` (the package itself: "") has a relationship to, in lower case."""
    folder, _, name = source.rpartition("/")
    relationships = posixpath.join(folder, "_rels", f"{name}.rels")
    for element in ET.fromstring(archive.read(members[relationships])):  # noqa: S314
        if wanted(element):
            target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", "").replace("\\", "/")))
            yield target.removeprefix("/").lower()


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The records of an [MS-XLSB] part: type, and where its data begin and end."""
    position = 0
    while position < len(data):
        kind = data[position]
        position += 1
        if kind & 0x80:
            kind = kind & 0x7F | data[position] << 7
            position += 1
        size = shift = 0
        while True:
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield kind, position, position + size
        position += size


def _binary_sheets(data: bytes) -> Iterator[tuple[str, str]]:
    for kind, start, _ in _records(data):
        if kind == _SHEET:
            relationship, after = _wide_string(data, start + 8)
            name, _ = _wide_string(data, after)
            yield name, relationship


def _wide_string(data: bytes, start: int) -> tuple[str, int]:
    end = start + 4 + 2 * struct.unpack_from("<I", data, start)[0]
    return data[start + 4 : end].decode("utf-16-le"), end


def _binary_errors(data: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    row, extent = -1, _Extent()
    for kind, start, _ in _records(data):
        if kind == _ROW:
            row = struct.unpack_from("<I", data, start)[0]
        elif kind in _FULL_CELLS:
            column = struct.unpack_from("<I", data, start)[0]
            extent.add(row, column)
            if kind in (_CELL_ERROR, _FORMULA_ERROR):
                yield (row, column), _CODES.get(data[start + 8], _UNNAMED)


def _opendocument_faults(file: Path) -> dict[str, Faults]:
    """Of each sheet."""
    found: dict[str, Faults] = {}
    extents: list[_Extent] = []
    with zipfile.ZipFile(file) as archive, archive.open("content.xml") as opened:
        faults: Faults = {}
        row = 0
        for event, element in ET.iterparse(opened, events=("start", "end")):  # noqa: S314
            tag = element.tag.rpartition("}")[2]
            if tag == "table" and event == "start":
                faults = found[_attribute(element, "name") or ""] = {}
                extents.append(_Extent())
                row = 0
            elif tag == "table-row" and event == "end" and extents:
                row += _look_over(element, row, extents[-1], faults)
                element.clear()
    _refuse_many(extents)
    return found


def _look_over(element: ET.Element, row: int, extent: _Extent, faults: Faults) -> int:
    """Look over the cells of a row that stands for one or more. Returns how many."""
    repeated, column = int(_attribute(element, "number-rows-repeated") or 1), 0
    for cell in element:
        wide = int(_attribute(cell, "number-columns-repeated") or 1)
        fault = _opendocument_fault(cell)
        if fault or _attribute(cell, "value-type"):
            extent.add(row, column)
            extent.add(row + repeated - 1, column + wide - 1)
        if fault:
            if len(faults) + repeated * wide > _MOST_FAULTS:
                raise TooLarge(f"more than {_MOST_FAULTS} of its cells hold an error or a formula that was never computed")
            faults |= {(row + r, column + c): fault for r in range(repeated) for c in range(wide)}
        column += wide
    return repeated


def _opendocument_fault(cell: ET.Element) -> tuple[int, str] | None:
    types = [v for k, v in cell.items() if k.endswith("}value-type")]
    if "error" in types:
        return ERROR, "".join(cell.itertext()) or _UNNAMED
    formula = _attribute(cell, "formula")
    if formula is None or types:
        return None
    return UNCOMPUTED, formula.partition("=")[2] or formula


def _attribute(element: ET.Element, name: str) -> str | None:
    return next((v for k, v in element.items() if k.endswith(f"}}{name}")), None)
