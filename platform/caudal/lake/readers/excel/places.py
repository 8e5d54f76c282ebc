"""Where the tables of a workbook stand: in which sheets, and in which blocks of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from caudal.lake.excel_options import ExcelOptions, parsed_cell, parsed_range
from caudal.lake.readers.excel.workbook import COLUMNS, LAST_ROW, Range, Sheet, Workbook, reference
from caudal.lake.readers.rows import MEMBER, Unreadable


@dataclass(frozen=True)
class Place:
    """Where a table stands.

    Attributes:
        sheet: its name.
        range: its cells, with the header and what stands above it.
        titles: cells (row, column) whose values are columns of the table, by the column's name.
        member: what it is called where the workbook has many; None for the only one.

    """

    sheet: str
    range: Range
    titles: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    member: str | None = None


@dataclass(frozen=True)
class Missing:
    """A table that is declared and not there, or there and not declared: what it would be called, and what to tell."""

    member: str
    reason: str


#: The tables of workbooks that are in use.
_FOUND: WeakKeyDictionary[Workbook, tuple[ExcelOptions, list[Place | Missing]]] = WeakKeyDictionary()


def places(options: ExcelOptions, workbook: Workbook) -> list[Place | Missing]:
    """The tables of a workbook.

    Raises:
        Unreadable: the sheet is not there, or it is not told which one. Without the file's name.

    """
    known = _FOUND.get(workbook)
    if known is None or known[0] != options:
        _FOUND[workbook] = known = (options, list(_places(options, workbook)))
    return known[1]


def _places(options: ExcelOptions, workbook: Workbook) -> Iterator[Place | Missing]:
    workbook.keeps = bool(options.blocks or options.block_starts)
    for sheet in _sheets(options, workbook.sheets):
        if isinstance(sheet, Missing):
            yield sheet
            continue
        member = sheet if options.sheets else None
        if options.block_starts:
            yield from _repeated(options, workbook, sheet)
        elif options.blocks:
            for block in options.blocks:
                found = parsed_range(block.range)
                corner = reference(found.first_column, found.first_row)
                titles = {name: parsed_cell(cell) for name, cell in {**options.title_cell_as, **block.title_cell_as}.items()}
                yield Place(sheet, found, titles, f"{sheet}{MEMBER}{corner}")
        else:
            titles = {name: parsed_cell(cell) for name, cell in options.title_cell_as.items()}
            yield Place(sheet, Range(1, 0, LAST_ROW, COLUMNS - 1), titles, member)


def _sheets(options: ExcelOptions, sheets: Sequence[Sheet]) -> Iterator[str | Missing]:
    visible = [s.name for s in sheets if not s.is_hidden]
    known = [s.name for s in sheets]
    if not options.sheets:
        yield _only_sheet(options.sheet, sheets)
        return
    taken: set[str] = set()
    missing = []
    for wanted in options.sheets:
        found = [wanted] if wanted in known else fnmatch.filter(visible, wanted)
        if not found:
            missing.append(wanted)
        taken.update(found)
    if not taken:
        raise Unreadable(
            f"no sheet is called {_listed(options.sheets)}; there are: {_told(sheets)}. Rename one, or declare `excel.sheets`"
        )
    yield from (name for name in known if name in taken)
    for name in missing:
        yield Missing(name, f"no sheet is called `{name}`; there are: {_told(sheets)}. Rename one, or declare `excel.sheets`")
    if options.other_sheets == "refuse":
        for name in visible:
            if name not in taken:
                yield Missing(
                    name,
                    f"the sheet `{name}` is none of those declared: {_listed(options.sheets)}. Declare it in `excel.sheets`",
                )


def _only_sheet(declared: str | None, sheets: Sequence[Sheet]) -> str:
    visible = [s.name for s in sheets if not s.is_hidden]
    if declared is None:
        if len(visible) == 1:
            return visible[0]
        raise Unreadable(
            f"the workbook has {len(visible)} sheets: {_told(sheets)}. Declare which: `excel.sheet` or `excel.sheets`"
        )
    if declared not in [s.name for s in sheets]:
        raise Unreadable(
            f"there is no sheet `{declared}` in the workbook; there are: {_told(sheets)}. Rename it, or declare `excel.sheet`"
        )
    return declared


def _repeated(options: ExcelOptions, workbook: Workbook, sheet: str) -> Iterator[Place | Missing]:
    """The blocks of a sheet, each from a row whose first value matches to the row before the next."""
    assert options.block_starts
    starts = re.compile(options.block_starts)
    found = [(row, column) for row, column, text in first_values(workbook, sheet) if starts.search(text)]
    if not found:
        yield Missing(sheet, f"sheet `{sheet}`: no row starts with a value that matches `{options.block_starts}`")
        return
    for (row, column), following in zip(found, [*(row for row, _ in found[1:]), LAST_ROW + 1], strict=True):
        titles = {}
        for name, cell in options.title_cell_as.items():
            below, right = parsed_cell(cell)
            titles[name] = (row + below - 1, right)
        range_ = Range(row, 0, following - 1, COLUMNS - 1)
        yield Place(sheet, range_, titles, f"{sheet}{MEMBER}{reference(column, row)}")


def first_values(workbook: Workbook, sheet: str) -> Iterator[tuple[int, int, str]]:
    """The first value of each row that has any: its row, its column and its text."""
    import numpy as np

    for cells in workbook.cells(sheet):
        first = cells.of(np.diff(cells.rows, prepend=0) != 0)
        yield from zip(first.rows.tolist(), first.columns.tolist(), first.texts().to_pylist(), strict=True)


def _told(sheets: Sequence[Sheet]) -> str:
    return ", ".join(f"`{s.name}`{' (hidden)' * s.is_hidden}" for s in sheets) or "none"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
