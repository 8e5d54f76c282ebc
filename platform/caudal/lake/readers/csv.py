"""Delimited text.

An unquoted empty value, or one of the dataset's null markers unquoted, is no value. What is quoted is text: `""` is the empty
text in a string column, and no value in any other, where it can mean nothing else. A line without a character is no row,
unless there is but one column. A row with more or fewer values than the header is rejected, never padded.

Rows that are well formed beyond doubt are split by Arrow, the others by `RecordSplitter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.dataset import CsvOptions, Dataset
from caudal.lake.readers.ahead import in_order
from caudal.lake.readers.csv_cuts import Cut, cut_rows
from caudal.lake.readers.csv_records import Record, RecordSplitter, fault_of_line
from caudal.lake.readers.csv_runs import WellFormedRuns
from caudal.lake.readers.dialect import detected
from caudal.lake.readers.drift import match_columns
from caudal.lake.readers.rows import (
    BATCH_ROWS,
    Problem,
    Rows,
    Unreadable,
    batch_of,
    consecutive,
    text_batch,
    text_columns,
    undeclared_text,
)
from caudal.lake.readers.text import MAX_LINE_BYTES, block_bytes, open_text, read_blocks, without_footer

if TYPE_CHECKING:
    import pyarrow as pa

#: The header is looked for in so much of the file.
_HEADER_BYTES = 1 << 20

#: Well-formed rows one after the other that are worth giving to Arrow.
_LONG_RUN = 32

#: RE2 repeats a group no more often.
_RE2_REPEATS = 1000


@dataclass(frozen=True)
class _Layout:
    """How a file is split into rows.

    Attributes:
        names: the contract's columns.
        positions: which of the values of a row each of them is; None where the file does not have it.
        width: how many values a row has.
        header_lines: lines before the first row.

    """

    options: CsvOptions
    names: tuple[str, ...]
    positions: tuple[int | None, ...]
    width: int
    header_lines: int

    @cached_property
    def nulls(self) -> tuple[str, ...]:
        return ("", *self.options.null_markers)

    @cached_property
    def splitter(self) -> RecordSplitter:
        return RecordSplitter(self.options.delimiter, self.options.quote, frozenset(self.nulls), self.options.escape)

    def cut(self, data: bytes) -> Cut | None:
        """The whole rows of `data`, if Arrow splits them as it should beyond doubt."""
        delimiter, quote, escape, comment = self._marks
        if not (delimiter + quote).isascii() or (escape and escape.encode() in data):
            return None
        if comment and (data.startswith(comment.encode()) or f"\n{comment}".encode() in data):
            return None
        return cut_rows(data, delimiter, quote)

    @cached_property
    def _marks(self) -> tuple[str, str, str, str]:
        options = self.options
        return options.delimiter, options.quote, options.escape, options.comment

    @cached_property
    def well_formed(self) -> str | None:
        """A regular expression (RE2) of text that is one row beyond doubt; None where Arrow cannot split it."""
        options = self.options
        marks = options.delimiter + options.quote + options.escape + options.comment
        if not (marks.isascii() and 1 <= self.width <= _RE2_REPEATS):
            return None
        d, q = f"\\x{ord(options.delimiter):02x}", f"\\x{ord(options.quote):02x}" if options.quote else ""
        e, c = (f"\\x{ord(mark[0]):02x}" if mark else "" for mark in (options.escape, options.comment))
        plain = f"[^{d}{q}{e}\\r\\n]*"
        value = f"(?:{plain}|{q}(?:[^{q}{e}]|{q}{q})*{q})" if q else plain
        more = f"(?:{d}{value}){{{self.width - 1}}}" if self.width > 1 else ""
        if c:
            first = f"(?:[^{d}{q}{e}{c}\\r\\n]{plain})?"
            return f"^(?:{first}|{q}(?:[^{q}{e}]|{q}{q})*{q}){more}\\r?$" if q else f"^{first}{more}\\r?$"
        return f"^{value}{more}\\r?$"


def read_csv(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no such text, or has other columns than the contract.

    """
    contract = dataset.contract
    options, dialect = detected(dataset.csv, contract, file, path)
    open_text(file, path, options.encoding, "CSV text")
    names, ignored = contract.column_names, ()
    if options.header:
        found, lines = _header(options, file, path)
        matched = match_columns(found, contract, path, f"line {lines}")
        layout, ignored = _Layout(options, names, matched.positions, len(found), lines), matched.ignored
    else:
        layout = _Layout(options, names, tuple(range(len(names))), len(names), options.skip_lines)
    weight = file.stat().st_size
    return Rows(text_columns(contract), lambda: _read(layout, file, path), undeclared_text(ignored), weight, dialect)


def _header(options: CsvOptions, file: Path, path: str) -> tuple[list[str], int]:
    """The names in the first line that is not empty, and the number of the line on which they end."""
    block = next(read_blocks(file, path, options.encoding, _HEADER_BYTES), None)
    text = block.data.decode() if block else ""
    if text.count("\n") == 1 and "\r" in text[:-2]:
        raise Unreadable(f"{path}: its lines end in a carriage return alone; write them with \\n or \\r\\n")
    position, skipped = 0, options.skip_lines
    passed = ("\n", "\r\n", *([options.comment] if options.comment else []))
    while position < len(text) and (skipped > 0 or text.startswith(passed, position)):
        position, skipped = text.index("\n", position) + 1, skipped - 1
    if position == len(text):
        raise Unreadable(f"{path}: there are only empty lines in the file; expected a header")
    record, after = RecordSplitter(options.delimiter, options.quote, frozenset(), options.escape).record_at(text, position)
    line = text.count("\n", 0, position) + 1
    if record is None:
        record, _ = fault_of_line(text, position, "a quote is opened and never closed")
    if record.fault:
        raise Unreadable(f"{path}, line {line}: the header cannot be read: {record.fault}. It is `{record.text[:200]}`")
    return [value or "" for value in record.values], text.count("\n", 0, after)


def _read(layout: _Layout, file: Path, path: str) -> Iterator[pa.RecordBatch]:
    with closing(in_order(_work(layout, file, path))) as batches:
        yield from chain.from_iterable(batches)


def _work(layout: _Layout, file: Path, path: str) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
    """Yield functions that split the file's rows, block by block."""
    rest, rest_line, skip = b"", 1, layout.header_lines
    blocks = read_blocks(file, path, layout.options.encoding, block_bytes(layout.width))
    for block in without_footer(blocks, layout.options.skip_footer):
        data, line = (rest + block.data, rest_line) if rest else (block.data, block.first_line)
        while skip and data:
            data, skip, line = data[data.index(b"\n") + 1 :], skip - 1, line + 1
        cut = layout.cut(data)
        if cut is not None and len(cut.rest) < MAX_LINE_BYTES:
            yield partial(_whole_rows, layout, cut, line)
            rest, rest_line = cut.rest, line + cut.lines
        else:
            batches, rest = _one_by_one(layout, data, line, last=False)
            yield partial(list, batches)
            rest_line = line + data.count(b"\n") - rest.count(b"\n")
    if rest:
        yield lambda: _one_by_one(layout, rest, rest_line, last=True)[0]


def _whole_rows(layout: _Layout, cut: Cut, line: int) -> list[pa.RecordBatch]:
    """The rows of a cut, whose first line is number `line`."""
    if cut.first_lines is None:
        places = consecutive(line, cut.lines)
    else:
        import pyarrow as pa

        places = pa.array(cut.first_lines + line)
    batch = _by_arrow(layout, cut.rows, places, several_lines=cut.first_lines is not None)
    return [batch] if batch is not None else _one_by_one(layout, cut.rows, line, last=True)[0]


def _one_by_one(layout: _Layout, data: bytes, line: int, *, last: bool) -> tuple[list[pa.RecordBatch], bytes]:
    """The rows of `data`, whose first line is number `line`, and the start of a row that goes on after it."""
    pattern = layout.well_formed if data.count(b"\r") == data.count(b"\r\n") else None
    quote, comment = layout.options.quote, layout.options.comment
    text = data.decode()
    lines = text.split("\n")[:-1]
    starts = [0, *accumulate(len(x) + 1 for x in lines)]
    runs = WellFormedRuns(lines, quote, pattern) if pattern else None
    batches: list[pa.RecordBatch] = []
    collected = _Collected(layout)
    at = 0
    while at < len(lines):
        run = runs.run_at(at, _LONG_RUN) if runs else None
        if run:
            batch = _by_arrow(layout, text[starts[at] : starts[run.end]].encode(), run.places(line), several_lines=bool(quote))
            if batch is not None:
                batches += [*collected.flush(), batch]
                at = run.end
                continue
        if comment and text.startswith(comment, starts[at]):
            at += 1
            continue
        record, after = layout.splitter.record_at(text, starts[at])
        if record is None:
            if not last and len(text) - starts[at] < MAX_LINE_BYTES:
                return [*batches, *collected.flush()], text[starts[at] :].encode()
            record, after = fault_of_line(text, starts[at], "a quote is opened and never closed")
        collected.add(record, line + at, text[starts[at] : after])
        at += text.count("\n", starts[at], after)
        if len(collected.rows) >= BATCH_ROWS:
            batches += collected.flush()
    return [*batches, *collected.flush()], b""


def _by_arrow(layout: _Layout, data: bytes, places: pa.Array, *, several_lines: bool) -> pa.RecordBatch | None:
    """The rows of well-formed text, or None if they are not as many as `places` after all.

    Args:
        several_lines: a row may have.

    """
    import pyarrow as pa
    from pyarrow import csv

    options = layout.options
    names = [str(i) for i in range(layout.width)]
    used = sorted({p for p in layout.positions if p is not None})
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            csv.ParseOptions(
                delimiter=options.delimiter,
                quote_char=options.quote or False,
                newlines_in_values=several_lines,
                # Arrow would make an empty line a row of nulls.
                ignore_empty_lines=layout.width > 1,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[names[p] for p in used],
                null_values=list(layout.nulls),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(places):
        return None
    columns = [pa.nulls(len(places), pa.string()) if p is None else _one(table[str(p)]) for p in layout.positions]
    return batch_of(columns, layout.names, places)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class _Collected:
    """Rows split one by one, until they are a batch."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self.rows: list[list[str | None]] = []
        self._places: list[int] = []
        self._problems: dict[int, Problem] = {}

    def add(self, record: Record, line: int, text: str) -> None:
        width, fault = self._layout.width, record.fault
        if fault is None and len(record.values) != width:
            if text in ("\n", "\r\n"):
                return
            fault = f"{len(record.values)} values; expected {width}"
        if fault:
            self._problems[len(self.rows)] = Problem(fault, record.text or text.rstrip("\r\n"))
        self.rows.append([None] * width if fault else record.values)
        self._places.append(line)

    def flush(self) -> Iterator[pa.RecordBatch]:
        if self.rows:
            values = list(zip(*self.rows, strict=True))
            absent = [None] * len(self.rows)
            columns = [absent if p is None else values[p] for p in self._layout.positions]
            yield text_batch(columns, self._layout.names, self._places, self._problems)
            self.rows, self._places, self._problems = [], [], {}
