"""Numbers in any declared format: what is rendered is read back the same, and any other text is that number or refused."""

import datetime as dt
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caudal.contracts import Column
from caudal.contracts.native_text import as_declared
from caudal.contracts.number_formats import NumberFormat, number_format
from caudal.warehouse.casting import cast_text, is_absent

QUICK = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60
)
BLANKS = " \u00a0\u202f\u2009"


@pytest.fixture(scope="module")
def read():
    """What texts become in a column, by the SQL: a value, or the reason in a list."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def become(column, texts):
            cast = cast_text(column, "s")
            prepared = f", {cast.prepared} AS sp" if cast.prepared else ""
            select = (
                f"SELECT {cast.value}, CASE WHEN ({cast.value}) IS NULL AND NOT ({is_absent(column, 's')}) THEN {cast.reason} END "
                f"FROM (SELECT *{prepared} FROM (SELECT unnest(?::VARCHAR[]) AS s))"
            )
            found = connection.execute(select, [list(texts)]).fetchall()
            return [[reason] if reason is not None else value for value, reason in found]

        yield become


@st.composite
def formats(draw):
    decimal, group = draw(
        st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", ""), (",", ""), (",", "'"), (".", " ")])
    )
    percent = draw(st.sampled_from([None, None, "fraction", "number"]))
    currency = () if percent else draw(st.sampled_from([(), ("$", "USD"), ("Rs.",), ("kr",)]))
    negative = draw(st.sets(st.sampled_from(["parentheses", "trailing"])))
    declared = {
        "decimal": decimal,
        "group": group,
        "percent": percent,
        "currency": list(currency),
        "negative": sorted(negative),
    }
    return number_format({k: v for k, v in declared.items() if v not in (None, [])}, "number")


@st.composite
def rendered(draw, given_format):
    """A number, and one of the texts that it may have in the format."""
    number = draw(st.decimals(Decimal("-1e14"), Decimal("1e14"), places=draw(st.integers(0, 4))))
    shown = abs(number) * 100 if given_format.percent == "fraction" else abs(number)
    whole, _, decimals = f"{shown:f}".partition(".")
    if given_format.group and draw(st.booleans()):
        separator = draw(st.sampled_from(given_format.groups))
        whole = separator.join(f"{int(whole):,}".split(","))
    text = whole + (given_format.decimal + decimals if decimals else "") + ("%" if given_format.percent else "")
    currency = draw(st.sampled_from(["", *given_format.currency]))
    blank = draw(st.sampled_from(["", *BLANKS]))
    before = draw(st.booleans())
    if currency:
        text = f"{currency}{blank}{text}" if before else f"{text}{blank}{currency}"
    if number < 0:
        text = draw(st.sampled_from([f"-{text}", f"\u2212{text}", *_negatives(text, given_format)]))
    return number, text


def _negatives(text, given_format):
    forms = {"parentheses": f"({text})", "trailing": f"{text}-"}
    return [forms[n] for n in given_format.negative]


def column(given_format):
    return Column("x", "number", precision=30, scale=10, number_format=given_format)


@given(data=st.data(), given_format=formats())
@QUICK
def test_a_number_written_in_the_format_is_read_as_that_number(read, data, given_format):
    pairs = data.draw(st.lists(rendered(given_format), min_size=1, max_size=8))
    assert read(column(given_format), [text for _, text in pairs]) == [number for number, _ in pairs]


def reference(text, given_format):
    """The number that a careful reader sees in the text; None where there is none, or a doubt."""
    text = "".join(" " if c in BLANKS else c for c in text).strip()
    signs = 0
    if text.startswith("(") or text.endswith(")"):
        inside = _in_parentheses(text, given_format)
        if inside is None:
            return None
        text, signs = inside, 1
    text, currencies = _without_currency(text, given_format)
    if signs == 0:
        if text[:1] in ("+", "-", "\u2212") and text:
            signs, text = 1 if text[0] != "+" else 2, text[1:].removeprefix(" ")
        elif text[-1:] in ("-", "\u2212") and "trailing" in given_format.negative:
            signs, text = 1, text[:-1].removesuffix(" ")
        if not currencies:
            text, currencies = _without_currency(text, given_format)
    if given_format.percent:
        if not text.endswith("%"):
            return None
        text = text[:-1].removesuffix(" ")
    whole, *others = text.split(given_format.decimal)
    decimals = others[0] if others else ""
    if len(others) > 1 or not (whole + decimals).replace(" ", "") or not all(c in "0123456789" for c in decimals):
        return None
    for separator in "'\u2019" if given_format.group == "'" else given_format.group:
        if separator in whole:
            groups = list(whole.replace("\u2019", "'").split("'" if given_format.group == "'" else separator))
            if not 1 <= len(groups[0]) <= 3 or any(len(g) != 3 for g in groups[1:]):
                return None
            whole = "".join(groups)
    if not all(c in "0123456789" for c in whole) or (len(whole) > 1 and whole.startswith("0")):
        return None
    number = Decimal(f"{whole or 0}.{decimals or 0}")
    number = number / 100 if given_format.percent == "fraction" else number
    return -number if signs == 1 else number


def _in_parentheses(text, given_format):
    if "parentheses" not in given_format.negative:
        return None
    text, found = _without_currency(text, given_format)
    if not (text.startswith("(") and text.endswith(")")):
        return None
    inside = text[1:-1].removeprefix(" ").removesuffix(" ")
    if found and _without_currency(inside, given_format)[1]:
        return None
    return inside if inside[:1] not in ("+", "-", "\u2212", "(") and inside[-1:] not in ("-", "\u2212") else None


def _without_currency(text, given_format):
    for name in sorted(given_format.currency, key=len, reverse=True):
        if text.startswith(name):
            return text.removeprefix(name).removeprefix(" "), True
        if text.endswith(name):
            return text.removesuffix(name).removesuffix(" "), True
    return text, False


likely = st.text("0123456789.,' -+()%$", max_size=9) | st.from_regex(
    r"[-(]?[$]?[0-9]{1,3}([.,' ][0-9]{2,3}){0,3}[-)%]?", fullmatch=True
)


@given(given_format=formats(), texts=st.lists(likely, min_size=1, max_size=12))
@example(NumberFormat(",", "."), ["1.234", "1,234", "1.23", "1,23,4", "1.234.567,8", "", " "])
@QUICK
def test_any_text_is_read_as_a_careful_reader_would_or_refused(read, given_format, texts):
    for text, found in zip(texts, read(column(given_format), texts), strict=True):
        if not isinstance(found, list):
            expected = reference(text, given_format) if text.strip() else None
            assert found == expected, text


@given(
    given_format=formats(),
    number=st.decimals(Decimal("-1e12"), Decimal("1e12"), places=4) | st.integers(-(10**9), 10**9).map(Decimal),
)
@QUICK
def test_a_number_that_came_as_one_keeps_its_value_or_is_refused(read, given_format, number):
    (found,) = read(column(given_format), [as_declared(column(given_format), f"{number}")])
    assert found == number or (given_format.percent == "number" and isinstance(found, list))


@given(
    moment=st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 30)),  # noqa: DTZ001 - the column has no time zone
    given_format=st.sampled_from(
        ["%Y-%m-%d %H:%M:%S.%f", "%-d/%-m/%y %-I:%M %p", "%d %B %Y %H:%M:%S", "%b %-d, %Y %-H:%-M:%-S.%g", "%Y%j%H%M%S"]
    ),
)
@QUICK
def test_a_moment_that_came_as_one_keeps_its_value_or_is_refused(read, moment, given_format):
    declared = Column("x", "timestamp", format=given_format)
    (found,) = read(declared, [as_declared(declared, moment.isoformat(" "))])
    assert found == moment or isinstance(found, list)


@pytest.mark.parametrize(
    ("declared", "canonical", "expected"),
    [
        (Column("x", "date", format="%d.%m.%Y"), "2017-01-31", "31.01.2017"),
        (Column("x", "date", format="%d.%m.%Y"), "2017-01-31 00:00:00", "31.01.2017"),
        (Column("x", "date", format="%d.%m.%Y"), "2017-01-31 10:00:00", "2017-01-31 10:00:00"),
        (Column("x", "date", format="%d.%m.%Y"), "20170131", "20170131"),
        (Column("x", "date", format="%d.%m.%y"), "1917-01-31", "1917-01-31"),
        (Column("x", "time", format="%-H:%M:%S"), "09:05:00", "9:05:00"),
        (Column("x", "time", format="%H:%M"), "09:05:30", "09:05:30"),
        (Column("x", "timestamp", format="%d.%m.%Y %H:%M"), "2017-01-31", "2017-01-31"),
        (Column("x", "number", number_format=NumberFormat(percent="number")), "0.8", "0.8"),
        (Column("x", "number", number_format=NumberFormat(decimal=",")), "1.5e-3", "0,0015"),
        (Column("x", "number", number_format=NumberFormat(decimal=",")), "1e999", "1e999"),
        (Column("x", "integer"), "5", "5"),
    ],
)  # fmt: skip
def test_what_a_format_would_lose_is_left_for_it_to_refuse(declared, canonical, expected):
    assert as_declared(declared, canonical) == expected
