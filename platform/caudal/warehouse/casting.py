"""Text -> the type that the contract declares: exactly, or not at all.

Blanks around a value mean nothing, but in strings; an empty text, and a null marker, is no value, but in strings, where the
reader has told them apart. What a type accepts:

| type | accepts | refuses, among others |
|---|---|---|
| string | everything as it is | |
| integer | `17850`, `-5`, `17850.0` | a fraction, a leading zero (`007`), exponents, over 64 bits |
| number, decimal | `1.5`, `.5`, `1.500`, `15e-1` where it fits | a digit too many, a leading zero, a comma |
| number, double | the same, as the nearest double; a zero has no sign | NaN, infinity, an integer that it would change |
| boolean | `true`, `false`, in any case, `1`, `0` | anything else |
| date | `2017-01-31`, with a time of day if that is midnight; or the declared format alone | days that are none |
| timestamp | `2017-01-31 10:30`, with `T`, seconds, fractions; or the declared format alone | no time of day, nanoseconds |
| time | `10:30`, `10:30:15.5`; or the declared format alone | 24:00 |
| object, array | JSON text of an object, of an array | a key twice, NaN |

Where the contract declares how numbers, booleans or durations are written, text is first brought into the plain form, or is
refused; a struct or a list is made of JSON text by `caudal.warehouse.nested_casting`.

What a time or timestamp says beyond microseconds is cut where the contract says `nanoseconds: cut`.

A timestamp with a time zone needs an offset (`Z`, `+02:00`) in each value, one without refuses it: none is guessed or dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from caudal.contracts.formats import accepted_text
from caudal.warehouse.declared_text import boolean, length_of_time, plain_number
from caudal.warehouse.json_text import JSON_FAULT
from caudal.warehouse.nested_casting import Place, Scalar, nested, split_text
from caudal.warehouse.sql import first_of, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from caudal.contracts import Column
    from caudal.contracts.number_formats import NumberFormat

#: A decimal of so many digits fits into 64 bits.
_WORD_DIGITS = 18

_LEADING_ZERO = "a leading zero, which a number would lose; declare the column a string to keep it"
_EXPONENT = "[eE][+-]?[0-9]{1,5}"
_DIGITS = "(?:[0-9]+[.]?[0-9]*|[.][0-9]+)"

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]{1,6}0*)?)?"
_FINE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{7,}"
_ANY_CLOCK = "[0-9]{1,2}:[0-9]{1,2}(?::[0-9]{1,2}(?:[.,][0-9]*)?)?"
_OFFSET = "(?:Z|[+-](?:0[0-9]|1[0-5]):?(?:[0-5][0-9])?)"
#: What to do about values that are finer than a microsecond.
CUT = "declare `nanoseconds: cut` to keep the microseconds"
_MIDNIGHT = "(?:[T ]00:00(?::00(?:[.]0+)?)?)?"


@dataclass(frozen=True)
class Cast:
    """SQL expressions over a source value `s`.

    Attributes:
        value: `s` in the declared type; NULL where it cannot be exactly that.
        reason: why, where `value` is NULL and `s` is not.
        prepared: what `value` and `reason` call `<s>p`, as an expression over `s`, so that it is evaluated once.

    """

    value: str
    reason: str
    prepared: str | None = None


def without_markers(column: Column, s: str, null_markers: Sequence[str]) -> str:
    """The text `s`; NULL if it is a null marker.

    Args:
        column: its own markers are for strings too, as they are written.
        s: SQL.
        null_markers: of the dataset, which its reader has told apart from text in a string column.

    """
    if column.logical_type == "string":
        markers, compared = sorted(column.null_markers), s
    else:
        markers, compared = sorted({m.strip(" ") for m in (*null_markers, *column.null_markers)} - {""}), f"trim({s})"
    return first_of((f"{compared} IN ({', '.join(map(text, markers))})", "NULL"), otherwise=s) if markers else s


def is_absent(column: Column, s: str) -> str:
    """A condition: the text `s` stands for no value."""
    return f"{s} IS NULL" if column.logical_type == "string" else f"nullif(trim({s}), '') IS NULL"


def cast_text(column: Column, s: str) -> Cast:
    """How the text `s` becomes the column's type.

    A text that is what the database would print for its value is exactly that value. This is quicker to see than what else is
    accepted, and true of nearly all.
    """
    if column.logical_type == "string":
        return Cast(s, "NULL")
    if column.is_nested:
        return _nested(column, s)
    if column.number_format:
        return _number_as_declared(column, column.number_format, s)
    cast = _cast_any(column, f"trim({s})")
    quick = f"TRY_CAST({s} AS {column.duckdb_type})"
    guards = {
        "integer": "true",
        "number": f"isfinite({quick})" if column.precision is None else "true" if column.precision <= _WORD_DIGITS else None,
        "date": f"length({s}) = 10",
        "timestamp": f"length({s}) = 19",
    }
    guard = guards.get(column.logical_type)
    if guard is None or column.format or column.duration or column.timezone:
        return cast
    return Cast(first_of((f"{guard} AND CAST({quick} AS VARCHAR) = {s}", quick), otherwise=cast.value), cast.reason)


def _cast_any(column: Column, s: str) -> Cast:
    if column.duration:
        return Cast(*length_of_time(column.duration, s))
    match column.logical_type:
        case "integer":
            return _integer(s)
        case "number":
            return _decimal(s, column.precision, column.scale) if column.precision is not None else _double(s)
        case "boolean" if column.true_values:
            return Cast(*boolean(column.true_values, column.false_values, s))
        case "boolean":
            value = f"CASE lower({s}) WHEN 'true' THEN true WHEN '1' THEN true WHEN 'false' THEN false WHEN '0' THEN false END"
            return Cast(value, text("not a boolean; expected true, false, 1 or 0"))
        case "object" | "array":
            fault = f"{JSON_FAULT}({s}, {text(column.logical_type)})"
            return Cast(first_of((f"{fault} IS NULL", s)), fault)
        case _ if column.cuts_nanoseconds:
            return _iso(column, f"regexp_replace({s}, '(:[0-9]{{2}}[.][0-9]{{6}})[0-9]+', '\\1')")
        case _:
            return _formatted(column, s) if column.format else _iso(column, s)


def _nested(column: Column, s: str) -> Cast:
    """A struct or list, whose JSON text is split into texts first."""
    split = f"{s}p" if s.isidentifier() else f"({split_text(column, s)})"
    inner = nested(column, f"struct_extract({split}, 'value')", None, _scalar)
    fault = f"struct_extract({split}, 'fault')"
    value = first_of((f"{split} IS NOT NULL AND {fault} IS NULL", inner.value))
    return Cast(value, f"coalesce({fault}, {inner.reason})", split_text(column, s) if s.isidentifier() else None)


def _scalar(column: Column, place: Place) -> Scalar:
    s = without_markers(column, place.x, ())
    known = column.logical_type in ("object", "array")
    cast: Any = Cast(s, "NULL") if known else cast_text(column, f"({s})")
    return Scalar(cast, f"({s})", is_text=True)


def _number_as_declared(column: Column, given: NumberFormat, s: str) -> Cast:
    plain, prepared = plain_number(given, f"trim({s})"), s.isidentifier()
    cast = cast_text(replace(column, number_format=None), f"{s}p" if prepared else f"({plain})")
    expected = text(f"not a number as declared; expected such as {given.example}")
    reason = first_of((f"{f'{s}p' if prepared else plain} IS NULL", expected), otherwise=cast.reason)
    return Cast(cast.value, reason, plain if prepared else None)


def _matches(s: str, pattern: str) -> str:
    return f"regexp_full_match({s}, {text(pattern)})"


def _integer(s: str) -> Cast:
    accepted = _matches(s, "[+-]?(?:0|[1-9][0-9]*)(?:[.]0*)?")
    reason = first_of(
        (_matches(s, "[+-]?0[0-9]+(?:[.]0*)?"), text(_LEADING_ZERO)),
        (accepted, text("outside the range of a 64-bit integer")),
        (_matches(s, f"[+-]?{_DIGITS}"), text("a fraction; expected an integer")),
        (
            _matches(s, f"[+-]?{_DIGITS}{_EXPONENT}"),
            text("in exponent notation, which may have lost digits; expected an integer"),
        ),
        otherwise=text("not an integer"),
    )
    return Cast(first_of((accepted, f"TRY_CAST({s} AS BIGINT)")), reason)


def _decimal(s: str, precision: int, scale: int | None) -> Cast:
    scale = scale or 0
    before = precision - scale
    whole = f"(?:0?|[1-9][0-9]{{0,{before - 1}}})" if before else "0?"
    kind = f"DECIMAL({precision},{scale})"
    plain = _matches(s, f"[+-]?{whole}(?:[.][0-9]{{0,{scale}}}0*)?")
    exponent = _matches(s, f"[+-]?(?:0|[1-9][0-9]*)?(?:[.][0-9]*)?{_EXPONENT}")
    needed = (
        f"length(rtrim(regexp_extract({s}, '[.]([0-9]*)', 1), '0'))"
        f" - TRY_CAST(regexp_extract({s}, '[eE][+]?(-?[0-9]+)$', 1) AS INTEGER)"
    )
    reason = first_of(
        (_matches(s, f"[+-]?0[0-9]+(?:[.][0-9]*)?(?:{_EXPONENT})?"), text(_LEADING_ZERO)),
        (_matches(s, f"[+-]?[0-9]*[.][0-9]{{{scale}}}0*[1-9][0-9]*"), text(f"more than {scale} decimals; expected {kind}")),
        (_matches(s, f"[+-]?{_DIGITS}"), text(f"more than {before} digits before the point; expected {kind}")),
        (_matches(s, f"[+-]?{_DIGITS}{_EXPONENT}"), text(f"does not fit {kind} exactly")),
        (f"contains({s}, ',')", text("a comma; expected a number with a point and nothing between thousands")),
        otherwise=text("not a number"),
    )
    return Cast(first_of((f"{plain} OR ({exponent} AND {needed} <= {scale})", _parsed(s, precision, scale))), reason)


def _parsed(s: str, precision: int, scale: int) -> str:
    """The text as a decimal. Those wider than a machine word cost far more, and most values do not need them."""
    wide = f"TRY_CAST({s} AS DECIMAL({precision},{scale}))"
    if precision <= _WORD_DIGITS or scale >= _WORD_DIGITS:
        return wide
    return f"coalesce(CAST(TRY_CAST({s} AS DECIMAL({_WORD_DIGITS},{scale})) AS DECIMAL({precision},{scale})), {wide})"


def _double(s: str) -> Cast:
    accepted = _matches(s, f"[+-]?(?:(?:0|[1-9][0-9]*)(?:[.][0-9]*)?|[.][0-9]+)(?:{_EXPONENT})?")
    number = f"TRY_CAST({s} AS DOUBLE)"
    whole = _matches(s, "[+-]?[0-9]+(?:[.]0*)?")
    differs = f"TRY_CAST({s} AS HUGEINT) IS DISTINCT FROM TRY_CAST({number} AS HUGEINT)"
    changed = f"({whole} AND abs({number}) >= 9007199254740992 AND {differs})"
    vanished = f"({number} = 0 AND regexp_matches({s}, '^[^eE]*[1-9]'))"
    reason = first_of(
        (_matches(s, f"[+-]?0[0-9]+(?:[.][0-9]*)?(?:{_EXPONENT})?"), text(_LEADING_ZERO)),
        (changed, text("an integer that a DOUBLE cannot hold exactly; declare DECIMAL or integer")),
        (accepted, text("outside the range of a DOUBLE")),
        (f"contains({s}, ',')", text("a comma; expected a number with a point and nothing between thousands")),
        (_matches(s, "(?i)[+-]?(?:nan|inf|infinity)"), text("not a finite number; leave it empty where there is no value")),
        otherwise=text("not a number"),
    )
    return Cast(first_of((f"{accepted} AND isfinite({number}) AND NOT {changed} AND NOT {vanished}", number)), reason)


def _iso(column: Column, s: str) -> Cast:
    if column.logical_type == "date":
        accepted = f"{_matches(s, _DAY + _MIDNIGHT)} AND {s} >= '0001'"
        reason = first_of(
            (f"TRY_CAST(left({s}, 10) AS DATE) IS NULL AND {_matches(s, f'{_DAY}.*')}", text("no such day")),
            (_matches(s, f"{_DAY}[T ][0-9].*"), text("a time of day, which a date would lose")),
            otherwise=text("not a date; expected YYYY-MM-DD"),
        )
        return Cast(first_of((accepted, f"TRY_CAST(left({s}, 10) AS DATE)")), reason)
    if column.logical_type == "time":
        reason = first_of(
            (_matches(s, _FINE), text(f"finer than a microsecond, which a time would lose; {CUT}")),
            otherwise=text("not a time of day; expected hh:mm:ss"),
        )
        return Cast(first_of((_matches(s, _CLOCK), f"TRY_CAST({s} AS TIME)")), reason)
    zone, kind = (_OFFSET, "TIMESTAMPTZ") if column.timezone else ("", "TIMESTAMP")
    example = "2017-01-31T10:30:00Z or with an offset such as +02:00" if column.timezone else "YYYY-MM-DD hh:mm:ss"
    other = (
        (_matches(s, f"{_DAY}[T ]{_CLOCK}"), text(f"no time zone, and none is guessed; expected {example}"))
        if column.timezone
        else (_matches(s, f"{_DAY}[T ]{_CLOCK} ?{_OFFSET}"), text("a time zone, and the column is declared without one"))
    )
    reason = first_of(
        other,
        (f"TRY_CAST(left({s}, 10) AS DATE) IS NULL AND {_matches(s, f'{_DAY}.*')}", text("no such day")),
        (_matches(s, _DAY), text("no time of day, and none is guessed; declare the column a date")),
        (_matches(s, f"{_DAY}[T ]{_FINE}.*"), text(f"finer than a microsecond, which a timestamp would lose; {CUT}")),
        (_matches(s, f"{_DAY}[T ]{_ANY_CLOCK}.*"), text(f"no such time, or not as expected: {example}")),
        otherwise=text(f"not a timestamp; expected {example}"),
    )
    accepted = f"{_matches(s, f'{_DAY}[T ]{_CLOCK}{zone}')} AND {s} >= '0001'"
    with_seconds = f"regexp_replace({s}, '^(.{{16}})([Z+-])', '\\1:00\\2')" if column.timezone else s
    return Cast(first_of((accepted, f"TRY_CAST({with_seconds} AS {kind})")), reason)


def _formatted(column: Column, s: str) -> Cast:
    assert column.format is not None
    given = f"regexp_replace({s}, '[zZ]$', '+00:00')" if column.timezone else s
    parsed = f"CAST(try_strptime({given}, {text(column.format)}) AS {column.duckdb_type})"
    accepted = f"regexp_full_match({s}, {text(accepted_text(column.format))}, 'i')"
    reason = first_of(
        (accepted, text(f"no such {'day' if column.logical_type == 'date' else 'time'}")),
        otherwise=text(f"not a {column.logical_type} in the declared format {column.format}"),
    )
    return Cast(first_of((accepted, parsed)), reason)
