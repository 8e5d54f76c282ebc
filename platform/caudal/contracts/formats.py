"""How dates, times and durations are written, where a contract says so: `strptime` directives with exactly what each accepts.

ODCS gives formats in the letters of java.time.format.DateTimeFormatter; `%` directives are accepted too. A format must say
all that its column holds, so that nothing is guessed: no date without a year, no hour of twelve without am or pm, a time zone
if and only if the column has one. Month names are English. Two-digit years are 1969 to 2068.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_JAVA = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d",
    "DDD": "%j", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S",
    "SSSSSS": "%f", "SSS": "%g", "a": "%p", "XXX": "%z", "XX": "%z", "xxx": "%z", "xx": "%z",
}  # fmt: skip

#: What each directive accepts, as a regular expression. DuckDB by itself accepts more, such as a missing leading zero.
_ACCEPTED = {
    "%Y": "[0-9]{4}", "%y": "[0-9]{2}", "%m": "[0-9]{2}", "%-m": "[0-9]{1,2}", "%d": "[0-9]{2}", "%-d": "[0-9]{1,2}",
    "%b": "[a-z]{3}", "%B": "[a-z]{3,}", "%j": "[0-9]{3}", "%H": "[0-9]{2}", "%-H": "[0-9]{1,2}", "%I": "[0-9]{2}",
    "%-I": "[0-9]{1,2}", "%M": "[0-9]{2}", "%-M": "[0-9]{1,2}", "%S": "[0-9]{2}", "%-S": "[0-9]{1,2}", "%f": "[0-9]{1,6}",
    "%g": "[0-9]{3}", "%p": "[ap]m", "%z": "(?:z|[+-][0-9]{2}(?::?[0-9]{2})?)", "%%": "%",
}  # fmt: skip

_DIRECTIVE = re.compile(r"%-?.|.", re.DOTALL)

_YEAR, _MONTH, _DAY = ("%Y", "%y"), ("%m", "%-m", "%b", "%B"), ("%d", "%-d")
_HOUR, _TWELVE_HOURS, _AM_PM = ("%H", "%-H"), ("%I", "%-I"), ("%p",)
_DATE_PARTS = (*_YEAR, *_MONTH, *_DAY, "%j")
_TIME_PARTS = (*_HOUR, *_TWELVE_HOURS, *_AM_PM, "%M", "%-M", "%S", "%-S", "%f", "%g", "%z")


#: How many digits the first part of a duration may have: more than any that counts.
_LONGEST = 9

_DURATIONS = {"h:mm:ss": ("hours", "minutes", "seconds"), "h:mm": ("hours", "minutes"), "m:ss": ("minutes", "seconds")}
_SECONDS = {"hours": 3600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True)
class Duration:
    """How a length of time is written, of any number of hours, and in which unit it is kept as an integer.

    Attributes:
        format: `h:mm:ss`, `h:mm` or `m:ss`.
        unit: `seconds` or `minutes`. A text that is no whole number of them is refused.

    """

    format: str
    unit: str

    @property
    def accepted(self) -> str:
        """A regular expression (RE2) of the texts that are durations."""
        return f"-?[0-9]{{1,{_LONGEST}}}" + ":[0-5][0-9]" * (len(_DURATIONS[self.format]) - 1)

    @property
    def unit_seconds(self) -> int:
        return _SECONDS[self.unit]

    @property
    def parts(self) -> tuple[int, ...]:
        """How many seconds each part of the text counts."""
        return tuple(_SECONDS[part] for part in _DURATIONS[self.format])


def duration(declared: Any) -> Duration:
    """The duration that a contract declares.

    Raises:
        ValueError: what is wrong with it.

    """
    known = declared if isinstance(declared, dict) and declared.keys() == {"format", "unit"} else {}
    if known.get("format") not in _DURATIONS or known.get("unit") not in ("seconds", "minutes"):
        raise ValueError(
            f"it is {declared!r}; expected a format ({', '.join(f'`{f}`' for f in _DURATIONS)}) and a unit "
            "(`seconds`, `minutes`), such as {format: 'h:mm:ss', unit: seconds}"
        )
    return Duration(**known)


def strptime_format(given: str, logical_type: str, *, timezone: bool = False) -> str:
    """The format in `strptime` directives.

    Args:
        given: as the contract has it.
        logical_type: of the column: `date`, `time` or `timestamp`.
        timezone: whether the column has a time zone.

    Raises:
        ValueError: what is wrong with it.

    """
    translated = given if "%" in given else _from_java(given)
    directives = [piece for piece in _DIRECTIVE.findall(translated) if piece.startswith("%")]
    for directive in directives:
        if directive not in _ACCEPTED:
            raise ValueError(f"{directive!r} is not understood; known are {' '.join(_ACCEPTED)}")
    problem = _problem(directives, logical_type, translated, timezone=timezone)
    if problem:
        raise ValueError(problem)
    return translated


def accepted_text(strptime: str) -> str:
    """A regular expression (RE2, not caring for case) of the texts that a format accepts."""
    return "".join(_ACCEPTED[piece] if len(piece) > 1 else re.escape(piece) for piece in _DIRECTIVE.findall(strptime))


def _from_java(pattern: str) -> str:
    if pattern.count("'") % 2:
        raise ValueError("a quote is opened and not closed")
    out = []
    for run in re.finditer(r"''|'((?:[^']|'')+)'|([A-Za-z])\2*|[^']", pattern):
        if run[1] is not None:
            out.append(run[1].replace("''", "'"))
        elif run[2] and run[0] in _JAVA:
            out.append(_JAVA[run[0]])
        elif run[2]:
            raise ValueError(f"{run[0]!r} is not understood; known are {' '.join(_JAVA)}, and text in 'quotes'")
        else:
            out.append("'" if run[0] == "''" else run[0])
    return "".join(out)


def _problem(directives: list[str], logical_type: str, translated: str, *, timezone: bool) -> str | None:
    def has(*wanted: str) -> bool:
        return any(d in wanted for d in directives)

    if len(set(directives)) != len(directives):
        return "a part is there twice"
    if logical_type != "time" and not (has(*_YEAR) and (has("%j") or (has(*_MONTH) and has(*_DAY)))):
        return "it does not hold a year, a month and a day; what is missing would be guessed"
    if logical_type == "time" and has(*_DATE_PARTS):
        return "it holds parts of a date, which a time would lose"
    if logical_type == "date" and has(*_TIME_PARTS):
        return "it holds parts of a time, which a date would lose"
    if logical_type != "date" and not has(*_HOUR, *_TWELVE_HOURS):
        return "it does not hold an hour; it would be guessed"
    if has(*_TWELVE_HOURS) != has(*_AM_PM):
        return (
            "an hour of twelve and am or pm (%I and %p, `hh` and `a`) need each other; an hour of the whole day is %H, `HH` "
            "or without a leading zero `H`"
        )
    if has("%f", "%g") and not has("%S", "%-S"):
        return "it holds fractions of a second without the seconds"
    if has("%z") != timezone:
        held, declared = ("does not hold", "with") if timezone else ("holds", "without")
        return f"it {held} a time zone, and the column is declared {declared} one"
    if timezone and not translated.endswith("%z"):
        return "the time zone must stand at its end"
    return None
