"""Text in which each value has its place on the line, counted in characters.

Blanks after a value mean nothing, blanks before one do in a string; blanks alone, or a null marker, are no value. A line that
is shorter or longer than declared is rejected, never cut or padded. A line without a character is no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.dialect import AUTO, detected_encoding
from caudal.lake.readers.drift import match_columns
from caudal.lake.readers.rows import Problem, Rows, batch_of, text_columns, undeclared_text
from caudal.lake.readers.text import Block, open_text, read_blocks, without_footer

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.lake.dataset import Dataset
    from caudal.lake.options import FixedWidthOptions


def read_fixed_width(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no such text, or the declared places are not those of the contract's columns.

    """
    declared, contract = dataset.fixed_width, dataset.contract
    options = replace(declared, encoding=detected_encoding(declared.encoding, file, path, "fixed-width text"))
    open_text(file, path, options.encoding, "fixed-width text")
    places = options.places(contract.column_names)
    names = list(places)
    matched = match_columns(names, contract, path, "`fixed_width.columns`")
    spans = [None if p is None else places[names[p]] for p in matched.positions]
    layout = _Layout(contract.column_names, tuple(spans), options)
    dialect = options.encoding if declared.encoding == AUTO else None
    weight = file.stat().st_size
    return Rows(text_columns(contract), lambda: layout.batches(file, path), undeclared_text(matched.ignored), weight, dialect)


@dataclass(frozen=True)
class _Layout:
    """Where the values of the contract's columns stand; None where the file does not have one."""

    names: tuple[str, ...]
    spans: tuple[tuple[int, int] | None, ...]
    options: FixedWidthOptions

    def batches(self, file: Path, path: str) -> Iterator[pa.RecordBatch]:
        blocks = without_footer(read_blocks(file, path, self.options.encoding), self.options.skip_footer)
        for block in blocks:
            batch = self._batch(block)
            if batch is not None:
                yield batch

    def _batch(self, block: Block) -> pa.RecordBatch | None:
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        whole = pa.array([block.data], pa.large_binary()).cast(pa.large_string())
        rows = compute.call_function("split_pattern", [whole], compute.SplitPatternOptions("\n")).values[:-1]
        if b"\r" in block.data:
            unended = compute.ReplaceSubstringOptions("\r$", "")
            rows = compute.call_function("replace_substring_regex", [rows], unended)
        lengths = compute.call_function("utf8_length", [rows]).to_numpy()
        places = np.arange(block.first_line, block.first_line + len(rows))
        read = (lengths > 0) & (places > self.options.skip_lines)
        if not read.all():
            rows, lengths, places = rows.filter(pa.array(read)), lengths[read], places[read]
        if not len(rows):
            return None
        wrong = np.flatnonzero(lengths != self.options.line_length)
        expected = self.options.line_length
        problems = {int(i): Problem(f"{lengths[i]} characters; expected {expected}", rows[int(i)].as_py()) for i in wrong}
        columns = [pa.nulls(len(rows), pa.string()) if s is None else self._values(rows, *s) for s in self.spans]
        return batch_of(columns, self.names, pa.array(places, pa.int64()), problems)

    def _values(self, rows: pa.Array, start: int, width: int) -> pa.Array:
        import pyarrow as pa
        from pyarrow import compute

        span = compute.SliceOptions(start - 1, start - 1 + width)
        cut = compute.call_function("utf8_slice_codeunits", [rows], span)
        values = compute.call_function("utf8_rtrim", [cut], compute.TrimOptions(" ")).cast(pa.string())
        nulls = pa.array(sorted({"", *self.options.null_markers}), pa.string())
        absent = compute.call_function("is_in", [values], compute.SetLookupOptions(nulls))
        return compute.call_function("if_else", [absent, pa.scalar(None, pa.string()), values])
