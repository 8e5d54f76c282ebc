"""Cutting a JSON array into its elements, many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import Unreadable
from caudal.lake.readers.text import MAX_LINE_BYTES, Block

if TYPE_CHECKING:
    import numpy as np

_QUOTE, _COMMA, _NEWLINE, _RETURN = b'",\n\r'
_BLANKS = b" \t\r\n"


class ElementSplitter:
    """Cuts what follows the opening bracket of an array.

    An element becomes one line. Blanks around it are left out; a newline inside it becomes a space where it is a blank, and a
    carriage return where it stands in a string, which JSON allows no more. Everything else is as it stands in the file.

    Attributes:
        count: elements that were given.
        ended: whether the closing bracket was seen.
        rest: what follows it.

    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._depth, self._in_string = 0, False
        self._held = b""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.count = 0
        self.ended = False
        self.rest = b""

    def feed(self, piece: bytes) -> Iterator[Block]:
        """Yield the elements that end in `piece`.

        Raises:
            Unreadable: between two commas there is none, one is too long, or a brace closes the array.

        """
        data = self._held + piece
        kept = len(data.rstrip(b"\\"))
        data, self._held = data[:kept], data[kept:]
        lines = self._lines(data)
        cut = lines.rfind(b"\n") + 1
        if cut:
            yield self._block(b"".join([*self._pending, lines[:cut]]))
            self._pending, self._pending_bytes = [], 0
        self._pending.append(lines[cut:])
        self._pending_bytes += len(lines) - cut + len(self._held)
        if self._pending_bytes > MAX_LINE_BYTES:
            raise Unreadable(f"{self._path}, element {self.count + 1}: longer than {MAX_LINE_BYTES >> 20} MiB")
        if self.ended:
            last = b"".join(self._pending)
            if last:
                yield self._block(last + b"\n")
            elif self.count:
                raise self._missing(self.count + 1)

    def _block(self, lines: bytes) -> Block:
        if lines.startswith(b"\n") or b"\n\n" in lines:
            before = 0 if lines.startswith(b"\n") else lines.count(b"\n", 0, lines.index(b"\n\n")) + 1
            raise self._missing(self.count + before + 1)
        first = self.count + 1
        self.count += lines.count(b"\n")
        return Block(lines, first)

    def _missing(self, number: int) -> Unreadable:
        return Unreadable(f"{self._path}, element {number}: nothing stands there, before or after a comma; expected an object")

    def _lines(self, data: bytes) -> bytes:
        import numpy as np

        read = np.frombuffer(data, np.uint8)
        marked, steps = _tables()
        places = np.flatnonzero(marked[read])
        found = read[places]
        quotes = found == _QUOTE
        if b"\\" in data:
            quotes &= ~_escaped(read)[places]
        in_string = ((np.cumsum(quotes) + self._in_string) & 1).astype(bool)
        outside = ~(in_string | quotes)
        depths = np.cumsum(np.where(outside, steps[found], 0)) + self._depth
        ends = np.flatnonzero(depths < 0)
        if len(ends):
            end = int(ends[0])
            place = int(places[end])
            if data[place : place + 1] != b"]":
                raise Unreadable(f"{self._path}: a brace closes the array, after element {self.count}. Deliver it again")
            self.ended, self.rest = True, data[place + 1 :] + self._held
            self._held = b""
            read, places, found = read[:place], places[:end], found[:end]
            in_string, outside, depths = in_string[:end], outside[:end], depths[:end]
        if len(places):
            self._depth, self._in_string = int(depths[-1]), bool(in_string[-1])
        lines = read.copy()
        newlines = (found == _NEWLINE) | (found == _RETURN)
        lines[places[newlines & outside]] = ord(" ")
        lines[places[(found == _NEWLINE) & in_string]] = _RETURN
        between = outside & (depths == 0)
        lines[places[between & (found == _COMMA)]] = _NEWLINE
        blanks = places[between & np.isin(found, np.frombuffer(_BLANKS, np.uint8))]
        return np.delete(lines, blanks).tobytes() if len(blanks) else lines.tobytes()


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each byte, whether it is looked at, and what it adds to the depth."""
    import numpy as np

    marked, steps = np.zeros(256, bool), np.zeros(256, np.int64)
    marked[list(b'",{}[]' + _BLANKS)] = True
    steps[list(b"{[")], steps[list(b"}]")] = 1, -1
    return marked, steps


def _escaped(read: np.ndarray) -> np.ndarray:
    """Whether each byte comes after an odd number of backslashes."""
    import numpy as np

    slashes = np.flatnonzero(read == ord("\\"))
    first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    starts = slashes[first]
    lengths = np.diff(first, append=len(slashes))
    escaped = np.zeros(len(read) + 1, bool)
    escaped[(starts + lengths)[lengths % 2 == 1]] = True
    return escaped[:-1]
