"""An Office Open XML workbook (xlsx, xlsm): its sheets, strings, styles and dates (ECMA-376, parts 1 and 2)."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from caudal.lake.readers.excel import cells as kinds
from caudal.lake.readers.excel.cells import Cells
from caudal.lake.readers.excel.sheet_xml import SheetReading
from caudal.lake.readers.excel.slow_xml import slow_strings
from caudal.lake.readers.excel.tokens import pieces, slices, tags_of, unescaped, word
from caudal.lake.readers.excel.workbook import Range, Sheet, TooLarge, arrow_compute, column_number, refuse_large

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.lake.options import Limits

#: Parts that are read as a whole are no larger; nor are the strings, which are held in memory.
_PART_BYTES, _STRINGS_BYTES = 64 << 20, 1 << 30

#: The cells of a sheet up to this size are kept, for the other tables that may stand in it.
_KEPT_BYTES = 16 << 20

_NUMBERED_RELATIONSHIP = "}id"
_MERGED = re.compile(rb"""<(?:[\w.-]+:)?mergeCell\s[^>]*?ref\s*=\s*["']([A-Z]+)(\d+):([A-Z]+)(\d+)""")

#: Formats of Excel's own, by number: dates and times, and durations. (Those of East Asian editions count too.)
_MOMENTS = {*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)}
_DURATIONS = {46}

#: What a format shows as it stands, or that is no letter of a date: quoted, escaped, filled, spaced; conditions and colours.
_LITERAL = re.compile(r'"[^"]*"?|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]|General|E[+-]', re.IGNORECASE)


class XmlWorkbook:
    """A workbook in a zip archive.

    Raises:
        ValueError, LookupError, zipfile.BadZipFile, ElementTree.ParseError: it is damaged.

    """

    def __init__(self, file: Path, limits: Limits) -> None:
        self._file, self._limits, self.keeps = file, limits, False
        with zipfile.ZipFile(file) as archive:
            self._parts = {info.filename.replace("\\", "/").lower(): info for info in archive.infolist()}
            package = _relations(self._read(archive, "_rels/.rels"), "")
            self._workbook = next(target for _, kind, target in package if kind.endswith("/officeDocument"))
            root = self._xml(archive, self._workbook)
            folder, _, name = self._workbook.rpartition("/")
            self._related = list(_relations(self._read(archive, posixpath.join(folder, "_rels", f"{name}.rels")), folder))
        by_id = {identity: (kind, target) for identity, kind, target in self._related}
        self.is_1904 = any(e.get("date1904") in ("1", "true") for e in _named(root, "workbookPr"))
        self._is_stale = any(e.get("fullCalcOnLoad") in ("1", "true") for e in _named(root, "calcPr"))
        self._targets: dict[str, str] = {}
        self.sheets: list[Sheet] = []
        for element in _named(root, "sheet"):
            kind, target = by_id[next(v for k, v in element.items() if k.endswith(_NUMBERED_RELATIONSHIP))]
            if kind.endswith("/worksheet"):
                name = element.get("name", "")
                self._targets[name] = target
                self.sheets.append(Sheet(name, is_hidden=element.get("state", "visible") != "visible"))
        self._kept: dict[str, list[Cells]] = {}

    def weight_bytes(self, sheet: str) -> int:
        """About how much of it is in memory, or how long it takes, when the sheet is read."""
        return self._parts[self._targets[sheet]].file_size

    def cells(self, sheet: str) -> Iterator[Cells]:
        """The cells of a sheet.

        Raises:
            ValueError, LookupError, zipfile.BadZipFile, ElementTree.ParseError: it is damaged.

        """
        if sheet in self._kept:
            yield from self._kept[sheet]
            return
        part = self._targets[sheet]
        keep: list[Cells] | None = [] if self.keeps and self._parts[part].file_size <= _KEPT_BYTES else None
        with zipfile.ZipFile(self._file) as archive, archive.open(self._admitted(part)) as opened:
            for cells in self._reading.cells(opened):
                if keep is not None:
                    keep.append(cells)
                yield cells
        if keep is not None:
            self._kept[sheet] = keep

    def merged(self, sheet: str) -> list[Range]:
        """Cells that are shown as one."""
        found, before = [], b""
        with zipfile.ZipFile(self._file) as archive, archive.open(self._admitted(self._targets[sheet])) as opened:
            while piece := opened.read(1 << 20):
                held = before + piece
                cut = max(held.rfind(b">"), 0)
                found += _MERGED.findall(held, 0, cut)
                before = held[cut:]
        return [Range(int(r1), column_number(c1.decode()), int(r2), column_number(c2.decode())) for c1, r1, c2, r2 in found]

    @cached_property
    def _reading(self) -> SheetReading:
        with zipfile.ZipFile(self._file) as archive:
            return SheetReading(self._strings(archive), self._styles(archive), self.is_1904, self._is_stale)

    def _related_part(self, kind: str) -> str | None:
        found = (target for _, told, target in self._related if told.endswith(f"/{kind}"))
        return next((target for target in found if target in self._parts), None)

    def _strings(self, archive: zipfile.ZipFile) -> pa.Array:
        import pyarrow as pa

        part = self._related_part("sharedStrings")
        if part is None:
            return pa.array([], pa.string())
        info = self._admitted(part)
        if info.file_size > _STRINGS_BYTES:
            raise TooLarge(
                f"its strings take {info.file_size >> 20} MiB, and at most {_STRINGS_BYTES >> 20} are held in memory"
            )
        with archive.open(info) as opened:
            found = [_strings_of(piece) for piece in pieces(opened, "sst", "si")]
        strings = pa.chunked_array(found, pa.large_string()).combine_chunks()
        return strings.cast(pa.string()) if strings.nbytes < (1 << 31) else strings

    def _styles(self, archive: zipfile.ZipFile) -> np.ndarray:
        import numpy as np

        part = self._related_part("styles")
        if part is None:
            return np.full(1, kinds.NUMBER, np.uint8)
        root = self._xml(archive, part)
        own = {int(e.get("numFmtId", 0)): format_kind(e.get("formatCode", "")) for e in _named(root, "numFmt")}
        used = next(_named(root, "cellXfs"), ())
        numbers = [int(e.get("numFmtId", 0)) for e in used]
        return np.array([own.get(n, _own_kind(n)) for n in numbers] or [kinds.NUMBER], np.uint8)

    def _xml(self, archive: zipfile.ZipFile, part: str) -> ET.Element:
        return _parsed(self._read(archive, part))

    def _read(self, archive: zipfile.ZipFile, part: str) -> bytes:
        info = self._admitted(part)
        if info.file_size > _PART_BYTES:
            raise TooLarge(f"`{info.filename}` takes {info.file_size >> 20} MiB, and at most {_PART_BYTES >> 20} are read")
        return archive.read(info)

    def _admitted(self, part: str) -> zipfile.ZipInfo:
        """A part that is not larger than the limits allow: no more is ever unpacked than its entry says."""
        refuse_large(self._parts[part], self._limits)
        return self._parts[part]


def format_kind(code: str) -> int:
    """Whether a number in this format is shown as a `NUMBER`, a `MOMENT` or a `DURATION`."""
    shown = _LITERAL.sub("", code).partition(";")[0].lower()
    if re.search(r"\[(?:h+|m+|s+)\]", shown):
        return kinds.DURATION
    return kinds.MOMENT if re.search("[dmyhs]", shown) else kinds.NUMBER


def _own_kind(number: int) -> int:
    return kinds.DURATION if number in _DURATIONS else kinds.MOMENT if number in _MOMENTS else kinds.NUMBER


def _strings_of(piece: bytes) -> pa.Array:
    """The texts of elements `si`."""
    import numpy as np
    import pyarrow as pa

    pc = arrow_compute()
    tags = tags_of(piece)
    if tags is None:
        return pa.array(slow_strings(piece), pa.large_string())
    at = np.flatnonzero(tags.names == word(b"<si"))
    simple = (tags.first[at] == word(b"<si>")) & ~tags.closes_itself(at + 1) & (tags.first[at + 3] == word(b"</si"))
    simple &= (tags.names[at + 1] == word(b"<t>")) | (tags.names[at + 1] == word(b"<t "))
    plain = at[simple]
    texts = unescaped(slices(piece, tags.ends[plain + 1] + 1, tags.starts[plain + 2]))
    if not simple.all():
        bounds = tags.starts[np.append(at, 0)]
        bounds[-1] = len(piece)
        odd = np.flatnonzero(~simple)
        written = b"".join(piece[bounds[i] : bounds[i + 1]] for i in odd.tolist())
        order = np.argsort(np.concatenate([np.flatnonzero(simple), odd]), kind="stable")
        texts = pa.concat_arrays([texts, pa.array(slow_strings(written), pa.string())]).take(pa.array(order))
    return pc.cast(texts, pa.large_string())


def _parsed(data: bytes) -> ET.Element:
    if b"<!DOCTYPE" in data or b"<\0!\0D\0O\0C\0T\0" in data:
        raise ValueError("it declares a document type, which no workbook does")
    return ET.fromstring(data)  # noqa: S314


def _named(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (e for e in root.iter() if e.tag.rpartition("}")[2] == name)


def _relations(data: bytes, folder: str) -> Iterator[tuple[str, str, str]]:
    """Of each relationship: its name, its kind, and the part that it leads to, in lower case."""
    for element in _parsed(data):
        target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", "").replace("\\", "/")))
        yield element.get("Id", ""), element.get("Type", ""), target.removeprefix("/").lower()
