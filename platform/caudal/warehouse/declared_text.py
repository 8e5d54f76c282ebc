"""Text in a form that the contract declares -> text in the plain form of its type, or the value itself, as SQL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from caudal.contracts.number_formats import MINUS
from caudal.warehouse.sql import first_of, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from caudal.contracts.formats import Duration
    from caudal.contracts.number_formats import NumberFormat


def plain_number(given: NumberFormat, s: str) -> str:
    """The number that the text `s` is in the format, with a point and nothing else but digits and a minus; else NULL."""
    amount = f"regexp_replace({s}, {text(given.any_currency)}, '')" if given.currency else s
    digits = f"regexp_replace({amount}, {text(f'[^0-9{re.escape(given.decimal)}]')}, '', 'g')"
    if given.decimal != ".":
        digits = f"replace({digits}, {text(given.decimal)}, '.')"
    if given.percent == "fraction":
        digits = _hundredth(digits)
    parenthesis = "(" if "parentheses" in given.negative else ""
    negative = f"regexp_matches({s}, {text(f'[{MINUS}{parenthesis}]')})"
    accepted = f"regexp_full_match({s}, {text(given.accepted)})"
    return first_of((f"NOT {accepted}", "NULL"), (negative, f"'-' || {digits}"), otherwise=digits)


def _hundredth(digits: str) -> str:
    """The point two places to the left. Ahead of it there is no leading zero, by `NumberFormat.accepted`."""
    whole = f"split_part({digits}, '.', 1)"
    padded = f"lpad({whole}, CAST(greatest(length({whole}), 3) AS INTEGER), '0')"
    return f"left({padded}, -2) || '.' || right({padded}, 2) || split_part({digits}, '.', 2)"


def boolean(true_values: Sequence[str], false_values: Sequence[str], s: str) -> tuple[str, str]:
    """The boolean that the text `s` is, and the reason where it is none."""
    true, false = (", ".join(map(text, values)) for values in (true_values, false_values))
    value = first_of(
        (f"{s} IN ({true}) OR lower({s}) = 'true'", "true"), (f"{s} IN ({false}) OR lower({s}) = 'false'", "false")
    )
    expected = ", ".join(f"`{v}`" for v in (*true_values, *false_values))
    return value, text(f"not a boolean as declared; expected {expected}")


def length_of_time(given: Duration, s: str) -> tuple[str, str]:
    """The duration that the text `s` is, as an integer of its unit, and the reason where it is none."""
    places = enumerate(given.parts, 1)
    seconds = " + ".join(f"TRY_CAST(split_part(ltrim({s}, '-'), ':', {n}) AS BIGINT) * {count}" for n, count in places)
    whole = f"({seconds}) % {given.unit_seconds} = 0"
    accepted = f"regexp_full_match({s}, {text(given.accepted)})"
    value = f"({seconds}) // {given.unit_seconds} * CASE WHEN starts_with({s}, '-') THEN -1 ELSE 1 END"
    other = text(f"not a duration in the declared form {given.format}")
    reason = first_of((accepted, text(f"no whole number of {given.unit}")), otherwise=other)
    return first_of((f"{accepted} AND {whole}", value)), reason
