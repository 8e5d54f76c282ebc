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
    if column.exclusive_minimum is not None:
        yield f"{value} <= {_literal(column.exclusive_minimum)}", f"not above {column.exclusive_minimum}"
    if column.exclusive_maximum is not None:
        yield f"{value} >= {_literal(column.exclusive_maximum)}", f"not below {column.exclusive_maximum}"
    if column.multiple_of is not None:
        yield f"{value} % {_literal(column.multiple_of)} != 0", f"not a multiple of {column.multiple_of}"
    if column.allowed:
        listed = ", ".join(str(v) for v in column.allowed)
        yield f"{value} NOT IN ({', '.join(_literal(v) for v in column.allowed)})", f"not one of the allowed values: {listed}"
    if column.min_length is not None:
        yield f"length({value}) < {column.min_length}", f"shorter than {column.min_length} characters"
    if column.max_length is not None:
        yield f"length({value}) > {column.max_length}", f"longer than {column.max_length} characters"
    if column.pattern is not None:
        yield f"NOT regexp_matches({value}, {text(column.pattern)})", f"does not match the pattern {column.pattern}"
    yield from _about_items(column, value)


def _about_items(column: Column, value: str) -> Iterator[tuple[str, str]]:
    count = f"len({value})" if column.items is not None else f"json_array_length({value})"
    if column.min_items is not None:
        yield f"{count} < {column.min_items}", f"fewer than {column.min_items} items"
    if column.max_items is not None:
        yield f"{count} > {column.max_items}", f"more than {column.max_items} items"
    if column.unique_items:
        nulls = f"len(list_filter({value}, lambda u: u IS NULL))"
        yield f"len(list_distinct({value})) + least({nulls}, 1) < len({value})", "an item is there more than once"


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
