"""One table of a sheet: its header of one or more rows, its rows, where it ends, and titles that become columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.lake.excel_options import BLANK_ROW, ExcelOptions
from caudal.lake.readers.drift import match_columns
from caudal.lake.readers.excel.cells import ERROR, FAULTS, Cells
from caudal.lake.readers.excel.places import Place
from caudal.lake.readers.excel.workbook import COLUMNS, Range, Workbook, arrow_compute, reference
from caudal.lake.readers.rows import Problem, Unreadable, batch_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.contracts import Column, Contract


@dataclass(frozen=True)
class Table:
    """A table of a workbook, under a contract.

    Attributes:
        path: what people call the lake file, or the member of it.

    """

    workbook: Workbook
    place: Place
    options: ExcelOptions
    contract: Contract
    path: str

    @cached_property
    def header(self) -> Header:
        """Raises `Unreadable`, `ValueError`, `LookupError`: there is none, it is not the contract's, the sheet is damaged."""
        cells = self._head
        where = f"sheet `{self.place.sheet}`, row {self._top}"
        where += f" to {self._bottom}" if self._bottom > self._top else ""
        named = self._names(cells)
        if not named:
            setting = "excel.header_row" if not self.place.member or self.options.sheets else "excel.blocks or excel.header_row"
            raise Unreadable(
                f"{self.path}, {where}: it should name the columns and is empty. Declare the row that does: `{setting}`"
            )
        constants = self._constants(cells)
        matched = match_columns([*named.values(), *constants], self.contract, self.path, where)
        held, places, values = list(named), {}, {}
        for column, position in zip(self.contract.columns, matched.positions, strict=True):
            if position is not None and position < len(held):
                places[column.name] = held[position]
            else:
                values[column.name] = None if position is None else [*constants.values()][position - len(held)]
        return Header(places, values, frozenset(named), tuple(matched.ignored))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows. Raises `ValueError`, `LookupError`: the sheet is damaged."""
        header, last = self.header, self._bottom
        ends = [re.compile(pattern) for pattern in self.options.ends_at if pattern != BLANK_ROW]
        for found in self.workbook.cells(self.place.sheet):
            cells = _within(found, self.place.range)
            cells = cells.of(cells.rows > self._bottom)
            if len(cells):
                cut = self._end(cells, last, ends)
                if cut:
                    yield self._batch(cells.of(_first(cells, cut)), header)
                if cut < len(cells):
                    return
                last = int(cells.rows[-1])
            if found.rows[-1] > self.place.range.last_row:
                return

    @property
    def _top(self) -> int:
        return self.place.range.first_row + self.options.header_row - 1

    @property
    def _bottom(self) -> int:
        return self._top + self.options.header_rows - 1

    @cached_property
    def _head(self) -> Mapping[tuple[int, int], tuple[int, str]]:
        """The cells of the header and the titles: the kind and the text at each row and column."""
        import numpy as np

        titles = self.place.titles.values()
        last = max([self._bottom, *(row for row, _ in titles)])
        held: dict[tuple[int, int], tuple[int, str]] = {}
        for cells in self.workbook.cells(self.place.sheet):
            wanted = np.isin(cells.rows, [*range(self._top, self._bottom + 1), *(row for row, _ in titles)])
            some = cells.of(wanted)
            if len(some):
                rows, columns, kinds = some.rows.tolist(), some.columns.tolist(), some.kinds.tolist()
                held |= zip(zip(rows, columns, strict=True), zip(kinds, some.texts().to_pylist(), strict=True), strict=True)
            if cells.rows[-1] >= last:
                break
        return held

    def _names(self, cells: Mapping[tuple[int, int], tuple[int, str]]) -> dict[int, str]:
        """The name of each column that has one, by its place in the sheet."""
        place = self.place.range
        rows = range(self._top, self._bottom + 1)
        shown = {
            (row, column): cell
            for (row, column), cell in cells.items()
            if row in rows and place.first_column <= column <= place.last_column
        }
        if self.options.header_rows > 1:
            for merged in self.workbook.merged(self.place.sheet):
                first = shown.get((merged.first_row, merged.first_column))
                if first:
                    across = range(merged.first_column, min(merged.last_column, place.last_column) + 1)
                    shown |= {(merged.first_row, column): first for column in across}
        names = {}
        for column in sorted({column for _, column in shown}):
            pieces = []
            for row in rows:
                kind, text = shown.get((row, column), (0, ""))
                if kind in FAULTS:
                    raise Unreadable(
                        f"{self.path}, sheet `{self.place.sheet}`: the cell {reference(column, row)} should name a column and "
                        f"holds {FAULTS[kind]} ({text})"
                    )
                pieces.append(text.strip())
            if name := self.options.header_separator.join(filter(None, pieces)):
                names[column] = name
        return names

    def _constants(self, cells: Mapping[tuple[int, int], tuple[int, str]]) -> dict[str, str | None]:
        """Columns that have one value for the whole table."""
        constants: dict[str, str | None] = {}
        if self.options.sheet_name_as:
            constants[self.options.sheet_name_as] = self.place.sheet
        for name, (row, column) in self.place.titles.items():
            kind, text = cells.get((row, column), (0, None))
            if kind in FAULTS:
                raise Unreadable(
                    f"{self.path}, sheet `{self.place.sheet}`: the cell {reference(column, row)}, declared as the column "
                    f"`{name}`, holds {FAULTS[kind]} ({text})"
                )
            constants[name] = None if text in self.options.null_markers else text
        return constants

    def _end(self, cells: Cells, last: int, ends: Sequence[re.Pattern[str]]) -> int:
        """How many of the cells stand before the end of the table.

        Args:
            last: the last row before them that has a value.

        """
        import numpy as np

        if not self.options.ends_at:
            return len(cells)
        starts = np.flatnonzero(np.diff(cells.rows, prepend=-1) != 0)
        over = np.zeros(len(starts), bool)
        if BLANK_ROW in self.options.ends_at:
            gaps = np.diff(cells.rows[starts], prepend=last)
            if last == self._bottom:  # blank rows between the header and the first row are no end
                gaps[0] = 1
            over |= gaps > 1
        if ends:
            texts = cells.of(starts).texts().to_pylist()
            over |= np.array([any(p.search(text) for p in ends) for text in texts], bool)
        return int(starts[over.argmax()]) if over.any() else len(cells)

    def _batch(self, cells: Cells, header: Header) -> pa.RecordBatch:
        import numpy as np
        import pyarrow as pa

        new = np.diff(cells.rows, prepend=-1) != 0
        row_of, rows = np.cumsum(new) - 1, cells.rows[new]
        order = np.argsort(cells.columns.astype(np.uint16), kind="stable")
        sorted_columns = cells.columns[order]
        arrays = []
        for column in self.contract.columns:
            if column.name in header.values:
                arrays.append(pa.repeat(pa.scalar(header.values[column.name], pa.string()), len(rows)))
                continue
            place = header.places[column.name]
            start, end = np.searchsorted(sorted_columns, [place, place + 1])
            arrays.append(self._column(cells, order[start:end], row_of, len(rows), column))
        problems = self._problems(cells, row_of, header)
        return batch_of(arrays, self.contract.column_names, pa.array(rows.astype(np.int64)), problems)

    def _column(self, cells: Cells, chosen: np.ndarray, row_of: np.ndarray, count: int, column: Column) -> pa.Array:
        """The text of each row in a column of the contract."""
        import numpy as np
        import pyarrow as pa

        pc = arrow_compute()
        if not len(chosen):
            return pa.nulls(count, pa.string())
        texts = cells.of(chosen).texts(column).cast(pa.string())
        if self.options.null_markers:
            texts = pc.if_else(pc.is_in(texts, pa.array(self.options.null_markers)), pa.scalar(None, pa.string()), texts)
        if len(chosen) == count:
            return texts
        places = np.full(count, -1, np.int64)
        places[row_of[chosen]] = np.arange(len(chosen))
        return texts.take(pa.array(places, mask=places < 0))

    def _problems(self, cells: Cells, row_of: np.ndarray, header: Header) -> dict[int, Problem]:
        """Why rows are refused, by their places among the rows: a cell holds a fault, or stands under no name."""
        import numpy as np

        names = {place: name for name, place in header.places.items()}
        wrong = (cells.kinds >= ERROR) & np.isin(cells.columns, list(names))
        nameless = np.zeros(len(cells), bool)
        if self.contract.drift == "freeze":
            nameless = ~np.isin(cells.columns, list(header.named))
        problems: dict[int, Problem] = {}
        for at in [*np.flatnonzero(wrong).tolist(), *np.flatnonzero(nameless).tolist()]:
            column, row, kind = int(cells.columns[at]), int(cells.rows[at]), int(cells.kinds[at])
            if int(row_of[at]) in problems:
                continue
            (shown,) = cells.of(np.array([at])).texts().to_pylist()
            told = "stands under no column name" if nameless[at] else f"holds {FAULTS[kind]}"
            problems[int(row_of[at])] = Problem(f"the cell {reference(column, row)} {told}", shown, names.get(column))
        return problems


@dataclass(frozen=True)
class Header:
    """The columns of a table.

    Attributes:
        places: of each column of the contract that the table has, the column of the sheet.
        values: of each other, the one value of all rows.
        named: the columns of the sheet that have a name.
        undeclared: names that the contract does not have.

    """

    places: Mapping[str, int]
    values: Mapping[str, str | None]
    named: frozenset[int]
    undeclared: tuple[str, ...]


def _within(cells: Cells, place: Range) -> Cells:
    """The cells that stand in the range."""
    inside = (cells.rows >= place.first_row) & (cells.rows <= place.last_row)
    if place.first_column or place.last_column < COLUMNS - 1:
        inside &= (cells.columns >= place.first_column) & (cells.columns <= place.last_column)
    return cells.of(inside)


def _first(cells: Cells, count: int) -> np.ndarray:
    import numpy as np

    return np.arange(len(cells)) < count
