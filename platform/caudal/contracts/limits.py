"""What a contract says that values must be beyond their type: checked when the contract is read, never when data arrive."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from caudal.contracts.odcs import LogicalTypeOptions

_RANGE = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}

#: Which options a type has.
_OPTIONS = {
    "string": {"format", "minLength", "maxLength", "pattern"},
    "integer": {"format", "multipleOf", *_RANGE},
    "number": {"format", "multipleOf", *_RANGE},
    "date": {"format", *_RANGE},
    "time": {"format", *_RANGE},
    "timestamp": {"format", "timezone", *_RANGE},
    "object": {"required"},
    "array": {"minItems", "maxItems", "uniqueItems"},
}

#: The widths of integers that 64 bits hold, as the standard names them: `i32` and so on.
_WIDTH = re.compile("i(8|16|32|64)|u(8|16|32)")

#: What Python's regular expressions know and RE2, which finds in linear time and checks the values, does not.
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>|P=|\()|\\[1-9]|[*+?}]\+|\\Z")
_ESCAPES_AND_CLASSES = re.compile(r"\\[^1-9Z]|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


def decimal_digits(physical: str | None) -> tuple[int | None, int | None]:
    """Precision and scale of a number's `physicalType`: 38 and 9 without one, None and None for a `DOUBLE`.

    Raises:
        ValueError: it is neither.

    """
    if physical is None:
        return 38, 9
    if physical.upper() in ("DOUBLE", "FLOAT64", "FLOAT"):
        return None, None
    match = re.fullmatch(r"(?:DECIMAL|NUMERIC)\((\d+)\s*,\s*(\d+)\)", physical.upper())
    if not match or not 1 <= int(match[1]) <= 38 or int(match[2]) > int(match[1]):
        raise ValueError(f"physicalType is {physical!r}; expected `DECIMAL(p,s)` with s <= p <= 38, or `DOUBLE`")
    return int(match[1]), int(match[2])


def option_problems(options: LogicalTypeOptions, logical_type: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each option that cannot be followed, and why."""
    for name in sorted(options.model_fields_set - _OPTIONS.get(logical_type, set())):
        yield name, f"a column of type {logical_type} has no {name}"
    for name in ("minLength", "maxLength", "minItems", "maxItems"):
        value = getattr(options, name)
        if value is not None and value < 0:
            yield name, f"{name} is {value}; expected 0 or more"
    if options.pattern is not None and (why := _pattern_problem(options.pattern)):
        yield "pattern", why


def integer_range(width: str | None) -> tuple[int | None, int | None]:
    """The smallest and the largest integer of a width such as `i32` or `u8`.

    Raises:
        ValueError: it is none that a 64-bit integer holds.

    """
    if width is None or width == "i64":
        return None, None
    found = _WIDTH.fullmatch(width)
    if found is None:
        raise ValueError(f"format is {width!r}; expected i8, i16, i32, i64, u8, u16 or u32")
    bits = int(width[1:])
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if found[1] else (0, 2**bits - 1)


def step(value: Any, logical_type: str) -> Any:
    """What values must be a multiple of.

    Raises:
        ValueError: it is no value of the type, or not above zero.

    """
    given = limit_value(value, logical_type)
    if given <= 0:
        raise ValueError(f"{given} is not above zero")
    return given


def _pattern_problem(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as bad:
        return f"not a regular expression: {bad}"
    found = _NOT_RE2.search(_ESCAPES_AND_CLASSES.sub("_", pattern))
    if found:
        return f"`{found[0]}` in the pattern is not understood: no look-around, back reference or possessive repeat (RE2)"
    repeats = [int(n) for n in re.findall(r"\{(\d+)", pattern)] + [int(n) for n in re.findall(r",(\d+)\}", pattern)]
    return "a repeat of more than 1000 in the pattern is not understood (RE2)" if max(repeats, default=0) > 1000 else None


def limit_value(value: Any, logical_type: str, *, timezone: bool = False) -> Any:
    """A minimum, a maximum or an allowed value as the type that it is compared in.

    Returns:
        An `int`, a `Decimal`, a `date`, a `time`, a `datetime` or a `str`.

    Raises:
        ValueError: it is no value of the type.

    """
    convert = {"integer": _integer, "number": _number, "string": _text, "date": _date, "time": _time}.get(logical_type)
    if logical_type == "timestamp":
        return _timestamp(value, timezone=timezone)
    if convert is None:
        raise ValueError(f"a column of type {logical_type} cannot be limited so")
    return convert(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not an integer")  # noqa: TRY004 - it is a value that is wrong
    return value


def _number(value: Any) -> Decimal:
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text; write it in quotes")  # noqa: TRY004
    return value


def _date(value: Any) -> dt.date:
    if isinstance(value, str):
        value = dt.date.fromisoformat(value)
    if isinstance(value, dt.datetime) or not isinstance(value, dt.date):
        raise ValueError(f"{value!r} is not a date as YYYY-MM-DD")  # noqa: TRY004
    return value


def _time(value: Any) -> dt.time:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time; write it in quotes, as 'hh:mm:ss'")  # noqa: TRY004
    return dt.time.fromisoformat(value)


def _timestamp(value: Any, *, timezone: bool) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime):
        raise ValueError(f"{value!r} is not a timestamp as YYYY-MM-DD hh:mm:ss")  # noqa: TRY004
    if (value.tzinfo is not None) != timezone:
        raise ValueError(f"{value} {'lacks' if timezone else 'has'} a time zone, unlike the column")
    return value
