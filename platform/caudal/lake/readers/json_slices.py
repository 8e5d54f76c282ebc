"""Where objects and arrays stand in lines of JSON, found by array operations: their text as it is written.

The lines are known to be well-formed, each one object.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Slices:
    """The objects and arrays that are values of the lines' own keys.

    Args:
        data: whole lines.

    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def texts(self, name: str) -> list[str | None]:
        """The text of the key's value on each line; None where it is null, or the key is not there as it is spelled here."""
        import numpy as np

        depth, ends_of_values, ends_of_lines, _ = self._structure
        key = re.compile(re.escape(json.dumps(name, ensure_ascii=False).encode()) + rb"[ \t\r]*:[ \t\r]*(?=[{\[])")
        found = [(m.start(), m.end()) for m in key.finditer(self._data)]
        places = np.array(found, np.int64).reshape(-1, 2)
        places = places[depth[places[:, 0]] == 1]
        lasts = ends_of_values[np.searchsorted(ends_of_values, places[:, 1])]
        texts: list[str | None] = [None] * len(ends_of_lines)
        lines = np.searchsorted(ends_of_lines, places[:, 0])
        for line, start, last in zip(lines.tolist(), places[:, 1].tolist(), lasts.tolist(), strict=True):
            texts[line] = self._data[start : last + 1].decode()
        return texts

    @property
    def keys(self) -> int:
        """How many keys the lines have, not counting those of objects inside."""
        return self._structure[3]

    @cached_property
    def _structure(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """How deep each character stands; where values at depth 2 end; where lines end; how many keys there are at depth 1."""
        import numpy as np

        plain = self._data
        if b"\\" in plain:
            plain = plain.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        characters = np.frombuffer(plain, np.uint8)
        outside = np.cumsum(characters == ord('"'), dtype=np.int32) % 2 == 0
        opened = ((characters == ord("{")) | (characters == ord("["))) & outside
        closed = ((characters == ord("}")) | (characters == ord("]"))) & outside
        depth = np.cumsum(opened.astype(np.int8) - closed.astype(np.int8), dtype=np.int32)
        keys = int(np.count_nonzero((characters == ord(":")) & outside & (depth == 1)))
        return depth, np.flatnonzero(closed & (depth == 1)), np.flatnonzero(characters == ord("\n")), keys
