"""A result in the shell: a table, or rows below each other where the terminal is too narrow for that."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 500
#: A column that gets fewer characters than this can no longer be read.
NARROWEST = 8


def drawn(reader: pa.RecordBatchReader) -> tuple[str, str]:
    """How many rows, and the first of them as a table; below each other where the terminal is too narrow."""
    from rich.console import Console
    from rich.table import Table

    rows: list[list[str]] = []
    more = False
    for batch in reader:
        taken = batch.slice(0, SHOWN_ROWS + 1 - len(rows)).to_pylist()
        rows += [["" if value is None else str(value) for value in row.values()] for row in taken]
        if len(rows) > SHOWN_ROWS:
            rows, more = rows[:SHOWN_ROWS], True
            break
    names, width = list(reader.schema.names), shutil.get_terminal_size((100, 24)).columns
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    if names and width // len(names) < NARROWEST:
        for number, row in enumerate(rows, 1):
            console.print(f"row {number}", markup=False, highlight=False)
            longest = max(len(name) for name in names)
            for name, value in zip(names, row, strict=True):
                console.print(_text(f"  {name:<{longest}}  {value}"), highlight=False, soft_wrap=True)
    else:
        table = Table(show_edge=False)
        for name in names:
            table.add_column(_text(name), overflow="fold")
        for row in rows:
            table.add_row(*(_text(value) for value in row))
        console.print(table)
    count = (
        f"the first {len(rows):,} rows; `.output` writes all" if more else f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    )
    return count, out.getvalue().rstrip("\n")


def _text(value: str) -> Any:
    """As it is: brackets are no style, and what would move the terminal's cursor is shown."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value))
