"""Formats of dates and times: what is understood, and what would leave something to be guessed."""

import re

import pytest

from caudal.contracts.formats import accepted_text, strptime_format

UNDERSTOOD = [
    ("yyyy-MM-dd", "date", "%Y-%m-%d"),
    ("d. MMMM uuuu", "date", "%-d. %B %Y"),
    ("yyyyDDD", "date", "%Y%j"),
    ("yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "timestamp", "%Y-%m-%dT%H:%M:%S.%f"),
    ("MM/dd/yy h:m a", "timestamp", "%m/%d/%y %-I:%-M %p"),
    ("dd 'of' MMM, ''yy H 'o''clock'", "timestamp", "%d of %b, '%y %-H o'clock"),
    ("HHmmss", "time", "%H%M%S"),
    ("100%% %Y%m%d", "date", "100%% %Y%m%d"),
]


@pytest.mark.parametrize(("given", "logical_type", "expected"), UNDERSTOOD)
def test_understood(given, logical_type, expected):
    assert strptime_format(given, logical_type) == expected


REFUSED = [
    ("yyyy-MM", "date", "a year, a month and a day"),
    ("%m-%d", "date", "a year, a month and a day"),
    ("%Y-%m-%d", "timestamp", "does not hold an hour"),
    ("%Y-%m-%d %H", "date", "parts of a time"),
    ("%Y %H:%M", "time", "parts of a date"),
    ("%M:%S", "time", "does not hold an hour"),
    ("hh:mm", "time", "need each other"),
    ("HH:mm a", "time", "need each other"),
    ("%H:%M.%f", "time", "fractions of a second without the seconds"),
    ("%Y-%m-%d %H:%M%z", "timestamp", "holds a time zone, and the column is declared without one"),
    ("%Y-%m-%d %d", "date", "a part is there twice"),
    ("%Y-%U-%w", "date", "'%U' is not understood"),
    ("YYYY-MM-dd", "date", "'YYYY' is not understood"),
    ("yyyy-MM-ddTHH:mm", "timestamp", "'T' is not understood; known are"),
    ("yyyy 'MM-dd", "date", "a quote is opened and not closed"),
    ("%Y%m%d%", "date", "'%' is not understood"),
]


@pytest.mark.parametrize(("given", "logical_type", "told"), REFUSED)
def test_refused(given, logical_type, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        strptime_format(given, logical_type)


def test_a_time_zone_is_in_the_format_if_and_only_if_the_column_has_one():
    assert strptime_format("yyyy-MM-dd HH:mmXXX", "timestamp", timezone=True) == "%Y-%m-%d %H:%M%z"
    with pytest.raises(ValueError, match="does not hold a time zone, and the column is declared with one"):
        strptime_format("yyyy-MM-dd HH:mm", "timestamp", timezone=True)
    with pytest.raises(ValueError, match="must stand at its end"):
        strptime_format("%z %Y-%m-%d %H:%M", "timestamp", timezone=True)


def test_what_is_between_the_parts_is_taken_by_the_letter():
    accepted = accepted_text("%d.%m.%Y (%H|%M)")
    assert re.fullmatch(accepted, "31.01.2017 (10|30)")
    assert not re.fullmatch(accepted, "31x01x2017 (10|30)")
    assert not re.fullmatch(accepted, "1.1.2017 (10|30)")
