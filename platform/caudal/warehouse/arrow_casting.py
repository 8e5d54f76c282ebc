"""Values of a file -> the type that the contract declares, by Arrow, where the result is beyond doubt.

What `caudal.warehouse.casting` and `native_casting` accept is the law, and SQL. Arrow converts many times faster, and accepts
some texts that the law refuses: these are looked for here. In doubt there is no result, and SQL decides; so it does where some
value may break a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from caudal.warehouse.rules import violations

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.contracts import Column
    from caudal.lake.readers.rows import SourceColumn

#: Up to here a double holds every integer.
_EXACT_INTEGERS = 2**53
#: Of that many decimal digits, it holds every number.
_EXACT_DIGITS = 15
#: The shortest text of a number that a double would make zero: `1e-324`.
_VANISHING = 6
#: A decimal has at most so many digits.
_DECIMAL_DIGITS = 38
#: The years 1 to 9999, in days and microseconds from 1970 on.
_DAYS = (-719_162, 2_932_896)
_MICROSECONDS = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)
#: So many different values are held against the allowed ones.
_FEW = 1_000

_HOURS_AND_MINUTES = len("2017-01-31 10:30")


def cast_beyond_doubt(
    column: Column, source: SourceColumn, values: pa.Array, null_markers: Sequence[str] = ()
) -> pa.Array | None:
    """The values in the column's type, if each is one that the law accepts as exactly that; else None. A zero has no sign.

    Args:
        values: as `source` says; a reader of text may have them in the column's type already.
        null_markers: of the dataset.

    """
    import pyarrow as pa

    try:
        typed = _text(column, values, null_markers) if source.kind == "text" else _native(column, source, values)
        if typed is None or not _keeps_rules(column, typed):
            return None
        return _call("add", typed, 0.0) if pa.types.is_float64(typed.type) else typed
    except (pa.ArrowException, OverflowError, ValueError):
        return None


def _text(column: Column, values: pa.Array, null_markers: Sequence[str]) -> pa.Array | None:
    if not column.is_plain:
        return None
    if column.logical_type == "string":
        return values
    if any(_is_a_value(marker, column) for marker in null_markers):
        return None
    if values.type == column.arrow_type:
        return values
    cast = _CASTS.get(column.logical_type if column.logical_type != "number" or column.is_decimal else "double")
    return None if cast is None else cast(values, column.arrow_type)


def _is_a_value(marker: str, column: Column) -> bool:
    """Whether a null marker that the reader has not told apart would be taken for a value."""
    import pyarrow as pa

    try:
        return len(pa.array([marker.strip(" ")]).cast(column.arrow_type)) == 1
    except pa.ArrowException:
        return False


def _integers(text: pa.Array, declared: pa.DataType) -> pa.Array | None:
    """Arrow reads `007`, and hexadecimals, which begin with a zero too."""
    return None if _Texts(text).have_leading_zero() else text.cast(declared)


def _decimals(text: pa.Array, declared: pa.DataType) -> pa.Array | None:
    """Arrow reads `007`; of very many digits, and of some exponents, it makes any number."""
    texts = _Texts(text)
    doubtful = texts.have_exponent() or texts.have_leading_zero() or texts.are_longer_than(_DECIMAL_DIGITS)
    return None if doubtful else text.cast(declared)


def _doubles(text: pa.Array, declared: pa.DataType) -> pa.Array | None:
    """Arrow reads `007`, infinity, integers that a double cannot hold, exponents of any size, and what is too small as zero."""
    texts = _Texts(text)
    found = text.cast(declared)
    if texts.have_leading_zero() or not _are_finite(found):
        return None
    smallest, largest = _range(_call("abs", found))
    if (largest or 0) >= _EXACT_INTEGERS or (texts.have_exponent() and _any_matches(text, "[eE][+-]?[0-9]{6}")):
        return None
    if smallest == 0:
        suspicious = _call("and", _call("equal", found, 0.0), _call("greater_equal", _call("binary_length", text), _VANISHING))
        if _any_matches(text.filter(suspicious), "^[^eE]*[1-9]"):
            return None
    return found


def _booleans(text: pa.Array, declared: pa.DataType) -> pa.Array:
    return text.cast(declared)


def _dates(text: pa.Array, declared: pa.DataType) -> pa.Array | None:
    """Arrow reads the year 0."""
    found = text.cast(declared)
    return found if _are_within(found, _DAYS) else None


def _timestamps(text: pa.Array, declared: pa.DataType) -> pa.Array | None:
    """Arrow reads the year 0, days without a time, hours without minutes, and offsets of a day."""
    texts = _Texts(text)
    if not texts.have_minutes() or (declared.tz is not None and not texts.have_offset()):
        return None
    found = text.cast(declared)
    return found if _are_within(found, _MICROSECONDS) else None


_CASTS: dict[str, Callable[[pa.Array, pa.DataType], pa.Array | None]] = {
    "integer": _integers,
    "number": _decimals,
    "double": _doubles,
    "boolean": _booleans,
    "date": _dates,
    "timestamp": _timestamps,
}


class _Texts:
    """The bytes of an array of text. What is null has none."""

    def __init__(self, text: pa.Array) -> None:
        import numpy as np

        _, offsets, data = text.buffers()
        places = np.frombuffer(offsets, np.int32, len(text) + 1, 4 * text.offset) if len(text) else np.zeros(1, np.int32)
        starts, ends = places[:-1], places[1:]
        present = ends > starts
        self._starts, self._ends = (starts, ends) if present.all() else (starts[present], ends[present])
        self._bytes = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        self._all = self._bytes[int(places[0]) : int(places[-1])]

    def have_exponent(self) -> bool:
        return bool(((self._all | 32) == ord("e")).any())

    def are_longer_than(self, characters: int) -> bool:
        """Whether any is."""
        return bool((self._ends - self._starts > characters).any())

    def have_leading_zero(self) -> bool:
        """Whether a zero, after a sign or not, is followed by anything but a point."""
        starts, ends = self._starts, self._ends
        signed = self._is_at(starts, "+-")
        if signed.any():
            starts = starts + signed
            inside = starts < ends
            starts, ends = starts[inside], ends[inside]
        zeros = starts[self._is_at(starts, "0") & (starts + 1 < ends)]
        return not self._is_at(zeros + 1, ".").all()

    def have_minutes(self) -> bool:
        long = self._ends - self._starts >= _HOURS_AND_MINUTES
        return bool(long.all() and self._is_at(self._starts + _HOURS_AND_MINUTES - 3, ":").all())

    def have_offset(self) -> bool:
        """Whether each, of which is known that it is long, ends in `Z` or in an offset such as `+02:00` of up to 15 hours."""
        end = self._ends
        hours = self._is_at(end - 5, "0") | (self._is_at(end - 5, "1") & self._is_at(end - 4, "012345"))
        offset = self._is_at(end - 6, "+-") & hours & self._is_at(end - 3, ":")
        return bool((self._is_at(end - 1, "Z") | offset).all())

    def _is_at(self, places: np.ndarray, characters: str) -> np.ndarray:
        import numpy as np

        found = self._bytes[places]
        return np.logical_or.reduce([found == ord(c) for c in characters]) if len(characters) > 1 else found == ord(characters)


def _native(column: Column, source: SourceColumn, values: pa.Array) -> pa.Array | None:
    if column.null_markers:
        return None
    declared = column.arrow_type
    match source.kind, column.logical_type:
        case ("integer", "integer") | ("boolean", "boolean"):
            return values
        case ("decimal", "number") if column.is_decimal:
            given = source.arrow_type
            widens = declared.scale >= given.scale and declared.precision - declared.scale >= given.precision - given.scale
            return values.cast(declared) if widens else None
        case ("double", "number") if column.is_decimal:
            return _exact_decimals(values, declared)
        case ("double" | "float", "number"):
            return values.cast(declared) if _are_finite(values) else None
        case ("date", "date"):
            return values if _are_within(values, _DAYS) else None
        case ("timestamp", "timestamp") if not column.timezone:
            return values if _are_within(values, _MICROSECONDS) else None
        case ("timestamptz", "timestamp") if column.timezone:
            return values if _are_within(values, _MICROSECONDS) else None
    return None


def _exact_decimals(values: pa.Array, declared: pa.Decimal128Type) -> pa.Array | None:
    """Below so many digits, a decimal and its double stand for each other."""
    import numpy as np
    import pyarrow as pa

    _, largest = _range(_call("abs", values))
    if declared.scale > _EXACT_DIGITS or not _are_finite(values) or (largest or 0) >= 10.0 ** (_EXACT_DIGITS - declared.scale):
        return None
    found = values.cast(declared)
    # The digits of so few fill but the first of the two words of a decimal; a quotient of two exact doubles is the nearest one.
    digits = np.frombuffer(found.buffers()[1], np.int64)[0::2][found.offset : found.offset + len(found)]
    again = pa.array(digits / 10.0**declared.scale)
    return found if _call("all", _call("equal", again, values)).as_py() is not False else None


def _keeps_rules(column: Column, typed: pa.Array) -> bool:
    """Whether every value plainly keeps every rule of the column. A rule that is not known here is left to SQL."""
    known = 0
    if column.minimum is not None or column.maximum is not None:
        smallest, largest = _range(typed)
        if smallest is not None and column.minimum is not None and smallest < column.minimum:
            return False
        if largest is not None and column.maximum is not None and largest > column.maximum:
            return False
        known += (column.minimum is not None) + (column.maximum is not None)
    if column.min_length is not None or column.max_length is not None:
        shortest, longest = _range(_call("utf8_length", typed))
        if (shortest is not None and shortest < (column.min_length or 0)) or (
            longest is not None and column.max_length is not None and longest > column.max_length
        ):
            return False
        known += (column.min_length is not None) + (column.max_length is not None)
    if column.allowed:
        found = typed.unique()
        if len(found) > _FEW or not {v for v in found.to_pylist() if v is not None} <= set(column.allowed):
            return False
        known += 1
    return not (column.required and typed.null_count) and known == sum(1 for _ in violations(column, "v"))


def _call(function: str, *arguments: object) -> pa.Array:
    from pyarrow import compute

    return compute.call_function(function, list(arguments))


def _range(values: pa.Array) -> tuple:
    """The smallest and the largest value; None without any."""
    found = _call("min_max", values).as_py()
    return found["min"], found["max"]


def _are_finite(values: pa.Array) -> bool:
    return _call("all", _call("is_finite", values)).as_py() is not False


def _are_within(values: pa.Array, limits: tuple[int, int]) -> bool:
    import pyarrow as pa

    smallest, largest = _range(values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64()))
    return smallest is None or (limits[0] <= smallest and largest <= limits[1])


def _any_matches(text: pa.Array, pattern: str) -> bool:
    from pyarrow import compute

    if not len(text):
        return False
    found = compute.call_function("match_substring_regex", [text], compute.MatchSubstringOptions(pattern))
    return bool(_call("any", found).as_py())
