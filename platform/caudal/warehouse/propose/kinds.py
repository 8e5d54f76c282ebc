"""Which type a column of text is declared as: one that holds for every value of the sample, or text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from caudal.warehouse.propose import moments, numbers
from caudal.warehouse.propose.candidates import STRING, Candidate, candidate
from caudal.warehouse.propose.markers import is_certain
from caudal.warehouse.propose.values import Values

#: Below this share of misfits a column is nearly of a type, which is worth a word.
_NEARLY = 0.05

#: Digits before the point that there should be room for, beyond those seen; and all that a 64-bit decimal has.
_ROOM, _WORD, _WIDEST = 3, 18, 38

#: From so many decimals on, numbers that a double tells apart were computed, not written.
_COMPUTED_DECIMALS, _DOUBLE_DIGITS = 10, 17

_INTEGER, _DOUBLE = candidate("integer", "integer"), candidate("number", "number", physical="DOUBLE")
_WIDE = candidate("number", "number", physical="DECIMAL(38,18)")
_BOOLEAN = candidate("boolean", "boolean")
_OBJECT, _ARRAY = candidate("object", "object"), candidate("array", "array")

#: Formats of digits alone, which may be numbers too.
_COMPACT = ("yyyyMMdd", "yyyyMMddHHmmss")

#: Names of columns whose digits are no quantity, and may begin with a zero.
_DIGITS_ARE_TEXT = re.compile(
    r"(?i)(?:^|[_\W])(?:zip|plz|postal|postcode|post_?code|postleitzahl|phone|telephone|tel|telefon|mobile|handy|fax|iban|bic|"
    r"blz|ssn|vat|isin|ean|gtin|upc|isbn|siren|siret)(?:$|[_\W\d]|code|number|nr|no)"
)
_NAMED_AS_MOMENT = re.compile(r"(?i)(?:date|datum|day|tag|fecha|jour|time|zeit)|(?:^|_)at$")

_TRUE_FALSE = (
    ("yes", "no"), ("y", "n"), ("ja", "nein"), ("j", "n"), ("t", "f"), ("on", "off"), ("oui", "non"), ("sí", "no"),
    ("si", "no"), ("wahr", "falsch"), ("vrai", "faux"),
)  # fmt: skip


@dataclass(frozen=True)
class Inferred:
    """What a column is declared as.

    Attributes:
        chosen: the declaration, which accepts every value of the sample.
        absent: rows without a value, null markers among them.
        notes: what is to be said beside it.
        undecided: declarations that fit as well and mean another thing; a neighbour may decide.

    """

    chosen: Candidate = STRING
    absent: int = 0
    notes: tuple[str, ...] = ()
    undecided: tuple[Candidate, ...] = ()


def infer(values: Values, name: str, *, whole_days: bool = False, private: bool = False) -> Inferred:
    """The type of a column of text.

    Args:
        private: no value is shown, for it may tell of a person.
        whole_days: a moment at midnight is a day, as in a workbook.

    """
    if not values.present:
        return Inferred(absent=values.absent, notes=("no value in the sample: the type is not known",))
    if values.present == values.marked:
        return Inferred(absent=values.absent, notes=(f"unsure: no value but {_listed(values.markers)}: kept as text",))
    looked = values.some()
    tried = [_BOOLEAN, _INTEGER, _DOUBLE, _WIDE, *_nested(looked), *moments.candidates(looked), *numbers.candidates(looked)]
    tried += _spelled(looked) if values.distinct - len(values.markers) <= 4 else []
    screened = [c for c, n in zip(tried, values.misfits(tried, looked), strict=True) if n <= len(looked) * _NEARLY]
    refused = _refused(values, screened)
    inferred = _choose(values, name, [c for c, n in refused.items() if not n], looked, whole_days=whole_days)
    if inferred is None or inferred.chosen == STRING:
        notes = inferred.notes if inferred else (*_nearly(values, refused, private=private), *_of_text(values))
        return Inferred(STRING, values.absent, notes, inferred.undecided if inferred else ())
    return with_markers(values, inferred)


def _refused(values: Values, screened: list[Candidate]) -> dict[Candidate, int]:
    """How many rows each candidate refuses; those that cost more are not asked where others fit that are preferred."""
    digits = [c for c in screened if c.meaning in ("boolean", "integer") or _written(c) in _COMPACT]
    exact = [c for c in screened if c == _WIDE]
    rest = [c for c in screened if c not in (*digits, *exact)]
    refused: dict[Candidate, int] = {}
    for asked in (digits, rest, exact):
        refused |= zip(asked, values.misfits(asked), strict=True)
        if any(not n for n in refused.values()):
            break
    return refused


def _written(c: Candidate) -> str:
    return c.declared.get("logicalTypeOptions", {}).get("format", "")


def with_markers(values: Values, inferred: Inferred) -> Inferred:
    """The declaration of a type that is not text, with the null markers that stand among the values."""
    absent = values.rows - values.present + values.marked
    if not values.markers:
        return replace(inferred, absent=absent)
    chosen = inferred.chosen.with_custom("nullMarkers", sorted({m.strip() for m in values.markers}))
    told = f"unsure: {_of(values.marked, values)} are {_listed(values.markers)}; taken as no value"
    return replace(inferred, chosen=chosen, absent=absent, notes=(*inferred.notes, told))


def _nested(looked: list[str]) -> list[Candidate]:
    starts = {s.strip()[:1] for s in looked}
    return [c for c, start in ((_OBJECT, "{"), (_ARRAY, "[")) if start in starts]


def _spelled(looked: list[str]) -> list[Candidate]:
    """Booleans that are spelled otherwise than true and false."""
    found = {s.strip() for s in looked}
    return [
        candidate("boolean", "boolean", custom={"trueValues": sorted(true), "falseValues": sorted(false)})
        for yes, no in _TRUE_FALSE
        if (true := {s for s in found if s.lower() == yes}) and (false := {s for s in found if s.lower() == no})
    ]


def _choose(values: Values, name: str, fitting: list[Candidate], looked: list[str], *, whole_days: bool) -> Inferred | None:
    if _BOOLEAN in fitting and any(s.strip().lower() in ("true", "false") for s in looked):
        return Inferred(_BOOLEAN)
    spelled = [c for c in fitting if c.meaning == "boolean" and c != _BOOLEAN]
    if spelled:
        texts = " and ".join(f'"{c["value"][0]}"' for c in spelled[0].declared["customProperties"])
        return Inferred(spelled[0], notes=(f"only {texts}: taken as a boolean",))
    if _INTEGER in fitting:
        return _integer(values, name, fitting, looked)
    formatted = [c for c in fitting if c.meaning.startswith("decimal ")]
    if (_DOUBLE in fitting or _WIDE in fitting) and not _leading_zeros(values):
        return _number(values, [c for c in formatted if c.meaning != "decimal ."])
    if formatted:
        return _formatted(values, formatted)
    for c in (_OBJECT, _ARRAY):
        if c in fitting:
            return Inferred(c)
    typed = [c for c in fitting if c.declared["logicalType"] in ("date", "timestamp", "time")]
    lengths = [c for c in fitting if c.meaning == "duration"]
    if lengths and not typed:
        return Inferred(lengths[0], notes=("not all are times of day: taken as durations, kept in seconds",))
    return _moment(typed, whole_days=whole_days)


def _integer(values: Values, name: str, fitting: list[Candidate], looked: list[str]) -> Inferred:
    if _DIGITS_ARE_TEXT.search(name):
        return Inferred(STRING, notes=("digits only, but no number by its name: kept as string, for one may begin with 0",))
    compact = next((c for c in fitting if _written(c) in _COMPACT), None)
    if compact and all("1900" <= s.strip()[:4] <= "2100" for s in looked):
        kind = "days" if compact.declared["logicalType"] == "date" else "moments"
        if _NAMED_AS_MOMENT.search(name):
            return Inferred(compact, notes=(f"unsure: digits, taken as {kind} by the name and all values",))
        return Inferred(_INTEGER, notes=(f"unsure: they may as well be {kind}, as {_written(compact)}",))
    notes = []
    if {s.strip() for s in looked} == {"0", "1"}:
        notes.append("only 0 and 1: perhaps a boolean")
    (pointed,) = values.figures("coalesce(sum(n) FILTER (contains(s, '.')), 0)")
    if pointed:
        notes.append(f"{_of(pointed, values)} are written with a point, such as 17850.0, and are whole")
    return Inferred(_INTEGER, notes=tuple(notes))


def _number(values: Values, otherwise: list[Candidate]) -> Inferred:
    before, after, digits, exponents = values.figures(
        "max(length(regexp_extract(trim(s), '^[+-]?0*([0-9]*)', 1)))",
        "max(length(regexp_extract(s, '[.]([0-9]*)', 1)))",
        "max(length(ltrim(regexp_replace(regexp_replace(trim(s), '[eE].*', ''), '[^0-9]', '', 'g'), '0')))",
        "coalesce(sum(n) FILTER (regexp_matches(s, '[eE]')), 0)",
    )
    if exponents:
        return Inferred(_DOUBLE, notes=(f"{_of(exponents, values)} are in exponent notation: the nearest double is kept",))
    if after >= _COMPUTED_DECIMALS and digits <= _DOUBLE_DIGITS:
        return Inferred(_DOUBLE, notes=(f"up to {after} decimals, as computed numbers have: the nearest double is kept",))
    precision, scale = decimal_size(before, after)
    if before + scale > precision:
        told = f"unsure: {before} digits before the point and {after} after are too many for a decimal: the nearest is kept"
        return Inferred(_DOUBLE, notes=(told,))
    plain = candidate("decimal .", "number", physical=f"DECIMAL({precision},{scale})")
    notes = [_room(before, after, precision, scale)]
    if otherwise:
        notes.append("unsure: each point has three digits after it; it may as well stand between thousands")
        otherwise = [numbers.resized(c, *decimal_size(before + after, 0)) for c in otherwise[:1]]
    return Inferred(plain, notes=tuple(notes), undecided=(plain, *otherwise) if otherwise else ())


def _formatted(values: Values, formatted: list[Candidate]) -> Inferred:
    by_meaning = {c.meaning: c for c in reversed(formatted)}
    sized, notes = [], ()
    for c in by_meaning.values():
        before, after, pointed = numbers.measure(values, c)
        precision, scale = decimal_size(before, after)
        sized.append(numbers.resized(c, precision, scale if pointed or after else -1))
        notes = (_room(before, after, precision, scale),) if pointed or after else ()
    if len(sized) > 1:
        told = "unsure: does the separator stand before decimals or between thousands? No value decides it: kept as string"
        return Inferred(STRING, notes=(told,), undecided=tuple(sized))
    if '"percent"' in str(sized[0].written):
        notes = (*notes, "80 % is kept as 0.8; `percent: number` keeps it as 80")
    return Inferred(sized[0], notes=notes)


def decimal_size(before: int, after: int) -> tuple[int, int]:
    """Precision and scale with room for more."""
    scale = max(after, 2)
    return next((p for p in (_WORD, _WIDEST) if before + _ROOM + scale <= p), _WIDEST), scale


def _room(before: int, after: int, precision: int, scale: int) -> str:
    return f"seen: up to {before} digits before the point and {after} after; there is room for {precision - scale} and {scale}"


def _moment(fitting: list[Candidate], *, whole_days: bool) -> Inferred | None:
    by_meaning: dict[str, Candidate] = {}
    for c in fitting:
        by_meaning.setdefault(c.meaning, c)
    if not by_meaning:
        return None
    if "date" in by_meaning:
        if "timestamp" in by_meaning and not whole_days:
            return Inferred(by_meaning["timestamp"], notes=("every value is at midnight: a date, if none is ever later",))
        return Inferred(by_meaning["date"])
    chosen = list(by_meaning.values())
    if len(chosen) > 1 and all(moments.order_of(c.meaning) for c in chosen):
        written = " or ".join(map(moments.in_words, chosen))
        return Inferred(STRING, notes=(f"unsure: {written}? No value decides it: kept as string",), undecided=tuple(chosen))
    return Inferred(chosen[0], notes=(chosen[0].told,) if chosen[0].told else ())


def _nearly(values: Values, refused: Mapping[Candidate, int], *, private: bool) -> list[str]:
    """What keeps a column from a type that nearly all of its values are of."""
    rows = values.present - values.marked
    near = [(n, c) for c, n in refused.items() if 0 < n <= rows * _NEARLY]
    if not near:
        return []
    count, c = min(near, key=lambda pair: pair[0])
    if c.declared["logicalType"] in ("integer", "number") and _leading_zeros(values) == count:
        return [f"{_of(count, values)} have a leading zero: kept as string"]
    kind = "number" if c.meaning.startswith("decimal") else c.declared["logicalType"]
    shown = "" if private else f" ({_listed(dict(values.refused(c)))})"
    return [f"unsure: {_of(count, values)} are no {kind}{shown}: kept as string"]


def _of_text(values: Values) -> list[str]:
    notes = []
    certain = {s: n for s, n in values.markers.items() if is_certain(s)}
    if certain:
        count = sum(certain.values())
        notes.append(f"unsure: {_of(count, values)} are {_listed(certain)}: kept as text, if not declared nullMarkers")
    zeros, padded = values.figures(
        "coalesce(sum(n) FILTER (regexp_full_match(s, '0[0-9]+')), 0)", "coalesce(sum(n) FILTER (s <> trim(s)), 0)"
    )
    (digits,) = values.figures("coalesce(sum(n) FILTER (regexp_full_match(s, '[0-9]+')), 0)")
    if zeros and digits == values.present - values.marked:
        notes.append(f"{_of(zeros, values)} have a leading zero: kept as string")
    if padded:
        notes.append(f"{_of(padded, values)} have blanks around them, which are kept")
    return notes


def _leading_zeros(values: Values) -> int:
    (zeros,) = values.figures("coalesce(sum(n) FILTER (regexp_full_match(trim(s), '[+-]?0[0-9]+([.][0-9]*)?')), 0)")
    return zeros


def _of(count: int, values: Values) -> str:
    return f"{count:,} of {values.present:,} values"


def _listed(texts: Mapping[str, int]) -> str:
    shown = [f'"{s if len(s) <= 30 else s[:30] + "..."}"' for s in list(texts)[:3]]
    return ", ".join(shown) + (", ..." if len(texts) > 3 else "")
