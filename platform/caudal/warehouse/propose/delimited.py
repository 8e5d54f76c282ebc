"""Where the table stands in delimited text: lines before it and after it, and whether its first line names the columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from caudal.lake.readers.csv_records import Record
from caudal.warehouse.propose.splitting import Dialect, detect_dialect

#: Records after the first that its values are compared with.
_COMPARED = 200

_NUMBER = re.compile(r"[(+-]?[$€£]?[\d.,' ]*\d[ %€$£)]*")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*|\d{1,2}:\d{2}.*")
_TOTAL = re.compile(r"(?i)\s*(?:grand |sub)?(?:total|summe|gesamt|gesamtsumme|sum|somme|totals|zwischensumme)\b.*")
_SEPARATOR_LINE = re.compile(r"sep=(.)")


@dataclass(frozen=True)
class Layout:
    """Options of `csv` that are not as by default, what is to be said beside them, and names where no line gives them."""

    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()


def layout(text: str, end: str = "") -> Layout:
    """The layout of a text.

    Args:
        text: whole lines from its start.
        end: its last lines, where `text` is not all of it.

    """
    text = text if text.endswith("\n") else f"{text}\n"
    said = _SEPARATOR_LINE.match(text)
    dialect = detect_dialect(text, [said[1]]) if said else detect_dialect(text)
    if dialect is None:
        return _one_column(text)
    options: dict[str, Any] = {}
    notes: list[tuple[str, str]] = []
    if dialect.delimiter != ",":
        options["delimiter"] = dialect.delimiter
    if dialect.quote == "'" or (not dialect.quote and '"' in text):
        options["quote"] = dialect.quote
        notes.append(("quote", "unsure: by most lines" if dialect.quote else 'unsure: `"` is taken as a character like others'))
    first, _ = dialect.body
    first += bool(said and first == 0)
    records = dialect.records[first:]
    before = dialect.records[:first]
    if before:
        _skip_before(text, before, records[0][0], options, notes)
    names = _header(dialect, records, options, notes)
    _skip_after(dialect, records, end, options, notes)
    return Layout(options, tuple(notes), names)


def _one_column(text: str) -> Layout:
    lines = [line.strip("\r") for line in text.split("\n") if line.strip("\r")]
    if len(lines) > 1 and _kind(lines[0]) != _kind(lines[1]):
        return Layout(notes=(("delimiter", "unsure: no delimiter splits the lines alike; taken as one column"),))
    told = (
        ("delimiter", "unsure: no delimiter splits the lines alike; taken as one column"),
        ("header", "unsure: taken as the column's name"),
    )
    return Layout(notes=told)


def _skip_before(
    text: str, before: Sequence[tuple[int, Record]], header_line: int, options: dict[str, Any], notes: list[tuple[str, str]]
) -> None:
    lines = text.split("\n")
    shown = lines[before[0][0]].strip()[:60]
    if all(lines[line].startswith("#") for line, _ in before):
        options["comment"] = "#"
        notes.append(("comment", f"lines such as `{shown}` are no rows"))
        return
    options["skip_lines"] = header_line
    notes.append(("skip_lines", f"before the table stands `{shown}`"))


def _header(
    dialect: Dialect, records: Sequence[tuple[int, Record]], options: dict[str, Any], notes: list[tuple[str, str]]
) -> tuple[str, ...]:
    """Decide whether the first record names the columns. Names for them if it does not."""
    first = [value or "" for value in records[0][1].values]
    below = [r.values for _, r in records[1 : 1 + _COMPARED] if len(r.values) == dialect.width]
    verdict = names_columns(first, below)
    if verdict is None:
        notes.append(("header", f"unsure: all values are text; the first line (`{first[0][:30]}`, ...) is taken as names"))
    if verdict is not False:
        return ()
    options["header"] = False
    notes.append(("header", f"the first line holds values: `{first[0][:30]}`, ... The columns are the contract's, in order"))
    return tuple(f"column_{n}" for n in range(1, dialect.width + 1))


def names_columns(first: Sequence[str], below: Sequence[Sequence[str | None]]) -> bool | None:
    """Whether a line names the columns; None if nothing tells."""
    named = [name.strip() for name in first if name.strip()]
    if not named:
        return False
    if not below:
        return True if all(_kind(n) == "text" for n in named) else None
    usual = [_usual(values) for values in zip(*below, strict=True)]
    kinds = [_kind(name) for name in first]
    if any(kind == "text" and usual_kind not in ("text", "") for kind, usual_kind in zip(kinds, usual, strict=True)):
        return True
    numbers = [int(n) for n in named if re.fullmatch(r"(?:19|20)\d\d", n)]
    if len(numbers) > 1 and all(b - a == 1 for a, b in pairwise(numbers)):
        return True
    if any(kind not in ("text", "") for kind in kinds):
        return False
    if len({n.lower() for n in named}) < len(named):
        return False
    repeated = any(name.strip() and any(row[n] == name for row in below) for n, name in enumerate(first))
    return False if repeated else None


def _usual(values: Sequence[str | None]) -> str:
    kinds = Counter(_kind(v) for v in values if v and v.strip())
    return kinds.most_common(1)[0][0] if kinds else ""


def _kind(value: str) -> str:
    bare = value.strip()
    if not bare:
        return ""
    if _DATE.fullmatch(bare):
        return "date"
    return "number" if _NUMBER.fullmatch(bare) else "text"


def _skip_after(
    dialect: Dialect,
    records: Sequence[tuple[int, Record]],
    end: str,
    options: dict[str, Any],
    notes: list[tuple[str, str]],
) -> None:
    """Lines after the last row that are no rows: of one value alone, or of a total."""
    if end:
        tail = _tail(end, dialect)
        records = tail.records if tail else []
    usual = Counter(_kind(r.values[0] or "") for _, r in records[1:] if len(r.values) == dialect.width)
    first_kind = usual.most_common(1)[0][0] if usual else ""
    rows = len(records)
    while rows > 1:
        (line, record), (line_before, _) = records[rows - 1], records[rows - 2]
        if not _is_footer(record, dialect.width, first_kind, alone=line > line_before + 1):
            break
        rows -= 1
    if rows == len(records) or rows == 0:
        return
    options["skip_footer"] = records[-1][0] - records[rows][0] + 1
    values = [v for v in records[rows][1].values if v] or [records[rows][1].text]
    notes.append(("skip_footer", f"unsure: after the table stands `{values[0].strip()[:60]}`"))


def _tail(end: str, dialect: Dialect) -> Dialect | None:
    lines = end[end.find("\n") + 1 :]
    return detect_dialect(lines if lines.endswith("\n") else f"{lines}\n", [dialect.delimiter])


def _is_footer(record: Record, width: int, first_kind: str, *, alone: bool) -> bool:
    """Whether a record at the end is none of the table.

    Args:
        first_kind: of the first value of most records. A lone value of another kind is no row that was cut short.
        alone: a blank line stands before it.

    """
    values = [v for v in record.values if v and v.strip()]
    if values and len(values) < width and _TOTAL.fullmatch(values[0]):
        return True
    if len(values) > 1 or not (values or record.fault):
        return False
    shown = values[0] if values else record.text
    other = first_kind not in ("text", "") and _kind(shown) == "text"
    is_sentence = len(record.values) != width and (" " in shown.strip() or shown.strip().endswith(":"))
    return alone or other or is_sentence
