"""Cells of a sheet, many at a time, and what they hold as text.

A cell is read as what it holds, not as it is formatted: a whole number is written without a point, a date as ISO 8601. Excel
computes and shows 15 significant digits, so a fraction is read to those, the sum of 0.1 and 0.2 as 0.3; a column that the
contract declares `DOUBLE` gets the number as it is. A whole number too large for a double to tell from its neighbours is given
in exponent notation, which no integer column accepts.

A date is a number of days, which its format makes a date. Day 60 of the system of 1900 is 29 February 1900, which never was: it
is given as that, and no date column accepts it. What lies outside the years that Excel shows is given as the number that it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.contracts.native_text import as_declared
from caudal.lake.readers.excel.workbook import arrow_compute

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.contracts import Column

#: What a cell holds. The text of it, as the file has it, is:
TEXT = 0  #: itself
SHARED = 1  #: its place among the workbook's strings
NUMBER = 2  #: a number
MOMENT = 3  #: a number of days, formatted as a date, a time of day, or both
DURATION = 4  #: a number of days, formatted as a duration
BOOLEAN = 5  #: 0 or 1
ISO = 6  #: a date, a time of day, or both, as ISO 8601
ERROR = 7  #: the name of the error
UNCOMPUTED = 8  #: a formula, without `=`, which has no value

#: Why a row with such a cell is refused.
FAULTS = {
    ERROR: "an error",
    UNCOMPUTED: "a formula that was never computed: open the workbook in Excel, save it, and deliver it",
}

_EXACT_INTEGERS = 2**53
_EXCEL_DIGITS = 15
_DAY_MS = 86_400_000
_DAYS_1904 = 1462
_DAY_AFTER_LAST = 2_958_466
_NEVER = 60  # the day 1900-02-29

#: Numbers that are written as they are to be given, if they are short enough to be exact.
_PLAIN = r"^(?:0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])$"
_EXACT = r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"


@dataclass(frozen=True)
class Cells:
    """Cells that are not empty, of consecutive rows, in order.

    Attributes:
        rows: of each cell, from 1 as Excel counts.
        columns: of each, from 0.
        kinds: of each, what it holds.
        raw: of each, the text of it.
        strings: of the workbook.
        is_1904: the days are counted from 1904.

    """

    rows: np.ndarray
    columns: np.ndarray
    kinds: np.ndarray
    raw: pa.StringArray
    strings: pa.Array
    is_1904: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, wanted: np.ndarray) -> Cells:
        """Those at the given places, or where the mask is true."""
        import numpy as np
        import pyarrow as pa

        if wanted.dtype == bool:
            if wanted.all():
                return self
            wanted = np.flatnonzero(wanted)
        raw = self.raw.take(pa.array(wanted))
        return Cells(self.rows[wanted], self.columns[wanted], self.kinds[wanted], raw, self.strings, self.is_1904)

    def texts(self, column: Column | None = None) -> pa.Array:
        """What each holds, for a column of the contract.

        Raises:
            ValueError, LookupError: the workbook is damaged.

        """
        import numpy as np

        present = np.flatnonzero(np.bincount(self.kinds, minlength=1))
        if len(present) == 1:
            return self._texts(int(present[0]), self.raw, column)
        places = [np.flatnonzero(self.kinds == kind) for kind in present]
        found = [self._texts(int(k), self.raw.take(_places(p)), column) for k, p in zip(present, places, strict=True)]
        return _put(found, places, len(self))

    def _texts(self, kind: int, raw: pa.Array, column: Column | None) -> pa.Array:
        """Those of one kind. A number or a date is written as the contract declares for text, so that both are read alike."""
        import pyarrow as pa

        texts = self._plain_texts(kind, raw, column)
        if column is None or not (column.number_format or column.format) or kind not in (NUMBER, MOMENT, DURATION, ISO):
            return texts
        return pa.array([None if text is None else as_declared(column, text) for text in texts.to_pylist()], pa.string())

    def _plain_texts(self, kind: int, raw: pa.Array, column: Column | None) -> pa.Array:
        import pyarrow as pa

        pc = arrow_compute()
        exact = column is not None and column.logical_type == "number" and not column.is_decimal
        at_midnight = column is not None and column.logical_type == "timestamp"
        match kind:
            case _ if kind == SHARED:
                return self.strings.take(raw.cast(pa.int32()))
            case _ if kind == NUMBER:
                return _numbers(raw, exact=exact)
            case _ if kind == MOMENT:
                return _moments(raw, is_1904=self.is_1904, at_midnight=at_midnight)
            case _ if kind == DURATION:
                return pa.array([_duration(text) for text in raw.to_pylist()], pa.string())
            case _ if kind == BOOLEAN:
                return pc.if_else(pc.equal(raw, "1"), "true", pc.if_else(pc.equal(raw, "0"), "false", raw))
            case _ if kind == ISO:
                return pa.array([_iso(text, at_midnight=at_midnight) for text in raw.to_pylist()], pa.string())
            case _ if kind == UNCOMPUTED:
                return pc.binary_join_element_wise("=", raw, "")
        return raw


def _places(places: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(places)


def _put(found: Sequence[pa.Array], places: Sequence[np.ndarray], count: int) -> pa.Array:
    """One array of `count` texts, each of `found` at its places."""
    import numpy as np
    import pyarrow as pa

    order = np.empty(count, np.int64)
    order[np.concatenate(places)] = np.arange(count)
    return pa.concat_arrays([f.cast(pa.string()) for f in found]).take(pa.array(order))


def _numbers(raw: pa.Array, *, exact: bool) -> pa.Array:
    import pyarrow as pa

    pc = arrow_compute()
    if exact:
        plain = pc.match_substring_regex(raw, _EXACT)
    else:
        short = pc.less_equal(pc.binary_length(raw), _EXCEL_DIGITS)
        plain = pc.and_(short, pc.match_substring_regex(raw, _PLAIN))
    if pc.all(plain).as_py():
        return raw
    other = pc.invert(plain)
    told = [_number(text, exact=exact) for text in raw.filter(other).to_pylist()]
    return pc.replace_with_mask(raw, other, pa.array(told, pa.string()))


def _value(text: str) -> float:
    """The number that the text is, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _number(text: str, *, exact: bool = False) -> str:
    """A number as it is given; `exact`: with all digits that it takes to be that number. What is none stays as it stands."""
    number = _value(text)
    if not math.isfinite(number):
        return text
    if number % 1 == 0:
        return str(int(number)) if abs(number) < _EXACT_INTEGERS else f"{number:.17e}"
    told = repr(number)
    return told if exact or len(told) <= _EXCEL_DIGITS else min(told, f"{number:.{_EXCEL_DIGITS}g}", key=len)


def _moments(raw: pa.Array, *, is_1904: bool, at_midnight: bool) -> pa.Array:
    """Of each number of days: the date, the time of day if it is under one day, or both."""
    import numpy as np
    import pyarrow as pa

    try:
        given = raw.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        given = np.array([_value(text) for text in raw.to_pylist()])
    days = given + _DAYS_1904 if is_1904 else given
    odd = ~((given >= 0) & (days < _DAY_AFTER_LAST))
    if not is_1904:
        odd |= (days >= _NEVER) & (days < _NEVER + 1)
    short = (given < 1) & ~odd
    whole = (days == np.floor(days)) & ~odd & ~short
    safe = np.where(odd, 0, days)
    ms = np.round(np.where(short, given, safe + (safe < _NEVER)) * _DAY_MS).astype(np.int64)
    since = np.datetime64("1899-12-30", "ms")
    fine = (ms % 1000 != 0) & ~odd

    def dates(chosen: np.ndarray) -> pa.Array:
        return pa.array((since + ms[chosen].astype("timedelta64[ms]")).astype("datetime64[D]"))

    def stamps(unit: str) -> Callable[[np.ndarray], pa.Array]:
        return lambda chosen: pa.array((since + ms[chosen].astype("timedelta64[ms]")).astype(f"datetime64[{unit}]"))

    groups: list[tuple[np.ndarray, Callable[[np.ndarray], pa.Array]]] = [
        (odd, lambda chosen: pa.array([_no_moment(raw[i].as_py(), is_1904=is_1904) for i in chosen.tolist()], pa.string())),
        (short, lambda chosen: pa.array([_clock(int(v)) for v in ms[chosen].tolist()], pa.string())),
        (whole, stamps("s") if at_midnight else dates),
        (~(odd | short | whole | fine), stamps("s")),
        (~(odd | short | whole) & fine, stamps("ms")),
    ]
    places = [np.flatnonzero(mask) for mask, _ in groups]
    found = [make(p).cast(pa.string()) for p, (_, make) in zip(places, groups, strict=True) if len(p)]
    return found[0] if len(found) == 1 else _put(found, [p for p in places if len(p)], len(given))


def _no_moment(text: str, *, is_1904: bool) -> str:
    days = _value(text)
    if not is_1904 and _NEVER <= days < _NEVER + 1:
        clock = _clock(round((days - _NEVER) * _DAY_MS))
        return "1900-02-29" if days == _NEVER else f"1900-02-29 {clock}"
    return _number(text)


def _clock(ms: int) -> str:
    fraction = f".{ms % 1000:03}" if ms % 1000 else ""
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{fraction}"


def _duration(text: str) -> str:
    days = _value(text)
    if not math.isfinite(days):
        return text
    ms = round(abs(days) * _DAY_MS)
    return f"{'-' if days < 0 and ms else ''}{_clock(ms)}"


def _iso(text: str, *, at_midnight: bool) -> str:
    date, _, clock = text.partition("T")
    if clock:
        return f"{date} {clock}"
    return f"{text} 00:00:00" if at_midnight and "-" in text else text
