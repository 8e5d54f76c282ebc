"""How the lines of a text are split into values, where no contract says which columns there should be: by most lines.

(`caudal.lake.readers.dialect` finds out the delimiter of a file whose columns are declared.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caudal.lake.readers.csv_records import Record, RecordSplitter, fault_of_line

#: Delimiters that are looked for, those in wide use first.
DELIMITERS = (",", ";", "\t", "|", "^", "~", "\x1f", "\x01", "¦", ":", " ")

#: Delimiters that stand inside values as well, in times of day and in sentences: others win that split nearly as many lines.
_ALSO_IN_VALUES, _NEARLY = (":", " "), 0.1

QUOTES = ('"', "'", "")

#: Lines that are split to find the dialect, at most.
_LINES = 2_000


@dataclass(frozen=True)
class Dialect:
    """How delimited text is split.

    Attributes:
        delimiter, quote: as in `caudal.lake.dataset.CsvOptions`.
        width: how many values most records have.
        share: of the lines that are in a record of that width, 0 to 1.
        records: of the text, each with the number of the line (from 0) on which it starts.

    """

    delimiter: str
    quote: str
    width: int
    share: float
    records: tuple[tuple[int, Record], ...]

    @property
    def body(self) -> tuple[int, int]:
        """The first record of the usual width, and the one after the last, by their places in `records`."""
        usual = [n for n, (_, r) in enumerate(self.records) if len(r.values) == self.width]
        return (usual[0], usual[-1] + 1) if usual else (0, 0)


def detect_dialect(text: str, delimiters: Sequence[str] = DELIMITERS) -> Dialect | None:
    """How the lines of `text` are split into values; None if no delimiter splits most of them alike.

    Args:
        text: whole lines, each of which ends in a newline, such as the first of a file.

    """
    lines = text.split("\n", _LINES)[:_LINES]
    shortened = "\n".join(lines[:-1] if not text.endswith("\n") or len(lines) < _LINES else lines) + "\n"
    found = []
    for delimiter in delimiters:
        if delimiter not in shortened:
            continue
        for quote in QUOTES:
            if quote and (quote not in shortened or quote == delimiter):
                continue
            if dialect := _split(shortened, delimiter, quote):
                found.append(dialect)
    usual = [d for d in found if d.width > 1 and d.share > 0.5]
    return max(usual, key=_merit, default=None)


def _merit(dialect: Dialect) -> tuple[float, bool, int, bool]:
    """The most lines in records of one width; then the most values; then the quote that is used."""
    share = dialect.share - (_NEARLY if dialect.delimiter in _ALSO_IN_VALUES else 0)
    return round(share, 2), dialect.delimiter != " ", dialect.width, bool(dialect.quote)


def _split(text: str, delimiter: str, quote: str) -> Dialect | None:
    splitter = RecordSplitter(delimiter, quote, frozenset())
    records: list[tuple[int, Record]] = []
    position = line = 0
    while position < len(text):
        record, after = splitter.record_at(text, position)
        if record is None:
            record, after = fault_of_line(text, position, "a quote is opened and never closed")
        if text[position:after].strip("\r\n"):
            records.append((line, record))
        line += text.count("\n", position, after)
        position = after
    widths = Counter(len(r.values) for _, r in records if not r.fault)
    if not widths:
        return None
    width, count = max(widths.items(), key=lambda pair: (pair[1], pair[0]))
    return Dialect(delimiter, quote, width, count / len(records), tuple(records))
