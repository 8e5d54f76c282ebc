"""The cells of a sheet of an Office Open XML workbook (ECMA-376, 18.3), in pieces of some ten thousand rows.

Cells of the common forms are found by array operations (`caudal.lake.readers.excel.tokens`), others tag by tag. A sheet whose
cells do not stand in order is damaged: Excel itself does not open it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from caudal.lake.readers.excel import cells as kinds
from caudal.lake.readers.excel.cells import Cells
from caudal.lake.readers.excel.quick_xml import EMPTY, TYPES, attributes_of, columns_of, rows_of, values_of
from caudal.lake.readers.excel.slow_xml import SlowCell, slow_cells
from caudal.lake.readers.excel.tokens import Tags, pieces, slices, tags_of, unescaped, unescaped_text, word
from caudal.lake.readers.excel.workbook import COLUMNS, arrow_compute, reference

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class SheetReading:
    """What it takes to understand the cells.

    Attributes:
        strings: of the workbook.
        styles: of each style, whether a number in it is a `NUMBER`, a `MOMENT` or a `DURATION`.
        is_1904: the days are counted from 1904.
        is_stale: the workbook says that its formulas are to be computed when it is opened: a formula that is 0 never was.

    """

    strings: pa.Array
    styles: np.ndarray
    is_1904: bool = False
    is_stale: bool = False

    def cells(self, part: IO[bytes]) -> Iterator[Cells]:
        """The cells that are not empty.

        Raises:
            ValueError, LookupError: the sheet is damaged.

        """
        import numpy as np
        import pyarrow as pa

        pc = arrow_compute()
        blank = pc.indices_nonzero(pc.equal(pc.binary_length(self.strings), 0)).cast(pa.string())
        last_row, last_place = 0, -1
        for piece in pieces(part, "sheetData", "row"):
            tags = tags_of(piece)
            cells, last_row = (self._quick(tags) if tags else None) or self._slow(piece, last_row)
            if len(blank) and len(cells):
                cells = cells.of((cells.kinds != kinds.SHARED) | ~np.asarray(pc.is_in(cells.raw, blank)))
            if not len(cells):
                continue
            places = cells.rows.astype(np.int64) * COLUMNS + cells.columns
            wrong = (np.diff(places, prepend=last_place) <= 0) | (cells.columns >= COLUMNS)
            if wrong.any():
                place = reference(int(cells.columns[wrong][0]), int(cells.rows[wrong][0]))
                raise ValueError(f"the cell {place} does not stand in order, or stands there twice")
            last_place = int(places[-1])
            yield cells

    def _slow(self, piece: bytes, last_row: int) -> tuple[Cells, int]:
        found, last_row = slow_cells(piece, last_row)
        return self._of_slow([(cell, known) for cell in found if (known := self._understood(cell))]), last_row

    def _of_slow(self, found: Sequence[tuple[SlowCell, tuple[int, str]]]) -> Cells:
        import numpy as np
        import pyarrow as pa

        return Cells(
            np.array([cell.row for cell, _ in found], np.int32),
            np.array([cell.column for cell, _ in found], np.int32),
            np.array([kind for _, (kind, _) in found], np.uint8),
            pa.array([text for _, (_, text) in found], pa.string()),
            self.strings,
            self.is_1904,
        )

    def _understood(self, cell: SlowCell) -> tuple[int, str] | None:
        """The kind and text of a cell; None if it is empty."""
        if cell.kind not in TYPES:
            raise ValueError(f"the cell {reference(cell.column, cell.row)} is of the unknown type {cell.kind}")
        kind = TYPES[cell.kind]
        if kind == kinds.NUMBER:
            kind = int(self.styles[cell.style])
        text = "".join(cell.inline) if cell.inline else cell.value or ""
        if kind == kinds.TEXT and not cell.inline:
            text = unescaped_text(text)
        has_formula = cell.formula is not None
        if has_formula and ((not text and kind != kinds.TEXT) or (text == "0" and self.is_stale)):
            return kinds.UNCOMPUTED, cell.formula or ""
        return (kind, text) if text else None

    def _quick(self, tags: Tags) -> tuple[Cells, int] | None:
        """The cells of a piece and its last row; None if it must be read tag by tag."""
        import numpy as np

        at = np.flatnonzero(tags.first == word(b"<c r"))
        is_cell = (tags.names == word(b"<c ")) | (tags.names == word(b"<c>")) | (tags.names == word(b"<c/"))
        numbered = rows_of(tags)
        if numbered is None or np.count_nonzero(is_cell) != len(at):
            return None
        at_rows, numbers, digits = numbered
        before = np.searchsorted(at, at_rows)
        if before[0]:
            return None
        count = np.diff(before, append=len(at))
        rows = np.repeat(numbers, count)
        placed = columns_of(tags, at, rows, np.repeat(digits, count))
        if placed is None:
            return None
        columns, after = placed
        found, styles, odd = attributes_of(tags, after)
        dated = found == kinds.NUMBER
        found[dated] = self.styles[styles[dated]]
        starts, ends, strange = values_of(tags, at, found, is_stale=self.is_stale)
        odd |= strange
        full = np.flatnonzero((found != EMPTY) & ~odd)
        cells = Cells(
            rows[full], columns[full], found[full], slices(tags.piece, starts[full], ends[full]), self.strings, self.is_1904
        )
        cells = _without_escapes(cells)
        if odd.any():
            cells = self._with_odd(cells, tags, at[full], at[odd], rows[odd])
        return cells, int(numbers[-1])

    def _with_odd(self, cells: Cells, tags: Tags, at: np.ndarray, odd: np.ndarray, rows: np.ndarray) -> Cells:
        """With cells of other forms, each at its place among the tags."""
        import numpy as np
        import pyarrow as pa

        closing = np.flatnonzero(tags.first == word(b"</c>"))
        last = np.where(tags.closes_itself(odd), odd, closing[np.minimum(np.searchsorted(closing, odd), len(closing) - 1)])
        places = zip(rows.tolist(), tags.starts[odd].tolist(), tags.ends[last].tolist(), strict=True)
        written = b"".join(b'<row r="%d">%b</row>' % (row, tags.piece[start : end + 1]) for row, start, end in places)
        found = [(i, cell, known) for i, cell in enumerate(slow_cells(written, 0)[0]) if (known := self._understood(cell))]
        there = [i for i, _, _ in found]
        more = self._of_slow([(cell, known) for _, cell, known in found])
        order = np.argsort(np.concatenate([at, odd[there]]), kind="stable")
        return Cells(
            np.concatenate([cells.rows, more.rows])[order],
            np.concatenate([cells.columns, more.columns])[order],
            np.concatenate([cells.kinds, more.kinds])[order],
            pa.concat_arrays([cells.raw, more.raw]).take(pa.array(order)),
            self.strings,
            self.is_1904,
        )


def _without_escapes(cells: Cells) -> Cells:
    """With the characters that escapes in texts and formulas stand for."""
    import numpy as np
    import pyarrow as pa

    pc = arrow_compute()
    written = (cells.kinds == kinds.TEXT) | (cells.kinds == kinds.UNCOMPUTED)
    if not written.any():
        return cells
    texts = cells.raw.take(pa.array(np.flatnonzero(written)))
    plain = unescaped(texts)
    return cells if plain is texts else replace(cells, raw=pc.replace_with_mask(cells.raw, pa.array(written), plain))
