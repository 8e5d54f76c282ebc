"""Where the tables of a dataset stand in its Excel workbooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from caudal.lake.readers.excel.workbook import LAST_ROW, Range, column_number

#: Of `ExcelOptions.ends_at`: a row without any value.
BLANK_ROW = "blank_row"

_RANGE = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6}):([A-Z]{1,3})([1-9]\d{0,6})?")
_CELL = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})")


@dataclass(frozen=True)
class ExcelBlock:
    """A table among others in a sheet.

    Attributes:
        range: its columns, first row and perhaps last row, such as `A4:F` or `A4:F20`.
        title_cell_as: as in `ExcelOptions`, beside those there.

    """

    range: str
    title_cell_as: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExcelOptions:
    """Where the tables stand in the workbook.

    Attributes:
        sheet: its name, or None for the only one that is not hidden.
        sheets: instead of `sheet`, each a table of its own: names, or globs for those that are not hidden.
        other_sheets: whether a sheet that none of `sheets` names, and is not hidden, is quarantined.
        header_row: the first row that names the columns, counted from 1 as Excel does; in a block from its first row.
        header_rows: how many rows name the columns; the names below each other are joined by `header_separator`.
        ends_at: where a table ends: `blank_row`, or regular expressions of which one is found in the first value of a row.
            What stands from there on is none of the table.
        blocks: ranges of the sheet, each a table of its own.
        block_starts: instead of `blocks`, a regular expression that is found in the first value of the row that begins a table.
        sheet_name_as: the column that holds the name of the sheet.
        title_cell_as: columns that hold the value of one cell, such as `{region: B1}`; with `block_starts`, a cell of a block
            as if it began in row 1.
        null_markers: texts that stand for no value, beside the empty cell.

    """

    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    other_sheets: Literal["ignore", "refuse"] = "ignore"
    header_row: int = 1
    header_rows: int = 1
    header_separator: str = " "
    ends_at: tuple[str, ...] = ()
    blocks: tuple[ExcelBlock, ...] = ()
    block_starts: str | None = None
    sheet_name_as: str | None = None
    title_cell_as: Mapping[str, str] = field(default_factory=dict)
    null_markers: tuple[str, ...] = ()

    @property
    def has_members(self) -> bool:
        """Whether a workbook holds many tables."""
        return bool(self.sheets or self.blocks or self.block_starts)

    def __post_init__(self) -> None:
        if min(self.header_row, self.header_rows) < 1:
            raise ValueError("excel: header_row and header_rows are counted from 1")
        if self.sheet and self.sheets:
            raise ValueError("excel: `sheet` and `sheets` are both declared; one is meant")
        if self.blocks and self.block_starts:
            raise ValueError("excel: `blocks` and `block_starts` are both declared; one is meant")
        if self.other_sheets == "refuse" and not self.sheets:
            raise ValueError("excel: `other_sheets: refuse` needs `sheets`, the ones that are read")
        for pattern in (*self.ends_at, *filter(None, [self.block_starts])):
            try:
                re.compile(pattern)
            except re.error as bad:
                raise ValueError(f"excel: {pattern!r} is no regular expression: {bad}") from None
        titles = [self.title_cell_as, *(block.title_cell_as for block in self.blocks)]
        for cell in (cell for declared in titles for cell in declared.values()):
            parsed_cell(cell)
        corners = [parsed_range(block.range)[:2] for block in self.blocks]
        if len(set(corners)) < len(corners):
            raise ValueError("excel: two of `blocks` begin in the same cell")


def parsed_range(text: str) -> Range:
    """A range such as `A4:F` or `A4:F20`. Raises `ValueError`."""
    found = _RANGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no range of cells; expected `A4:F`, or with a last row `A4:F20`")
    left, right = column_number(found[1]), column_number(found[3])
    first, last = int(found[2]), int(found[4] or LAST_ROW)
    if left > right or first > last:
        raise ValueError(f"{text!r}: the first cell stands after the last")
    return Range(first, left, last, right)


def parsed_cell(text: str) -> tuple[int, int]:
    """Row and column of a cell such as `B1`. Raises `ValueError`."""
    found = _CELL.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no cell; expected one such as `B1`")
    return int(found[2]), column_number(found[1])
