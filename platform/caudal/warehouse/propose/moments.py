"""In which formats dates and times may be written, by the shape of some of them.

Where the order of day and month can be read in two ways, both are candidates of different meaning: the values decide, or
nobody does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from caudal.warehouse.propose.candidates import Candidate, candidate

_CLOCK = (
    r"(?P<gap>[T ]|, )(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?P<fraction>[.]\d{1,6})?)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(?:[Zz]|[+-]\d{2}:?\d{2}))?"
)
_NUMBERS = re.compile(rf"(?P<a>\d{{1,4}})(?P<s>[-/. ])(?P<b>\d{{1,2}})(?P=s)(?P<c>\d{{4}}|\d{{1,2}})(?:{_CLOCK})?")
_COMPACT = re.compile(r"\d{8}")
_COMPACT_TIME = re.compile(r"\d{8}(?P<gap>[T _-]?)\d{6}")
_YEAR = r"(?P<year>\d{4}|\d{2})"
_DAY_NAME = re.compile(rf"(?P<day>\d{{1,2}})(?P<s>[-/. ]|\. )(?P<name>[A-Za-z]{{3,9}})(?P=s){_YEAR}(?:{_CLOCK})?")
_NAME_DAY = re.compile(rf"(?P<name>[A-Za-z]{{3,9}}) (?P<day>\d{{1,2}})(?P<comma>,?) {_YEAR}(?:{_CLOCK})?")
_TIME = re.compile(
    r"(?P<hour>\d{1,4}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?P<fraction>[.]\d{1,6})?)?(?P<half> ?[AaPp][Mm])?"
)

_MEANINGS = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}
_SHORT_YEARS = "two digits of a year are read as 1969 to 2068"


def candidates(values: Sequence[str]) -> list[Candidate]:
    """The declarations that some value is in the shape of, ISO 8601 first."""
    found: dict[Candidate, None] = {}
    for value in values:
        for c in _of(value.strip()):
            found[c] = None
    return [*_ISO, *found]


_ISO = (
    candidate("date", "date"),
    candidate("timestamp", "timestamp"),
    candidate("timestamp with a time zone", "timestamp", timezone=True),
    candidate("time", "time"),
)


def _of(value: str) -> Iterator[Candidate]:
    if match := _NUMBERS.fullmatch(value):
        yield from _numbers(match)
    elif match := _DAY_NAME.fullmatch(value):
        name, year = _month_name(match["name"]), _year(match["year"])
        for day in ("dd", "d"):
            yield from _dated("dmy", _quoted(day, match["s"], name, match["s"], year), match, year)
    elif match := _NAME_DAY.fullmatch(value):
        name, year = _month_name(match["name"]), _year(match["year"])
        for day in ("dd", "d"):
            yield from _dated("mdy", f"{name} {day}{match['comma']} {year}", match, year)
    elif _COMPACT.fullmatch(value):
        yield candidate("ymd", "date", format="yyyyMMdd")
    elif match := _COMPACT_TIME.fullmatch(value):
        yield candidate("ymd timestamp", "timestamp", format=_quoted("yyyyMMdd", match["gap"], "HHmmss"))
    elif match := _TIME.fullmatch(value):
        for clock in _clocks(match) if len(match["hour"]) <= 2 else ():
            yield candidate("time", "time", format=clock)
        if not match["half"] and not match["fraction"]:
            written = {"format": "h:mm:ss" if match["second"] else "h:mm", "unit": "seconds"}
            yield candidate("duration", "integer", "kept as seconds", custom={"duration": written})


def _numbers(match: re.Match[str]) -> Iterator[Candidate]:
    separator = match["s"]
    if len(match["a"]) == 4:
        orders = ["ymd"]
    elif len(match["a"]) == 3:
        return
    elif len(match["c"]) == 4:
        orders = ["dmy"] if separator == "." else ["dmy", "mdy"]
    else:
        orders = ["dmy"] if separator == "." else ["dmy", "mdy", "ymd"]
    for order in orders:
        year = _year(match["a"] if order == "ymd" else match["c"])
        for day, month in (("dd", "MM"), ("d", "M")):
            letters = {"d": day, "m": month, "y": year}
            yield from _dated(order, separator.join(letters[o] for o in order), match, year)


def _dated(order: str, date: str, match: re.Match[str], year: str) -> Iterator[Candidate]:
    """The date alone, or with its time of day."""
    told = _SHORT_YEARS if year == "yy" else ""
    if match["hour"] is None:
        yield candidate(order, "date", told, format=date)
        return
    zone = "XXX" if match["zone"] else ""
    gap = _quoted(match["gap"]) if match["gap"] != " " else " "
    for clock in _clocks(match):
        if match["zone"]:
            blank = " " if match["zone"].startswith(" ") else ""
            yield candidate(f"{order} zoned", "timestamp", told, format=f"{date}{gap}{clock}{blank}{zone}", timezone=True)
        else:
            yield candidate(f"{order} timestamp", "timestamp", told, format=f"{date}{gap}{clock}")


def _clocks(match: re.Match[str]) -> Iterator[str]:
    """The strict form first, then the one that takes a missing zero."""
    letters = "hh" if match["half"] else "HH"
    half = "" if not match["half"] else " a" if match["half"].startswith(" ") else "a"
    fraction = ".SSSSSS" if match["fraction"] else ""
    for hour in (letters, letters[0]):
        second = f":ss{fraction}" if match["second"] else ""
        yield f"{hour}:mm{second}{half}"


def _year(digits: str) -> str:
    return "yyyy" if len(digits) == 4 else "yy"


def _month_name(name: str) -> str:
    return "MMM" if len(name) == 3 else "MMMM"


def _quoted(*pieces: str) -> str:
    """The pieces as one pattern; letters that are no pattern letters of theirs in quotes."""
    return "".join(f"'{p}'" if p in ("T", "_") else p for p in pieces)


def in_words(chosen: Candidate) -> str:
    """Such as `day, month, year (d/M/yyyy)`."""
    order = order_of(chosen.meaning)
    return f"{_MEANINGS[order] if order else chosen.meaning} ({chosen.declared['logicalTypeOptions']['format']})"


def order_of(meaning: str) -> str | None:
    """`dmy`, `mdy` or `ymd` where the order of a date could be read otherwise; else None."""
    first = meaning.partition(" ")[0]
    return first if first in _MEANINGS else None
