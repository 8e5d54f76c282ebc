"""Where a sheet holds errors such as `#REF!`. Calamine gives such a cell as an empty one, which would be silence.

Formats: Office Open XML (ECMA-376), its binary form [MS-XLSB], BIFF8 in a compound file ([MS-XLS], [MS-CFB]), OpenDocument 1.3.
"""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from caudal.lake.readers.biff import COMPOUND_FILE, biff_errors

#: Cells (row, column), both from 0, and the error that each holds.
Errors = dict[tuple[int, int], str]

_CODES = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
}  # fmt: skip
_UNNAMED = "an error"

_XML_ERROR = re.compile(rb"""\bt\s*=\s*["']e["']""")
_ODS_ERROR = re.compile(rb"""value-type\s*=\s*["']error["']""")

_RELATIONSHIP = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_RELATIONSHIP = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"

#: Records of [MS-XLSB].
_ROW, _CELL_ERROR, _FORMULA_ERROR, _SHEET = 0, 3, 11, 156


def error_cells(file: Path, sheet: str, index: int) -> Errors:
    """The cells of a sheet that hold an error.

    Args:
        sheet: its name.
        index: its place among all sheets of the workbook, from 0.

    Raises:
        ValueError, LookupError, StopIteration, zipfile.BadZipFile, ElementTree.ParseError, struct.error: it is damaged.

    """
    with file.open("rb") as opened:
        if opened.read(len(COMPOUND_FILE)) == COMPOUND_FILE:
            return {cell: _CODES.get(code, _UNNAMED) for cell, code in biff_errors(file, index)}
    with zipfile.ZipFile(file) as archive:
        members = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        if "content.xml" in members:
            return dict(_opendocument_errors(archive, sheet)) if _holds(archive, "content.xml", _ODS_ERROR) else {}
        workbook = next(_targets(archive, members, "", lambda r: r.get("Type", "").endswith("/officeDocument")))
        content = archive.read(members[workbook])
        sheets = dict(_binary_sheets(content)) if workbook.endswith(".bin") else _xml_sheets(content)
        part = members[next(_targets(archive, members, workbook, lambda r: r.get("Id") == sheets[sheet]))]
        if workbook.endswith(".bin"):
            return dict(_binary_errors(archive.read(part)))
        return dict(_xml_errors(archive, part)) if _holds(archive, part, _XML_ERROR) else {}


def _holds(archive: zipfile.ZipFile, part: str, wanted: re.Pattern[bytes]) -> bool:
    with archive.open(part) as opened:
        before = b""
        while piece := opened.read(1 << 20):
            if wanted.search(before + piece):
                return True
            before = piece[-64:]
    return False


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


def _xml_sheets(workbook: bytes) -> dict[str, str]:
    sheets = [e for e in ET.fromstring(workbook).iter() if e.tag.endswith("}sheet")]  # noqa: S314
    return {e.get("name", ""): e.get(_RELATIONSHIP) or e.get(_STRICT_RELATIONSHIP) or "" for e in sheets}


def _xml_errors(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[tuple[int, int], str]]:
    with archive.open(part) as opened:
        row, column = -1, -1
        for event, element in _parsed(opened):
            tag = element.tag.rpartition("}")[2]
            if event == "start":
                if tag == "row":
                    row, column = int(element.get("r", row + 2)) - 1, -1
                elif tag == "c":
                    column = _column_of(element.get("r"), column + 1)
            elif tag == "c":
                if element.get("t") == "e":
                    value = next((e.text for e in element if e.tag.endswith("}v")), None)
                    yield (row, column), value or _UNNAMED
                element.clear()
            elif tag == "row":
                element.clear()


def _parsed(opened: IO[bytes]) -> Iterator[tuple[str, ET.Element]]:
    return ET.iterparse(opened, events=("start", "end"))  # noqa: S314


def _column_of(reference: str | None, otherwise: int) -> int:
    if not reference:
        return otherwise
    number = 0
    for letter in reference.rstrip("0123456789"):
        number = number * 26 + ord(letter.upper()) - 64
    return number - 1


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
    row = -1
    for kind, start, _ in _records(data):
        if kind == _ROW:
            row = struct.unpack_from("<I", data, start)[0]
        elif kind in (_CELL_ERROR, _FORMULA_ERROR):
            column = struct.unpack_from("<I", data, start)[0]
            yield (row, column), _CODES.get(data[start + 8], _UNNAMED)


def _opendocument_errors(archive: zipfile.ZipFile, sheet: str) -> Iterator[tuple[tuple[int, int], str]]:
    def attribute(element: ET.Element, name: str) -> str | None:
        return next((v for k, v in element.items() if k.endswith(f"}}{name}")), None)

    with archive.open("content.xml") as opened:
        inside, row = False, 0
        for event, element in _parsed(opened):
            tag = element.tag.rpartition("}")[2]
            if tag == "table" and event == "start":
                inside, row = attribute(element, "name") == sheet, 0
            elif tag == "table-row" and event == "end":
                repeated, column = int(attribute(element, "number-rows-repeated") or 1), 0
                for cell in element:
                    wide = int(attribute(cell, "number-columns-repeated") or 1)
                    if inside and "error" in (v for k, v in cell.items() if k.endswith("}value-type")):
                        shown = "".join(cell.itertext()) or _UNNAMED
                        yield from (((row + r, column + c), shown) for r in range(repeated) for c in range(wide))
                    column += wide
                row += repeated
                element.clear()
