"""Lines of JSON that are all written alike, as machines write them: the same keys in the same order, with the same blanks.

Where a block is found to be such, keys and values are cut out of it by array operations, faster than a parser reads them. What
is found wanting in any way is left to one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.contracts import Column, Contract

_SEPARATORS = ((",", ":"), (", ", ": "), (",", ": "))
_NUMBER = "^-?(?:0|[1-9][0-9]*)(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?$"


class TemplateParser:
    """Parses blocks of flat objects that have exactly the contract's keys."""

    def __init__(self, contract: Contract) -> None:
        self._columns = {c.name: c for c in contract.columns}
        self._names = contract.column_names
        self._applies = not any(c.logical_type in ("object", "array") or c.number_format for c in contract.columns)

    def parse(self, data: bytes) -> list[pa.Array] | None:
        """The values of the contract's columns as text, as they are written, one for each line; None if a line is another."""
        if not self._applies or b"\\" in data:
            return None
        template = self._template(data[: data.index(b"\n")])
        if template is None:
            return None
        keys, tokens = template
        block = _Block(data)
        cut = block.cut(tokens)
        if cut is None:
            return None
        values = [v for n, key in enumerate(keys) if (v := block.values(self._columns[key], *cut[n])) is not None]
        if len(values) < len(keys) or block.quotes != 2 * block.lines * len(keys) + sum(v.quotes for v in values):
            return None
        texts = block.texts(values)
        if not all(_are_json(self._columns[key], text) for key, text in zip(keys, texts, strict=True)):
            return None
        by_key = dict(zip(keys, texts, strict=True))
        return [by_key[name] for name in self._names]

    def _template(self, line: bytes) -> tuple[list[str], list[bytes]] | None:
        """The keys of a line in their order, and what stands before the value of each."""
        try:
            found = json.loads(line)
        except ValueError:
            return None
        if not isinstance(found, dict) or found.keys() != self._columns.keys():
            return None
        keys = [json.dumps(key, ensure_ascii=False) for key in found]
        for between, after in _SEPARATORS:
            tokens = [f"{'{' if n == 0 else between}{key}{after}".encode() for n, key in enumerate(keys)]
            if line.startswith(tokens[0]) and all(token in line for token in tokens):
                # A blank too few or too many shows when the tokens are held against each line.
                if after == ":" and line[len(tokens[0]) : len(tokens[0]) + 1] == b" ":
                    continue
                return list(found), tokens
        return None


class _Values(NamedTuple):
    """Where the values of one key are on each line, which are null, and how many quotes are around them."""

    starts: np.ndarray
    ends: np.ndarray
    nulls: np.ndarray
    quotes: int


class _Block:
    """Lines as bytes."""

    def __init__(self, data: bytes) -> None:
        import numpy as np

        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._is_quote = self._bytes == ord('"')
        self._ends = np.flatnonzero(self._bytes == ord("\n"))
        self._starts = np.concatenate([[0], self._ends[:-1] + 1])
        self.lines = len(self._ends)
        self.quotes = int(np.count_nonzero(self._is_quote))

    def cut(self, tokens: list[bytes]) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """Where the value after each token is on each line, if all lines have the tokens, and nothing below a blank in them."""
        import numpy as np

        if np.count_nonzero(self._bytes < ord(" ")) != self.lines:
            return None
        colons = np.flatnonzero(self._is_quote[:-1] & (self._bytes[1:] == ord(":"))) + 1
        if len(colons) != self.lines * len(tokens):
            return None
        after = np.array([[len(token) - token.rindex(b":")] for token in tokens])
        starts = np.ascontiguousarray(colons.reshape(self.lines, len(tokens)).T) + after
        befores = starts - np.array([[len(token)] for token in tokens])
        ends = np.concatenate([befores[1:], [self._ends - 1]])
        if not (befores[0] == self._starts).all() or not (self._bytes[ends[-1]] == ord("}")).all():
            return None
        if not (ends > starts).all() or not (starts[-1] < self._ends).all():
            return None
        if not all(self._stands_at(token, before) for token, before in zip(tokens, befores, strict=True)):
            return None
        return list(zip(starts, ends, strict=True))

    def _stands_at(self, token: bytes, places: np.ndarray) -> bool:
        """Whether the token is at all the places, which are inside the block."""
        import numpy as np

        length = len(token)
        pieces = np.ndarray((len(self._data) - length + 1,), f"V{length}", self._data, strides=(1,))
        return pieces[places].tobytes() == token * len(places)

    def values(self, column: Column, starts: np.ndarray, ends: np.ndarray) -> _Values | None:
        """The values of a column, if all are null, or else all are in quotes, or none, as the column's type is written."""
        import numpy as np

        first = self._bytes[starts]
        nulls = first == ord("n")
        some_null = nulls.any()
        if some_null and not (self._stands_at(b"null", starts[nulls]) and (ends[nulls] - starts[nulls] == len("null")).all()):
            return None
        quoted = first == ord('"')
        if column.logical_type in ("integer", "number", "boolean"):
            return None if quoted.any() else _Values(starts, ends, nulls, 0)
        last = self._is_quote[ends - 1]
        if not ((quoted & last) | nulls).all() or not (ends > starts + 1).all():
            return None
        if some_null:
            return _Values(starts + quoted, ends - quoted, nulls, 2 * int(np.count_nonzero(quoted)))
        return _Values(starts + 1, ends - 1, nulls, 2 * len(starts))

    def texts(self, values: list[_Values]) -> list[pa.Array]:
        """The text of the values: taken from the block, which is seen as an array of them and of what is between them."""
        import numpy as np
        import pyarrow as pa

        data, lines = pa.py_buffer(self._data), np.arange(0, 2 * self.lines, 2, dtype=np.int32)
        texts = []
        for starts, ends, nulls, _ in values:
            places = np.empty((self.lines, 2), np.int32)
            places[:, 0], places[:, 1] = starts, ends
            pieces = pa.StringArray.from_buffers(places.size - 1, pa.py_buffer(places), data)
            texts.append(pieces.take(pa.array(lines, mask=nulls if nulls.any() else None)))
        return texts


def _are_json(column: Column, text: pa.Array) -> bool:
    """Whether values that are not in quotes are JSON."""
    if column.logical_type == "boolean":
        return {v for v in text.unique().to_pylist() if v is not None} <= {"true", "false"}
    return column.logical_type not in ("integer", "number") or _are_numbers(text)


def _are_numbers(text: pa.Array) -> bool:
    import numpy as np
    from pyarrow import compute

    _, offsets, data = text.buffers()
    if data is None:
        return True
    places = np.frombuffer(offsets, np.int32, len(text) + 1)
    starts, ends = places[:-1], places[1:]
    if text.null_count:
        starts, ends = starts[ends > starts], ends[ends > starts]
    characters = np.frombuffer(data, np.uint8, int(places[-1]))
    is_digit = (characters - ord("0")) < 10
    if not is_digit.all():
        others = np.flatnonzero(~is_digit)
        kinds = characters[others]
        points = others[kinds == ord(".")]
        signed = characters[starts] == ord("-")
        if len(points) + np.count_nonzero(signed) != len(others):
            fits = compute.call_function("match_substring_regex", [text], compute.MatchSubstringOptions(_NUMBER))
            return compute.call_function("all", [fits]).as_py() is not False
        if not _are_in_different_values(points, starts, ends):
            return False
        starts = starts + signed
    if (starts >= ends).any() or not is_digit[starts].all() or not is_digit[ends - 1].all():
        return False
    zeros = starts[(characters[starts] == ord("0")) & (starts + 1 < ends)]
    return not is_digit[zeros + 1].any()


def _are_in_different_values(points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> bool:
    import numpy as np

    if len(points) == len(starts) and ((points > starts) & (points < ends)).all():
        return True
    return not (np.diff(np.searchsorted(starts, points, "right")) == 0).any()
