"""Cells of the common forms in the XML of a sheet, found by array operations: many at a time, and none looked at by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from caudal.lake.readers.excel import cells as kinds
from caudal.lake.readers.excel.tokens import Tags, word

if TYPE_CHECKING:
    import numpy as np

TYPES = {
    "n": kinds.NUMBER, "s": kinds.SHARED, "str": kinds.TEXT, "inlineStr": kinds.TEXT,
    "b": kinds.BOOLEAN, "e": kinds.ERROR, "d": kinds.ISO,
}  # fmt: skip
_ROW_NUMBER = re.compile(rb"""\sr\s*=\s*["'](\d{1,7})["']""")
_ROW_DIGITS, _STYLE_DIGITS = 7, 5

#: No kind: nothing is in the cell.
EMPTY = 255


def rows_of(tags: Tags) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Of each row: its place among the tags, its number, and how many digits that has."""
    import numpy as np

    at = np.flatnonzero(tags.first == word(b"<row"))
    start = tags.starts[at]
    usual = tags.words[start + 4] == word(b' r="')
    numbers, digits = _digits(tags, start + 8, _ROW_DIGITS)
    for i in np.flatnonzero(~usual).tolist():
        found = _ROW_NUMBER.search(tags.piece, start[i], tags.ends[at[i]])
        if not found:
            return None
        numbers[i], digits[i] = int(found[1]), len(str(int(found[1])))
    return (at, numbers, digits) if len(at) and (digits > 0).all() else None


def _digits(tags: Tags, start: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole numbers that start there, and how many digits each has."""
    import numpy as np

    numbers, digits = np.zeros(len(start), np.int32), np.zeros(len(start), np.int32)
    goes_on = np.ones(len(start), bool)
    for place in range(most):
        digit = tags.data[start + place] - np.uint8(ord("0"))
        goes_on &= digit < 10
        if not goes_on.any():
            break
        numbers = np.where(goes_on, numbers * 10 + digit, numbers)
        digits += goes_on
    return numbers, digits


def columns_of(tags: Tags, at: np.ndarray, rows: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Of each cell, the column, and where its reference ends; None if one does not name the row that it stands in."""
    import numpy as np

    start = tags.starts[at]
    if ((tags.words[start + 4] & 0xFFFF) != word(b'="')).any():
        return None
    letters = [tags.data[start + 6 + i] - np.uint8(ord("A")) for i in range(3)]
    second = letters[1] < 26
    third = second & (letters[2] < 26)
    after = start + 7 + second + third + digits
    fits = (letters[0] < 26) & (tags.data[after] == ord('"'))
    fits &= tags.data[after - 1] == rows % 10 + ord("0")
    if not fits.all():
        return None
    columns = letters[0].astype(np.int32)
    columns = np.where(second, (columns + 1) * 26 + letters[1], columns)
    columns = np.where(third, (columns + 1) * 26 + letters[2], columns)
    return columns.astype(np.int32), after + 1


def attributes_of(tags: Tags, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell, its kind, its style, and whether it has other attributes than those two."""
    import numpy as np

    count = len(after)
    found, styles, odd = np.full(count, kinds.NUMBER, np.uint8), np.zeros(count, np.int32), np.zeros(count, bool)
    following = tags.data[after]
    odd |= (following != ord(" ")) & (following != ord(">")) & (following != ord("/"))
    left = np.flatnonzero(following == ord(" "))
    place = after[left]
    for _ in range(2):
        name = tags.words[place]
        is_style, is_type = name == word(b' s="'), name == word(b' t="')
        length = np.zeros(len(left), np.int64)
        numbers, digits = _digits(tags, place[is_style] + 4, _STYLE_DIGITS)
        styles[left[is_style]] = numbers
        length[is_style] = digits
        typed, type_length = _types(tags, place[is_type] + 4)
        found[left[is_type]] = typed
        length[is_type] = type_length
        ended = (length > 0) & (tags.data[place + 4 + length] == ord('"'))
        odd[left[~ended]] = True
        place = place + 5 + length
        more = ended & (tags.data[place] == ord(" "))
        left, place = left[more], place[more]
    odd[left] = True
    return found, styles, odd


def _types(tags: Tags, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each type that is written there, the kind and the length of its name; 0 where it is unknown."""
    import numpy as np

    begins = tags.words[start]
    found, length = np.full(len(start), kinds.NUMBER, np.uint8), np.zeros(len(start), np.int64)
    for name, kind in TYPES.items():
        written = f'{name}"'.encode()
        mask = (1 << 8 * min(len(written), 4)) - 1
        here = (begins & mask) == word(written[:4])
        for rest in range(4, len(written), 4):
            if here.any():
                tail = written[rest : rest + 4]
                here &= (tags.words[start + rest] & ((1 << 8 * len(tail)) - 1)) == word(tail)
        found[here], length[here] = kind, len(name)
    return found, length


def values_of(tags: Tags, at: np.ndarray, found: np.ndarray, *, is_stale: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell, where its text starts and ends, and whether it has another form; `found` is corrected where need be."""
    import numpy as np

    first, names = tags.first, tags.names
    simple = (names[at + 1] == word(b"<v>")) & (first[at + 2] == word(b"</v>")) & (first[at + 3] == word(b"</c>"))
    starts, ends = tags.ends[at + 1] + 1, tags.starts[at + 2]
    nothing = tags.closes_itself(at) | (first[at + 1] == word(b"</c>"))
    simple &= ~nothing
    odd = np.zeros(len(at), bool)
    rest = np.flatnonzero(~simple & ~nothing)
    if len(rest):
        i = at[rest]
        inline = (first[i + 1] == word(b"<is>")) & ((names[i + 2] == word(b"<t>")) | (names[i + 2] == word(b"<t ")))
        inline &= ~tags.closes_itself(i + 2) & (found[rest] == kinds.TEXT)
        inline &= (first[i + 3] == word(b"</t>")) & (first[i + 4] == word(b"</is")) & (first[i + 5] == word(b"</c>"))
        formula = (names[i + 1] == word(b"<f>")) | (names[i + 1] == word(b"<f "))
        short = tags.closes_itself(i + 1)
        formula &= short | (first[i + 2] == word(b"</f>"))
        v = i + 2 + ~short
        has_value = formula & (names[v] == word(b"<v>")) & (first[v + 1] == word(b"</v>")) & (first[v + 2] == word(b"</c>"))
        has_none = formula & ((first[v] == word(b"</c>")) | ((names[v] == word(b"<v/")) & (first[v + 1] == word(b"</c>"))))
        odd[rest] = ~(inline | has_value | has_none)
        opened = np.where(inline, i + 2, np.where(has_value, v, i + 1))
        starts[rest], ends[rest] = tags.ends[opened] + 1, tags.starts[opened + 1]
        empty = has_none | (has_value & (starts[rest] == ends[rest]))
        zero = is_stale & has_value & (ends[rest] - starts[rest] == 1) & (tags.data[starts[rest]] == ord("0"))
        never = (empty & (found[rest] != kinds.TEXT)) | zero
        found[rest[empty]] = EMPTY
        found[rest[never]] = kinds.UNCOMPUTED
        told = i[never] + 1
        starts[rest[never]] = tags.ends[told] + 1
        ends[rest[never]] = np.where(short[never], tags.ends[told] + 1, tags.starts[told + 1])
    found[nothing | ((starts >= ends) & (found != kinds.UNCOMPUTED))] = EMPTY
    return starts, ends, odd
