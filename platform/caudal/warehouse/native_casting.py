"""Typed values of a file -> the type that the contract declares: exactly, or not at all.

| in the file | becomes |
|---|---|
| integers, unsigned | integer, number; boolean if 0 or 1; string |
| float, double | integer if whole and below 2^53; decimal if that prints back to the same number; double |
| decimal | integer if whole; decimal if no digit is lost; double |
| date | date of the years 1 to 9999 |
| timestamp | timestamp without a time zone of those years; date if at midnight |
| timestamp with a time zone | timestamp with a time zone of those years |
| time | time below 24:00 |
| text | what `caudal.warehouse.casting` says |
| struct, map; list | object; array, as JSON text |
| struct; list | object with properties; array with items: each value inside by these rules |
| map | object with properties: by way of JSON text |

Nanoseconds are kept where they are whole microseconds, and cut to them where the contract says so; else the row is rejected.
Everything else is no loss of a value but a misunderstanding: the file is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from caudal.lake.readers.parquet_types import fits_json, kind_of
from caudal.lake.readers.rows import SourceColumn
from caudal.warehouse.casting import CUT, Cast, cast_text, without_markers
from caudal.warehouse.json_text import JSON_FAULT
from caudal.warehouse.nested_casting import OtherType, Place, Scalar, nested
from caudal.warehouse.sql import first_of, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from caudal.contracts import Column

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")

_EXACT_INTEGERS = 2**53
#: Below so many digits a decimal and its double stand for each other.
_EXACT_DIGITS = 15
_NANOSECONDS_A_DAY = 86_400 * 10**9

_FINER = text(f"finer than a microsecond, which would be lost; {CUT}")
_RANGE = text("outside the range of a 64-bit integer")
_TIME_OF_DAY = text("a time of day, which a date would lose")
_MIDNIGHT = text("no time of day; expected less than 24:00")
_YEARS = text("not of the years 1 to 9999, beyond which a text is no date either")
_INFINITE = text("infinite; give null where there is no value")
_LIMITS = {
    "DATE": ("0001-01-01", "9999-12-31"),
    "TIMESTAMP": ("0001-01-01", "9999-12-31 23:59:59.999999"),
    "TIMESTAMPTZ": ("0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"),
}
_FRACTION = text("a fraction; expected an integer")
_NOT_FINITE = text("not a finite number; give null where there is no value")


def cast_native(column: Column, source: SourceColumn, s: str) -> Cast | None:
    """How the value `s` of a source column becomes the column's type; None where the one is no form of the other."""
    if source.kind == "text":
        return cast_text(column, s)
    if column.is_nested:
        return _nested(column, source, s)
    match column.logical_type:
        case "string":
            return Cast(f"CAST({s} AS VARCHAR)", "NULL") if source.kind in ("integer", "unsigned") else None
        case "integer":
            return _integer(source, s)
        case "number":
            return _decimal(column, source, s) if column.is_decimal else _double(column, source, s)
        case "boolean":
            value = f"CASE {s} WHEN 0 THEN false WHEN 1 THEN true END"
            cases = {"boolean": Cast(s, "NULL"), "integer": Cast(value, text("not a boolean; expected 0 or 1"))}
            return cases.get(source.kind)
        case "object" | "array":
            return _json(column, source, s)
        case _:
            return _moment(column, source, s)


def present(column: Column, source: SourceColumn, s: str, null_markers: Sequence[str]) -> str:
    """The value `s` of a source column; NULL if it is a null marker. A number is one if it is the same number.

    Args:
        column: with its own markers.
        source: how it comes.
        s: SQL.
        null_markers: of the dataset, for text.

    """
    if source.kind == "text":
        return without_markers(column, s, null_markers)
    numbers = [m for m in column.null_markers if _NUMBER.fullmatch(m)]
    if not numbers or source.kind not in ("integer", "unsigned", "decimal", "float", "double"):
        return s
    return first_of((f"{s} IN ({', '.join(numbers)})", "NULL"), otherwise=s)


def shown(source: SourceColumn, s: str) -> str:
    """SQL of the value as a person reads it."""
    match source.kind:
        case "text":
            return s
        case "nested":
            return f"to_json({s})::VARCHAR"
        case "timestamp_ns" | "timestamptz_ns":
            return f"CAST(make_timestamp_ns({s}) AS VARCHAR)"
        case "time_ns":
            return f"CAST({s} AS VARCHAR) || ' ns'"
        case _:
            return f"CAST({s} AS VARCHAR)"


def _integer(source: SourceColumn, s: str) -> Cast | None:
    whole = f"isfinite({s}) AND {s} = trunc({s})"
    cases = {
        "integer": Cast(s, "NULL"),
        "unsigned": Cast(f"TRY_CAST({s} AS BIGINT)", _RANGE),
        "decimal": Cast(
            first_of((f"{s} = trunc({s})", f"TRY_CAST({s} AS BIGINT)")),
            first_of((f"{s} = trunc({s})", _RANGE), otherwise=_FRACTION),
        ),
        "double": Cast(
            first_of((f"{whole} AND abs({s}) < {_EXACT_INTEGERS}", f"CAST({s} AS BIGINT)")),
            first_of(
                (f"NOT isfinite({s})", _NOT_FINITE),
                (
                    f"{s} = trunc({s})",
                    text("a floating-point number from 2^53 on, which may have lost digits; expected an integer"),
                ),
                otherwise=_FRACTION,
            ),
        ),
    }
    return cases.get("double" if source.kind == "float" else source.kind)


def _decimal(column: Column, source: SourceColumn, s: str) -> Cast | None:
    assert column.precision is not None
    assert column.scale is not None
    kind = column.duckdb_type
    as_text = cast_text(column, f"CAST({s} AS VARCHAR)")
    if source.kind in ("integer", "unsigned"):
        return Cast(f"TRY_CAST({s} AS {kind})", as_text.reason)
    if source.kind == "decimal":
        widens = column.scale >= source.arrow_type.scale
        return Cast(f"TRY_CAST({s} AS {kind})" if widens else as_text.value, as_text.reason)
    if source.kind not in ("float", "double"):
        return None
    reason = first_of((f"NOT isfinite({s})", _NOT_FINITE), otherwise=as_text.reason)
    if source.kind == "float":
        return Cast(as_text.value, reason)
    nearest = f"TRY_CAST({s} AS {kind})"
    near = first_of((f"CAST({nearest} AS DOUBLE) = {s}", nearest))
    return Cast(first_of((f"abs({s}) < 1e{_EXACT_DIGITS - column.scale}", near), otherwise=as_text.value), reason)


def _double(column: Column, source: SourceColumn, s: str) -> Cast | None:
    match source.kind:
        case "double" | "float":
            return Cast(first_of((f"isfinite({s})", f"CAST({s} AS DOUBLE)")), _NOT_FINITE)
        case "integer" | "unsigned" | "decimal":
            return cast_text(column, f"CAST({s} AS VARCHAR)")
        case _:
            return None


def _nested(column: Column, source: SourceColumn, s: str) -> Cast | None:
    import pyarrow as pa

    if source.kind != "nested":
        return None
    if column.fields and pa.types.is_map(source.arrow_type):
        return cast_text(column, f"(to_json({s})::VARCHAR)") if fits_json(source.arrow_type) else None
    found = nested(column, s, source.arrow_type, _scalar)
    return Cast(found.value, found.reason)


def _scalar(column: Column, place: Place) -> Scalar:
    assert place.kind is not None
    known = kind_of(place.kind)
    source = None if known is None else SourceColumn(column.name, *known)
    s = "NULL" if source is None else present(column, source, place.x, ())
    cast = None if source is None else cast_native(column, source, f"({s})")
    if source is None or cast is None:
        raise OtherType(place.path)
    return Scalar(cast, f"({s})", source.kind == "text")


def _json(column: Column, source: SourceColumn, s: str) -> Cast | None:
    import pyarrow as pa

    if source.kind != "nested":
        return None
    if not fits_json(source.arrow_type):
        return None
    if (column.logical_type == "object") != (pa.types.is_struct(source.arrow_type) or pa.types.is_map(source.arrow_type)):
        return None
    written = f"to_json({s})::VARCHAR"
    fault = f"{JSON_FAULT}({written}, {text(column.logical_type)})"
    return Cast(first_of((f"{fault} IS NULL", written)), fault)


def _moment(column: Column, source: SourceColumn, s: str) -> Cast | None:
    # Cut towards the past, also before 1970, where DuckDB's // goes the other way.
    at_microsecond, within = f"make_timestamp(({s} - (({s} % 1000) + 1000) % 1000) // 1000)", _within_years("TIMESTAMP", s)
    exact = "true" if column.cuts_nanoseconds else f"{s} % 1000 = 0"
    kinds: dict[tuple[str, str], Cast] = {
        ("date", "date"): _within_years("DATE", s),
        ("date", "timestamp"): Cast(
            first_of((f"({within.value}) = date_trunc('day', {s})", f"CAST({s} AS DATE)")),
            first_of((f"({within.value}) IS NOT NULL", _TIME_OF_DAY), otherwise=within.reason),
        ),
        ("date", "timestamp_ns"): Cast(
            first_of((f"{s} % {_NANOSECONDS_A_DAY} = 0", f"CAST({at_microsecond} AS DATE)")),
            _TIME_OF_DAY,
        ),
        ("timestamp", "timestamp"): within,
        ("timestamp", "timestamp_ns"): Cast(first_of((exact, at_microsecond)), _FINER),
        ("timestamptz", "timestamptz"): _within_years("TIMESTAMPTZ", s),
        ("timestamptz", "timestamptz_ns"): Cast(first_of((exact, f"{at_microsecond} AT TIME ZONE 'UTC'")), _FINER),
        ("time", "time"): Cast(first_of((f"{s} < TIME '24:00:00'", s)), _MIDNIGHT),
        ("time", "time_ns"): Cast(
            first_of((f"{exact} AND {s} < {_NANOSECONDS_A_DAY}", f"CAST({at_microsecond} AS TIME)")),
            first_of((exact, _MIDNIGHT), otherwise=_FINER),
        ),
    }
    wanted = "timestamptz" if column.logical_type == "timestamp" and column.timezone else column.logical_type
    return kinds.get((wanted, source.kind))


def _within_years(kind: str, s: str) -> Cast:
    first, last = _LIMITS[kind]
    within = f"{s} BETWEEN {kind} '{first}' AND {kind} '{last}'"
    return Cast(first_of((within, s)), first_of((f"isfinite({s})", _YEARS), otherwise=_INFINITE))
