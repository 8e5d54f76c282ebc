"""Excel workbooks (xlsx, xlsm, xlsb, xls) and OpenDocument ones, one sheet of each.

A cell is read as what it holds, not as it is formatted: a whole number is written without a point, a date as ISO 8601. Excel
computes and shows 15 significant digits, so a fraction is read to those, the sum of 0.1 and 0.2 as 0.3; a column that the
contract declares `DOUBLE` gets the number as it is. A whole number too large for a double to tell from its neighbours is given
in exponent notation, which no integer column accepts. A row with a cell that holds an error is refused. A row without any value
is no row.
"""

from __future__ import annotations

import datetime as dt
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from caudal.lake.readers.biff import COMPOUND_FILE
from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.drift import match_columns
from caudal.lake.readers.excel_errors import Errors, error_cells
from caudal.lake.readers.rows import Problem, Rows, Unreadable, text_batch, text_columns, undeclared_text

if TYPE_CHECKING:
    import pyarrow as pa
    from python_calamine import CalamineSheet

    from caudal.contracts import Column
    from caudal.lake.dataset import Dataset, ExcelOptions

_BATCH_ROWS = 8_192

#: Reading a workbook takes about so many times its size: it is compressed, and held in memory.
_EXPANSION = 30

_EXACT_INTEGERS = 2**53
_EXCEL_DIGITS = 15

_DAMAGED = (ValueError, LookupError, StopIteration, EOFError, OSError, zipfile.BadZipFile, ParseError, struct.error)


def read_excel(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one sheet.

    Raises:
        Unreadable: it is no workbook that can be opened, has not the declared sheet, or other columns than the contract.

    """
    options, contract = dataset.excel, dataset.contract
    head = head_of(file, path, "an Excel workbook")
    if not head.startswith((b"PK\x03\x04", COMPOUND_FILE)):
        raise Unreadable(f"{path}: this is {recognised(head) or 'something else, perhaps text'}, not an Excel workbook")
    sheet, errors = _open(options, file, path)
    where = f"sheet `{sheet.name}`, row {options.header_row}"
    header = _header(sheet, options.header_row, f"{path}, {where}")
    named = [place for place, name in enumerate(header) if name]
    matched = match_columns([header[place] for place in named], contract, path, where)
    undeclared = undeclared_text(matched.ignored)
    table = _Table(
        columns=[(c, None if p is None else named[p]) for c, p in zip(contract.columns, matched.positions, strict=True)],
        unnamed=[] if contract.drift == "ignore" else [place for place, name in enumerate(header) if not name],
        nulls=frozenset(("", *options.null_markers)),
        first_row=options.header_row + 1,
    )
    weight = file.stat().st_size * _EXPANSION
    return Rows(text_columns(contract), lambda: table.batches(sheet, errors), undeclared, weight)


def _open(options: ExcelOptions, file: Path, path: str) -> tuple[CalamineSheet, Errors]:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

    try:
        workbook = CalamineWorkbook.from_path(file)
        names = [s.name for s in workbook.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
        name = options.sheet if options.sheet is not None else names[0] if len(names) == 1 else None
        if name not in names:
            raise Unreadable(_sheet_message(options.sheet, names, path))
        sheet = workbook.get_sheet_by_name(name)
        return sheet, error_cells(file, name, workbook.sheet_names.index(name))
    except PasswordError:
        raise Unreadable(f"{path}: the workbook has a password. Save it without one") from None
    except (CalamineError, *_DAMAGED) as broken:
        why = " ".join(str(broken).replace(str(file), path).split())[:300]
        raise Unreadable(
            f"{path}: the workbook is damaged, was not written to its end, or is none ({why}). Save it again and deliver it"
        ) from None


def _sheet_message(declared: str | None, names: Sequence[str], path: str) -> str:
    listed = ", ".join(f"`{n}`" for n in names)
    if declared is None:
        return f"{path}: the workbook has {len(names)} sheets: {listed}. Declare which one: `excel.sheet`"
    return f"{path}: there is no sheet `{declared}` in the workbook; there are: {listed}. Rename it, or declare `excel.sheet`"


def _header(sheet: CalamineSheet, row: int, where: str) -> list[str]:
    """The names in the header row; "" for a column without one."""
    cells = next(islice(sheet.iter_rows(), row - 1, row), None)
    names = [_text(cell, None, frozenset()) for cell in cells or ()]
    if not any(names):
        raise Unreadable(f"{where}: it should name the columns and is empty. Declare the row that does: `excel.header_row`")
    return [(name or "").strip() for name in names]


@dataclass(frozen=True)
class _Table:
    """Where the values stand.

    Attributes:
        columns: of the contract, each with its place in a row; None where the sheet does not have it.
        unnamed: places under no column name that must be empty.
        nulls: texts that stand for no value.
        first_row: of the values, from 1.

    """

    columns: list[tuple[Column, int | None]]
    unnamed: list[int]
    nulls: frozenset[str]
    first_row: int

    def batches(self, sheet: CalamineSheet, errors: Errors) -> Iterator[pa.RecordBatch]:
        names = [column.name for column, _ in self.columns]
        left = sheet.start[1] if sheet.start else 0
        faulty_rows = {row for row, _ in errors}
        rows: list[list[str | None]] = []
        places: list[int] = []
        problems: dict[int, Problem] = {}
        for number, cells in enumerate(sheet.iter_rows(), 1):
            faulty = number - 1 in faulty_rows
            if number < self.first_row or not (faulty or any(cell != "" for cell in cells)):
                continue
            if faulty or self.unnamed:
                problem = self._problem(cells, number, left, errors)
                if problem:
                    problems[len(rows)] = problem
            rows.append([None if p is None else _text(cells[p], column, self.nulls) for column, p in self.columns])
            places.append(number)
            if len(rows) >= _BATCH_ROWS:
                yield text_batch(list(zip(*rows, strict=True)), names, places, problems)
                rows, places, problems = [], [], {}
        if rows:
            yield text_batch(list(zip(*rows, strict=True)), names, places, problems)

    def _problem(self, cells: Sequence[Any], number: int, left: int, errors: Errors) -> Problem | None:
        for column, place in self.columns:
            if place is not None and (error := errors.get((number - 1, left + place))):
                return Problem(f"the cell {_reference(left + place, number)} holds an error", error, column.name)
        for place in self.unnamed:
            shown = errors.get((number - 1, left + place)) or _text(cells[place], None, frozenset())
            if shown:
                return Problem(f"the cell {_reference(left + place, number)} stands under no column name", shown)
        return None


def _text(cell: Any, column: Column | None, nulls: frozenset[str]) -> str | None:
    """What the cell holds, as text."""
    kind = type(cell)
    if kind is str:
        return None if cell in nulls else cell
    if kind is float:
        if cell.is_integer():
            return str(int(cell)) if abs(cell) < _EXACT_INTEGERS else f"{cell:.17e}"
        exact = repr(cell)
        if len(exact) <= _EXCEL_DIGITS or (column is not None and column.logical_type == "number" and not column.is_decimal):
            return exact
        return min(exact, f"{cell:.{_EXCEL_DIGITS}g}", key=len)
    if kind is bool:
        return "true" if cell else "false"
    if kind is dt.datetime:
        return cell.isoformat(" ")
    if kind is dt.date:
        midnight = " 00:00:00" if column is not None and column.logical_type == "timestamp" else ""
        return cell.isoformat() + midnight
    if kind is dt.timedelta:
        seconds, microseconds = divmod(cell // dt.timedelta(microseconds=1), 1_000_000)
        fraction = f".{microseconds:06}" if microseconds else ""
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"
    return cell.isoformat() if kind is dt.time else str(cell)


def _reference(column: int, row: int) -> str:
    letters = ""
    while column >= 0:
        letters = chr(65 + column % 26) + letters
        column = column // 26 - 1
    return f"{letters}{row}"
