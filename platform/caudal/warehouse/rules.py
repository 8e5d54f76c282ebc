"""What a contract demands of a typed value beyond its type, as SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from caudal.warehouse.sql import text

if TYPE_CHECKING:
    from caudal.contracts import Column


def violations(column: Column, value: str) -> Iterator[tuple[str, str]]:
    """Yield the rules of the column: a condition that is true where the typed `value` breaks it, and the reason to tell."""
    if column.minimum is not None:
        yield f"{value} < {_literal(column.minimum)}", f"below the minimum of {column.minimum}"
    if column.maximum is not None:
        yield f"{value} > {_literal(column.maximum)}", f"above the maximum of {column.maximum}"
    if column.allowed:
        listed = ", ".join(str(v) for v in column.allowed)
        yield f"{value} NOT IN ({', '.join(_literal(v) for v in column.allowed)})", f"not one of the allowed values: {listed}"
    if column.min_length is not None:
        yield f"length({value}) < {column.min_length}", f"shorter than {column.min_length} characters"
    if column.max_length is not None:
        yield f"length({value}) > {column.max_length}", f"longer than {column.max_length} characters"
    if column.pattern is not None:
        yield f"NOT regexp_matches({value}, {text(column.pattern)})", f"does not match the pattern {column.pattern}"


def _literal(value: Any) -> str:
    match value:
        case str():
            return text(value)
        case Decimal():
            return f"{value:f}"
        case dt.datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return f"{kind} '{value.isoformat(' ')}'"
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case dt.time():
            return f"TIME '{value.isoformat()}'"
        case _:
            return str(value)
