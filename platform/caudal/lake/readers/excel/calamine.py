"""Workbooks in the formats that the library calamine reads for us: xls, xlsb and ods.

Calamine holds a sheet in memory as a rectangle, and gives a cell that holds an error as an empty one. So faults are looked up
beside it, and a sheet whose rectangle is too large is refused before calamine makes it.
"""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.lake.readers.excel import cells as kinds
from caudal.lake.readers.excel.cells import Cells
from caudal.lake.readers.excel.faults import faults_of
from caudal.lake.readers.excel.trial import refuse_what_ends_a_process
from caudal.lake.readers.excel.workbook import Range, Sheet, refuse_large

if TYPE_CHECKING:
    from caudal.lake.options import Limits

_BATCH_CELLS = 1 << 17

#: Reading such a workbook takes about so many times its size.
_EXPANSION = 30


class CalamineWorkbook:
    """A workbook that calamine reads.

    Raises:
        CalamineError, ValueError, LookupError, zipfile.BadZipFile: it is damaged.

    """

    def __init__(self, file: Path, kind: str, limits: Limits) -> None:
        from python_calamine import CalamineWorkbook as Opened
        from python_calamine import SheetTypeEnum, SheetVisibleEnum

        self._file, self.keeps = file, False
        if kind != "xls":
            with zipfile.ZipFile(file) as archive:
                for part in archive.infolist():
                    refuse_large(part, limits)
        self._faults = faults_of(file, kind)
        refuse_what_ends_a_process(file)
        named_so = file.suffix.lower() == f".{kind}"
        self._workbook = Opened.from_path(file) if named_so else Opened.from_filelike(io.BytesIO(file.read_bytes()))
        found = [s for s in self._workbook.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
        self.sheets = [Sheet(s.name, is_hidden=s.visible != SheetVisibleEnum.Visible) for s in found]
        self._index = {name: index for index, name in enumerate(self._workbook.sheet_names)}

    def weight_bytes(self, sheet: str) -> int:  # noqa: ARG002
        """About how much of it is in memory."""
        return self._file.stat().st_size * _EXPANSION

    def merged(self, sheet: str) -> list[Range]:
        """Cells that are shown as one; none where the format's reader does not tell."""
        found = self._workbook.get_sheet_by_name(sheet).merged_cell_ranges or []
        return [Range(r1 + 1, c1, r2 + 1, c2) for (r1, c1), (r2, c2) in found]

    def cells(self, sheet: str) -> Iterator[Cells]:
        """The cells of a sheet."""
        faults = self._faults(sheet, self._index[sheet])
        opened = self._workbook.get_sheet_by_name(sheet)
        left = opened.start[1] if opened.start else 0
        by_row: dict[int, list[int]] = {}
        for row, column in faults:
            by_row.setdefault(row, []).append(column)
        found: list[tuple[int, int, int, str]] = []
        for row, values in enumerate(opened.iter_rows()):
            held = {left + i: _held(value) for i, value in enumerate(values) if value != ""}
            for column in by_row.get(row, ()):
                held[column] = faults[row, column]
            found += [(row + 1, column, *held[column]) for column in (sorted(held) if row in by_row else held)]
            if len(found) >= _BATCH_CELLS:
                yield _cells(found)
                found = []
        if found:
            yield _cells(found)


def _cells(found: list[tuple[int, int, int, str]]) -> Cells:
    import numpy as np
    import pyarrow as pa

    rows, columns, held, raw = zip(*found, strict=True)
    return Cells(
        np.array(rows, np.int32),
        np.array(columns, np.int32),
        np.array(held, np.uint8),
        pa.array(raw, pa.string()),
        pa.array([], pa.string()),
    )


def _held(value: Any) -> tuple[int, str]:
    """What a cell holds, and its text."""
    kind = type(value)
    if kind is str:
        return kinds.TEXT, value
    if kind is bool:
        return kinds.BOOLEAN, "1" if value else "0"
    if kind is dt.timedelta:
        return kinds.DURATION, repr(value / dt.timedelta(days=1))
    if kind in (dt.datetime, dt.date, dt.time):
        return kinds.ISO, value.isoformat()
    return kinds.NUMBER, repr(value)
