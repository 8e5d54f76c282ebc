"""Where the table stands in a workbook: in which sheets, below which titles, how many header rows, above which footnotes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.warehouse.propose.markers import looks_like_one
from caudal.warehouse.propose.sniff import Sniffed
from caudal.warehouse.propose.table import NoProposal

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

#: Rows in which the header is looked for, header rows at most, and rows of a sheet that are looked at.
_HEADER_WITHIN, _HEADER_ROWS, _ROWS = 60, 3, 200_000

#: Workbooks after the first whose sheets' names are looked at.
_COMPARED = 20

_NUMBER = re.compile(r"[(+-]?[$€£]?\s?\d[\d.,' ]*\s?[%€$£)]*")
_TOTAL = re.compile(r"(?i)(?:grand |sub)?(?:total|summe|gesamt|gesamtsumme|sum|somme|totals)\b")


@dataclass(frozen=True)
class _Layout:
    """Where the table of one sheet stands.

    Attributes:
        names: of the columns, roughly, to see whether sheets have the same.
        ends_at: patterns of the first value of the row after the table; `footer` is how that begins.
        rows: of the table.

    """

    header_row: int
    header_rows: int
    names: tuple[str, ...]
    ends_at: tuple[str, ...] = ()
    footer: str = ""
    title: str = ""
    rows: int = 0


def complete(sniffed: Sniffed, file: Path, name: str, others: Sequence[Path] = ()) -> None:
    """Add the options of `excel` to what was sniffed.

    Args:
        others: further workbooks. Where the sheet is called otherwise in one, such as after its month, a glob is proposed.

    Raises:
        NoProposal: it cannot be opened, or holds no table.

    """
    layouts, sheets = _layouts(file, name)
    if not layouts:
        raise NoProposal(f"{name}: no sheet holds a table with a header and a row below it")
    alike = _alike(layouts)
    first = next(iter(alike.values()))
    options: dict[str, Any] = {}
    if len(alike) > 1:
        options["sheets"] = list(alike)
        sniffed.note("excel.sheets", "they have the same columns; `sheet_name_as: <column>` keeps which row is of which")
    elif len(sheets) > 1:
        _one_of_several(sniffed, options, next(iter(alike)), others)
    left_out = [s for s in sheets if s not in alike]
    told = ", ".join(f"`{s}`" for s in left_out[:5])
    if left_out:
        sniffed.note("excel", f"unsure: not read: {told}, of other columns or without a table")
    if first.header_row != 1:
        options["header_row"] = first.header_row
        sniffed.note("excel.header_row", f"above it stands `{first.title}`" if first.title else "the first row with names")
    if first.header_rows != 1:
        options["header_rows"] = first.header_rows
        sniffed.note("excel.header_rows", "the names below each other are joined")
    ends_at = dict.fromkeys(pattern for layout in alike.values() for pattern in layout.ends_at)
    if ends_at:
        options["ends_at"] = list(ends_at)
        footer = next(layout.footer for layout in alike.values() if layout.footer)
        sniffed.note("excel.ends_at", f"unsure: below the table stands `{footer}`")
    if options:
        sniffed.options["excel"] = options


def _one_of_several(sniffed: Sniffed, options: dict[str, Any], sheet: str, others: Sequence[Path]) -> None:
    pattern = re.sub(r"\d", "?", sheet)
    if pattern != sheet and any(sheet not in _visible(other) for other in others[:_COMPARED]):
        options["sheets"] = [pattern]
        sniffed.note("excel.sheets", f"unsure: `{sheet}` is called otherwise in other files; `?` is any one character")
    else:
        options["sheet"] = sheet
        sniffed.note("excel.sheet", "unsure: of several sheets the one with the most rows")


def _visible(file: Path) -> list[str]:
    """The names of the sheets; of a file that is no workbook none, which is told where it is read."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        return _visible_sheets(CalamineWorkbook.from_path(file))
    except (CalamineError, ValueError, LookupError, OSError):
        return []


def _layouts(file: Path, name: str) -> tuple[dict[str, _Layout], list[str]]:
    """The layout of each visible sheet that holds a table; and the names of all of them."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    found: dict[str, _Layout] = {}
    try:
        workbook = CalamineWorkbook.from_path(file)
        sheets = _visible_sheets(workbook)
        for sheet in sheets:
            opened = workbook.get_sheet_by_name(sheet)
            layout = layout_of(list(islice(opened.iter_rows(), _ROWS)))
            if layout:
                found[sheet] = layout
    except PasswordError:
        raise NoProposal(f"{name}: the workbook has a password. Save it without one") from None
    except (CalamineError, ValueError, LookupError, OSError) as broken:
        raise NoProposal(f"{name}: the workbook cannot be opened ({broken})") from None
    return found, sheets


def _visible_sheets(workbook: CalamineWorkbook) -> list[str]:
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    kinds = SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible
    return [s.name for s in workbook.sheets_metadata if (s.typ, s.visible) == kinds]


def layout_of(cells: Sequence[Sequence[Any]]) -> _Layout | None:
    """The layout of a sheet's cells; None if they are no table."""
    rows = [[_text(c) for c in row] for row in cells]
    filled = [sum(bool(c) for c in row) for row in rows]
    widths = Counter(n for n in filled if n > 1)
    if not widths:
        return None
    usual = max(widths, key=lambda n: (widths[n] * n, n))
    enough = max(2, usual // 2)
    data = next((n for n, row in enumerate(rows[:_HEADER_WITHIN]) if filled[n] >= enough and _is_data(cells[n], row)), None)
    if data is None:
        data = next(n for n, count in enumerate(filled) if count >= enough) + 1
    header = data
    while header > 0 and data - header < _HEADER_ROWS and filled[header - 1] >= 2:
        if _is_data(cells[header - 1], rows[header - 1]):
            break
        header -= 1
    if header == data or data >= len(rows):
        return None
    last = max(n for n in range(data, len(rows)) if filled[n] >= enough or n == data)
    while last > data and _TOTAL.match(next((c for c in rows[last] if c), "")):
        last -= 1
    ends_at, footer = _end(rows, filled, data, last)
    title = next((c for row in rows[:header] for c in row if c), "")
    names = tuple("|".join(column) for column in zip(*rows[header:data], strict=True))
    return _Layout(header + 1, data - header, names, ends_at, footer[:60], title[:60], last + 1 - data)


def _end(rows: Sequence[Sequence[str]], filled: Sequence[int], data: int, last: int) -> tuple[tuple[str, ...], str]:
    """What tells the row after the table, and how it begins."""
    after = [n for n in range(last + 1, len(rows)) if filled[n]]
    if not after:
        return (), ""
    footer = next(c for c in rows[after[0]] if c)
    if after[0] > last + 1 and all(filled[data : last + 1]):
        return ("blank_row",), footer
    start = re.match(r"\W*\w+", footer)
    pattern = f"^{re.escape(start[0] if start else footer[:12])}".replace("\\ ", " ")
    inside = (next((c for c in row if c), "") for row in rows[data : last + 1])
    if any(re.search(pattern, first) for first in inside):
        pattern = f"^{re.escape(footer[:40])}"
    return (pattern,), footer


def _is_data(cells: Sequence[Any], row: Sequence[str]) -> bool:
    """Whether a row holds values rather than names."""
    numbers = [n for n, c in enumerate(cells) if c != "" and not isinstance(c, str)]
    years = [int(cells[n]) for n in numbers if isinstance(cells[n], int | float) and 1900 <= cells[n] <= 2100]
    if numbers and len(years) == len(numbers) and len(years) > 1 and all(b - a == 1 for a, b in pairwise(years)):
        return False
    return (
        bool(numbers)
        or any(_NUMBER.fullmatch(c) and not re.fullmatch(r"(?:19|20)\d\d", c) for c in row if c)
        or (sum(looks_like_one(c) for c in row if c) > 1)
    )


def _alike(layouts: dict[str, _Layout]) -> dict[str, _Layout]:
    """The sheets of the same layout that hold the most rows together."""
    groups: dict[tuple, dict[str, _Layout]] = {}
    for sheet, layout in layouts.items():
        groups.setdefault((layout.header_row, layout.header_rows, layout.names), {})[sheet] = layout
    return max(groups.values(), key=lambda group: sum(layout.rows for layout in group.values()))


def _text(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else str(cell)
