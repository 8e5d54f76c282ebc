"""Whether each value of one SQL type is a value of another, unchanged."""

from __future__ import annotations

import re

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
#: Decimal digits that the widest value has.
_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39}
_EXACT_IN_DOUBLE = ("TINYINT", "SMALLINT", "INTEGER", "FLOAT")
_ALIASES = {
    "INT": "INTEGER", "INT4": "INTEGER", "INT8": "BIGINT", "INT64": "BIGINT", "INT2": "SMALLINT", "LONG": "BIGINT",
    "STRING": "VARCHAR", "TEXT": "VARCHAR", "CHAR": "VARCHAR", "BOOL": "BOOLEAN", "FLOAT8": "DOUBLE", "FLOAT64": "DOUBLE",
    "REAL": "FLOAT", "FLOAT4": "FLOAT", "NUMERIC": "DECIMAL", "DATETIME": "TIMESTAMP",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
_DECIMAL = re.compile(r"DECIMAL(?:\((\d+),(\d+)\))?")


def same_type(one: str, other: str) -> bool:
    """Whether both name the same type, in whatever letters."""
    return _plain(one) == _plain(other)


def is_wider(before: str, after: str) -> bool:
    """Whether every value of `before` is a value of `after`, which is another type; False where that is not known."""
    one, other = _plain(before), _plain(after)
    if one.endswith("[]") and other.endswith("[]"):
        return is_wider(one[:-2], other[:-2])
    if one in _INTEGERS and other in _INTEGERS:
        return _INTEGERS.index(one) < _INTEGERS.index(other)
    if other == "DOUBLE":
        return one in _EXACT_IN_DOUBLE
    whole, fraction = _digits(one)
    wider_whole, wider_fraction = _decimal(other)
    if wider_whole is not None and whole is not None:
        return one != other and wider_whole >= whole and wider_fraction >= fraction
    return (one, other) == ("DATE", "TIMESTAMP")


def _plain(name: str) -> str:
    upper = re.sub(r"\s*([(),])\s*", r"\1", " ".join(name.upper().split()))
    if upper.endswith("[]"):
        return f"{_plain(upper[:-2])}[]"
    base, bracket, rest = upper.partition("(")
    base = _ALIASES.get(base, base)
    if base == "VARCHAR":
        return base
    return f"{base}{bracket}{rest}" if bracket else "DECIMAL(18,3)" if base == "DECIMAL" else base


def _digits(name: str) -> tuple[int | None, int]:
    return (_DIGITS[name], 0) if name in _DIGITS else _decimal(name)


def _decimal(name: str) -> tuple[int | None, int]:
    found = _DECIMAL.fullmatch(name)
    if found is None or found[1] is None:
        return None, 0
    return int(found[1]) - int(found[2]), int(found[2])
