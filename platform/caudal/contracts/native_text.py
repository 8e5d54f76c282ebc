"""What a file holds as a number or a date, not as text, written in the form that its column declares for text.

Readers of workbooks and of JSON give all values as text. Where a contract declares how text is written, a number that needs no
such declaration would be taken for text in that form: 1.234 in a column of `1.234,50` for 1234. So it is written in that form.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caudal.contracts.columns import Column

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?")
_MOMENT = re.compile(rf"({_DATE.pattern})[T ]({_TIME.pattern})")
_DIRECTIVE = re.compile(r"%-?.|.", re.DOTALL)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_NOON = 12
#: The years that two digits stand for.
_SHORT_YEARS = range(1969, 2069)


def as_declared(column: Column, canonical: str) -> str:
    """A value that is a number, a date or a time by itself, as the column's text would have it.

    Args:
        column: of the contract.
        canonical: a number with a point; a date, time or timestamp in ISO 8601.

    Returns:
        The same value in the declared form; `canonical` where none is declared, or where the form would lose something: then
        no form accepts it, and the row is refused.

    """
    if column.number_format is not None:
        return column.number_format.written(canonical)
    if column.format is None:
        return canonical
    moment = _moment(column.logical_type, canonical)
    return canonical if moment is None else _written(column.format, moment) or canonical


def _moment(logical_type: str, canonical: str) -> dt.datetime | None:
    """The moment, for a time on any day; None if it is none, or has more than the type keeps."""
    try:
        if _TIME.fullmatch(canonical):
            return dt.datetime.combine(dt.date.min, dt.time.fromisoformat(canonical)) if logical_type == "time" else None
        if not (_DATE.fullmatch(canonical) or _MOMENT.fullmatch(canonical)):
            return None
        found = dt.datetime.fromisoformat(canonical)
    except ValueError:
        return None
    if logical_type == "time" or (logical_type == "date" and found.time() != dt.time()):
        return None
    return found if logical_type == "date" or len(canonical) > len("2017-01-31") else None


def _written(strptime: str, moment: dt.datetime) -> str | None:
    pieces = _DIRECTIVE.findall(strptime)
    kept = {piece.replace("-", "")[1:] for piece in pieces if piece.startswith("%")}
    milliseconds, finer = divmod(moment.microsecond, 1000)
    lost = (
        "z" in kept
        or (moment.minute and "M" not in kept)
        or (moment.second and "S" not in kept)
        or (moment.microsecond and not kept & {"f", "g"})
        or (finer and "f" not in kept)
        or ("y" in kept and moment.year not in _SHORT_YEARS)
    )
    if lost:
        return None
    month, hour, day_of_year = _MONTHS[moment.month - 1], moment.hour % 12 or 12, moment.timetuple().tm_yday
    values = {
        "%Y": f"{moment.year:04}", "%y": f"{moment.year % 100:02}", "%m": f"{moment.month:02}", "%-m": f"{moment.month}",
        "%b": month[:3], "%B": month, "%d": f"{moment.day:02}", "%-d": f"{moment.day}", "%j": f"{day_of_year:03}",
        "%H": f"{moment.hour:02}", "%-H": f"{moment.hour}", "%I": f"{hour:02}", "%-I": f"{hour}",
        "%p": "AM" if moment.hour < _NOON else "PM", "%M": f"{moment.minute:02}", "%-M": f"{moment.minute}",
        "%S": f"{moment.second:02}", "%-S": f"{moment.second}", "%f": f"{moment.microsecond:06}", "%g": f"{milliseconds:03}",
        "%%": "%",
    }  # fmt: skip
    return "".join(values[piece] if piece.startswith("%") else piece for piece in pieces)
