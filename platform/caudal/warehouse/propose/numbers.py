"""In which formats numbers may be written that are not plain: separators, percent, currencies, signs of the negative."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from caudal.warehouse.casting import cast_text
from caudal.warehouse.propose.candidates import Candidate, candidate
from caudal.warehouse.propose.values import Values

_CURRENCY = r"(?:[$€£¥]|US\$|[A-Z]{3}|Fr\.|Rs\.?|kr\.?|zł)"
_NUMBER = re.compile(
    rf"(?P<open>\()?\s?(?:{_CURRENCY})?\s?[-+\u2212]?\s?(?:{_CURRENCY})?\s?"
    rf"(?P<digits>\d(?:[\d.,'\u2019 \u00a0\u202f]*[\d.,])?)\s?(?P<percent>%)?(?P<after>{_CURRENCY})?"
    rf"(?P<trailing>\s?[-\u2212])?\)?"
)
_LEADING_CURRENCY = re.compile(rf"\(?\s?[-+\u2212]?\s?({_CURRENCY})")

#: Decimal separator and group separator that go together.
_PAIRS = ((".", ","), (",", "."), (",", " "), (".", " "), (".", "'"), (",", "'"), (",", ""), (".", ""))

#: Wide enough to measure with.
_MEASURED_SCALE = 12


def candidates(values: Sequence[str]) -> list[Candidate]:
    """Formats that the texts may be in. Those of another decimal separator mean another number."""
    bare = [v.strip() for v in values]
    matches = [m for v in bare if (m := _NUMBER.fullmatch(v))]
    if len(matches) < len(bare) * 0.9:
        return []
    common: dict[str, Any] = {}
    if any(m["percent"] for m in matches):
        common["percent"] = "fraction"
    currencies = {m["after"] for m in matches if m["after"]} | {m[1] for v in bare if (m := _LEADING_CURRENCY.match(v))}
    if currencies and "percent" not in common:
        common["currency"] = sorted(currencies)
    negative = [n for n, group in (("parentheses", "open"), ("trailing", "trailing")) if any(m[group] for m in matches)]
    if negative:
        common["negative"] = negative
    seen = set("".join(m["digits"] for m in matches)) - set("0123456789")
    seen = {{"\u2019": "'", "\u00a0": " ", "\u202f": " "}.get(c, c) for c in seen}
    if not seen and not common:
        return []
    found = []
    for decimal, group in _PAIRS:
        written = {"decimal": decimal, **({"group": group} if group else {}), **common}
        if seen <= {decimal, group} and (not group or group in seen) and (common or written != {"decimal": "."}):
            found.append(_candidate(decimal, written))
    return found


def measure(values: Values, chosen: Candidate) -> tuple[int, int, bool]:
    """Digits before the point and after it, and whether a decimal separator is written, in a format that all texts are in."""
    written = next(c["value"] for c in chosen.declared["customProperties"] if c["property"] == "numberFormat")
    number = cast_text(chosen.column("value"), "(s)").value
    before, after, pointed = values.figures(
        f"max(length(CAST(trunc(abs({number})) AS VARCHAR).split('.')[1]))",
        f"max(length(rtrim(split_part(CAST({number} AS VARCHAR), '.', 2), '0')))",
        f"bool_or(contains(s, '{written['decimal'].replace(chr(39), chr(39) * 2)}'))",
    )
    return before, after, bool(pointed)


def resized(chosen: Candidate, precision: int, scale: int) -> Candidate:
    """The format with another precision and scale; an integer for a scale of -1."""
    written = next(c["value"] for c in chosen.declared["customProperties"] if c["property"] == "numberFormat")
    if scale < 0:
        return candidate(chosen.meaning, "integer", custom={"numberFormat": written})
    return candidate(chosen.meaning, "number", physical=f"DECIMAL({precision},{scale})", custom={"numberFormat": written})


def _candidate(decimal: str, written: dict[str, Any]) -> Candidate:
    physical = f"DECIMAL(38,{_MEASURED_SCALE})"
    return candidate(f"decimal {decimal}", "number", physical=physical, custom={"numberFormat": written})
