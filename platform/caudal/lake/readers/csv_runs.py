"""Finding rows of delimited text that are well formed beyond doubt, many at a time.

Where quotes are well formed, a line ends a row if and only if the quotes up to its end are even in number. Rows cut so are then
looked at one by one: a stray quote makes a row that does not match, and what comes after it is cut anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Run:
    """Well-formed rows one after the other.

    Attributes:
        first_lines: on which each begins, from 0 in the text.
        end: the line after the last.

    """

    first_lines: Sequence[int]
    end: int

    def places(self, line: int) -> pa.Array:
        """The numbers of the first lines in the file, where the text begins at `line`."""
        import numpy as np
        import pyarrow as pa

        return pa.array(np.asarray(self.first_lines, dtype=np.int64) + line)


class WellFormedRuns:
    """The well-formed rows of some lines.

    Args:
        pattern: a regular expression (RE2) of a whole row.

    """

    def __init__(self, lines: list[str], quote: str, pattern: str) -> None:
        self._lines, self._pattern = lines, pattern
        self._odd = self._parities(quote)
        self._cuts: dict[int, tuple[list[int], list[int]]] = {}

    def run_at(self, line: int, at_least: int) -> Run | None:
        """The rows from `line` on, where a row begins, if there are `at_least` so many."""
        begins, odd_rows = self._cut(int(self._odd[line - 1]) if line else 0)
        first = bisect_left(begins, line)
        place = bisect_left(odd_rows, first)
        last = odd_rows[place] if place < len(odd_rows) else len(begins) - 1
        return Run(begins[first:last], begins[last]) if last - first >= at_least else None

    def _cut(self, parity: int) -> tuple[list[int], list[int]]:
        """Where rows begin, if quotes are well formed from a line on before which they are of that parity.

        Returns:
            The first lines of the rows, and the line after the last row; and which rows, from 0, do not match after all.

        """
        import numpy as np

        if parity not in self._cuts:
            ends = np.flatnonzero(self._odd == parity) + 1
            begins = [*([] if parity else [0]), *ends.tolist()]
            rows = [self._lines[a] if b == a + 1 else "\n".join(self._lines[a:b]) for a, b in pairwise(begins)]
            self._cuts[parity] = begins, self._mismatches(rows)
        return self._cuts[parity]

    def _mismatches(self, rows: list[str]) -> list[int]:
        import pyarrow as pa
        from pyarrow import compute

        options = compute.MatchSubstringOptions(self._pattern)
        fits = compute.call_function("match_substring_regex", [pa.array(rows, pa.large_string())], options)
        return compute.call_function("indices_nonzero", [compute.call_function("invert", [fits])]).to_pylist()

    def _parities(self, quote: str) -> np.ndarray:
        """Whether the quotes up to the end of each line are odd in number: 0 or 1."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        if not quote:
            return np.zeros(len(self._lines), dtype=np.int64)
        options = compute.MatchSubstringOptions(quote)
        counts = compute.call_function("count_substring", [pa.array(self._lines, pa.large_string())], options)
        return counts.to_numpy(zero_copy_only=False).cumsum() & 1
