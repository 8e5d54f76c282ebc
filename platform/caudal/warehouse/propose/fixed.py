"""Text in which each value has its place on the line: the places are where every line has a blank before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caudal.warehouse.propose.delimited import names_columns

#: Lines that are looked at; so many at least, and so large a share of one length.
_LINES, _LEAST, _SHARE = 2_000, 3, 0.9

_TABS = "\t"


@dataclass(frozen=True)
class Places:
    """Where the values stand: name -> (first place from 1, width); the lines before them; and whether a line names them."""

    columns: dict[str, tuple[int, int]]
    skip_lines: int
    named: bool


def places(text: str) -> Places | None:
    """The places of the values in lines of one length; None if the text has no such lines, or only one value on each."""
    lines = [line.removesuffix("\r") for line in text.split("\n")[:_LINES]]
    filled = [line for line in lines if line.strip()]
    if len(filled) < _LEAST or _TABS in text:
        return None
    length, count = Counter(map(len, filled)).most_common(1)[0]
    if count < _SHARE * len(filled) or count < _LEAST:
        return None
    first = next(n for n, line in enumerate(lines) if len(line) == length)
    rows = [line for line in lines[first:] if len(line) == length]
    spans = _spans(rows, length)
    if len(spans) < 2:
        return None
    header, below = _cut(rows[0], spans), [_cut(row, spans) for row in rows[1:]]
    named = names_columns(header, below) is True and all(header)
    names = header if named else [f"column_{n}" for n in range(1, len(spans) + 1)]
    columns = {name: (start + 1, end - start) for name, (start, end) in zip(names, spans, strict=True)}
    return Places(columns, first + named, named)


def _spans(rows: Sequence[str], length: int) -> list[tuple[int, int]]:
    """The places from each column's first character to the next column's."""
    used = [any(row[n] != " " for row in rows) for n in range(length)]
    starts = [n for n in range(length) if used[n] and (n == 0 or not used[n - 1])]
    return list(zip(starts, [*starts[1:], length], strict=True))


def _cut(row: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    return [row[start:end].strip() for start, end in spans]
