"""Cutting delimited text into whole rows, many at a time, where its quotes are well formed beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Cut:
    """Whole rows, and what comes after them.

    Attributes:
        rows: their text.
        lines: how many lines they have.
        first_lines: on which line each row begins, from 0; None where every line is a row.
        rest: the start of a row that goes on.

    """

    rows: bytes
    lines: int
    first_lines: np.ndarray | None = None
    rest: bytes = b""


def cut_rows(data: bytes, delimiter: str, quote: str) -> Cut | None:
    """The whole rows at the start of `data`; None where some quote or carriage return may not be what it seems.

    Read from the start of a row, quotes open and close values by turns; one that is written twice closes a value and opens it
    again. So they are well formed if and only if each that opens follows a delimiter, a newline or another quote, and each that
    closes is followed by one.

    Args:
        data: whole lines, from the start of a row on.
        delimiter: one ASCII character.
        quote: one ASCII character, or "" for none.

    """
    import numpy as np

    characters = np.frombuffer(data, np.uint8)
    newlines = characters == ord("\n")
    if b"\r" in data and not newlines[np.flatnonzero(characters == ord("\r")) + 1].all():
        return None
    if not quote or quote.encode() not in data:
        return Cut(data, int(np.count_nonzero(newlines)))
    quotes = np.flatnonzero(characters == ord(quote))
    opening, closing = quotes[0::2], quotes[1::2]
    before = characters[opening - 1]
    after = characters[closing + 1]
    opens = (before == ord(delimiter)) | (before == ord("\n")) | (before == ord(quote))
    opens[0] |= opening[0] == 0
    closes = (after == ord(delimiter)) | (after == ord("\n")) | (after == ord("\r")) | (after == ord(quote))
    if not opens.all() or not closes.all():
        return None
    ends = np.flatnonzero(newlines)
    is_outside = np.searchsorted(quotes, ends) % 2 == 0
    if is_outside.all():
        return Cut(data, len(ends))
    after_rows = np.flatnonzero(is_outside) + 1
    end = int(ends[is_outside][-1]) + 1 if len(after_rows) else 0
    first_lines = np.concatenate([[0], after_rows])
    return Cut(data[:end], int(first_lines[-1]), first_lines[:-1], data[end:])
