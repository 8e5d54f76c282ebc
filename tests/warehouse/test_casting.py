# ruff: noqa: DTZ001 - most of these timestamps have no time zone, as their columns
"""Text and typed values become what the contract declares: exactly, or they are rejected with the reason."""

import datetime as dt
import json
from decimal import Decimal

import pytest

UTC = dt.UTC
INTEGER = {"logicalType": "integer"}
MONEY = {"logicalType": "number", "physicalType": "DECIMAL(10,2)"}
FINE = {"logicalType": "number"}
WHOLE = {"logicalType": "number", "physicalType": "DECIMAL(3,0)"}
SHARE = {"logicalType": "number", "physicalType": "DECIMAL(2,2)"}
DOUBLE = {"logicalType": "number", "physicalType": "DOUBLE"}
BOOLEAN = {"logicalType": "boolean"}
DATE = {"logicalType": "date"}
TIMESTAMP = {"logicalType": "timestamp"}
MOMENT = {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}}
TIME = {"logicalType": "time"}


def formatted(logical_type, pattern, *, timezone=False):
    zone = {"timezone": True} if timezone else {}
    return {"logicalType": logical_type, "logicalTypeOptions": {"format": pattern, **zone}}


@pytest.fixture
def cast(contract_of, take):
    """What each text becomes: its value, or the reason of its rejection."""

    def become(declared, texts):
        contract = contract_of({"name": "x", **declared})
        taken = take(contract, "jsonl", "".join(json.dumps({"x": t}) + "\n" for t in texts))
        values = {texts[row - 1]: value for row, (value,) in zip(taken.places, taken.rows, strict=True)}
        for row, column, shown, reason in taken.rejects:
            assert (column, shown) == ("x", texts[row - 1])
            values[shown] = reason
        return values

    return become


ACCEPTED = [
    (
        "an integer",
        INTEGER,
        {"17850": 17850, "-5": -5, "+5": 5, "0": 0, "-0": 0, " 7 ": 7, "7\u00a0": 7, "9223372036854775807": 2**63 - 1},
    ),
    (
        "an integer that passed through a float",
        INTEGER,
        {"17850.0": 17850, "17850.": 17850, "-9223372036854775808.00": -(2**63)},
    ),
    ("a decimal", MONEY, {"1.50": Decimal("1.50"), "1.5": Decimal("1.50"), "-.5": Decimal("-0.50"), "7": 7, "7.": 7}),
    ("a decimal's zeros beyond its scale", MONEY, {"1.500000000000000000000000000000000000000": Decimal("1.5")}),
    ("a decimal with an exponent", MONEY, {"1e3": 1000, "15E-1": Decimal("1.5"), "1.25e1": Decimal("12.5"), "0E-2": 0}),
    ("the largest decimals", FINE, {"9" * 29 + "." + "9" * 9: Decimal("9" * 29 + "." + "9" * 9)}),
    ("a decimal without places", WHOLE, {"999": 999, "999.0": 999, "-0": 0}),
    ("a decimal that is all places", SHARE, {"0.25": Decimal("0.25"), ".25": Decimal("0.25"), "-0.01": Decimal("-0.01")}),
    (
        "a double",
        DOUBLE,
        {"0.1": 0.1, "1e-5": 1e-5, "5": 5.0, "5.0": 5.0, "-0.0": 0.0, "9007199254740992": 2.0**53, "1e308": 1e308},
    ),
    ("a boolean", BOOLEAN, {"true": True, "False": False, "1": True, "0": False, " TRUE ": True}),
    ("a date", DATE, {"2017-01-31": dt.date(2017, 1, 31), "2016-02-29": dt.date(2016, 2, 29), "0001-01-01": dt.date(1, 1, 1)}),
    ("a date at midnight", DATE, {"2017-01-31T00:00:00.000": dt.date(2017, 1, 31), "2017-01-31 00:00": dt.date(2017, 1, 31)}),
    (
        "a timestamp",
        TIMESTAMP,
        {
            "2017-01-31 10:30:00": dt.datetime(2017, 1, 31, 10, 30),
            "2017-01-31T10:30": dt.datetime(2017, 1, 31, 10, 30),
            "2017-01-31T10:30:00.123456": dt.datetime(2017, 1, 31, 10, 30, 0, 123456),
            "2017-01-31T10:30:00.123456000": dt.datetime(2017, 1, 31, 10, 30, 0, 123456),
            "9999-12-31 23:59:59": dt.datetime(9999, 12, 31, 23, 59, 59),
        },
    ),
    (
        "a timestamp with a time zone",
        MOMENT,
        {
            "2017-01-31T10:30:00Z": dt.datetime(2017, 1, 31, 10, 30, tzinfo=UTC),
            "2017-01-31T10:30:00.5+02:00": dt.datetime(2017, 1, 31, 8, 30, 0, 500000, tzinfo=UTC),
            "2017-01-31 10:30-0230": dt.datetime(2017, 1, 31, 13, 0, tzinfo=UTC),
            "2017-01-31 10:30:00+02": dt.datetime(2017, 1, 31, 8, 30, tzinfo=UTC),
        },
    ),
    ("a time", TIME, {"10:30": dt.time(10, 30), "23:59:59.999999": dt.time(23, 59, 59, 999999)}),
    ("a date in the declared format", formatted("date", "dd.MM.yyyy"), {"31.01.2017": dt.date(2017, 1, 31)}),
    (
        "a date without leading zeros",
        formatted("date", "%-d/%-m/%Y"),
        {"1/2/2017": dt.date(2017, 2, 1), "31/12/2017": dt.date(2017, 12, 31)},
    ),
    ("a month's name", formatted("date", "d MMM yyyy"), {"1 feb 2017": dt.date(2017, 2, 1), "1 Feb 2017": dt.date(2017, 2, 1)}),
    ("a year of two digits", formatted("date", "%d%m%y"), {"010299": dt.date(1999, 2, 1), "010268": dt.date(2068, 2, 1)}),
    (
        "a time of twelve hours",
        formatted("timestamp", "MM/dd/yyyy hh:mm a"),
        {"02/01/2017 12:30 AM": dt.datetime(2017, 2, 1, 0, 30)},
    ),
    (
        "milliseconds",
        formatted("timestamp", "yyyyMMdd'T'HHmmss.SSS"),
        {"20170201T103000.125": dt.datetime(2017, 2, 1, 10, 30, 0, 125000)},
    ),
    (
        "an offset in the declared format",
        formatted("timestamp", "%d.%m.%Y %H:%M%z", timezone=True),
        {
            "31.01.2017 10:30+02:00": dt.datetime(2017, 1, 31, 8, 30, tzinfo=UTC),
            "31.01.2017 10:30Z": dt.datetime(2017, 1, 31, 10, 30, tzinfo=UTC),
        },
    ),
    ("a time in the declared format", formatted("time", "HHmm"), {"1030": dt.time(10, 30)}),
    ("an object", {"logicalType": "object"}, {'{"a": 1.10}': '{"a": 1.10}', "{}": "{}"}),
    ("an array", {"logicalType": "array"}, {"[1, [2]]": "[1, [2]]"}),
    (
        "text, whatever it says",
        {"logicalType": "string"},
        {"007": "007", " a ": " a ", "": "", "NaN": "NaN", "ä\u0000😀": "ä\u0000😀"},
    ),
]


@pytest.mark.parametrize(("declared", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(cast, declared, expected):
    found = cast(declared, list(expected))
    assert found == expected
    assert [str(v) for v in found.values() if isinstance(v, float)] == [
        str(v) for v in expected.values() if isinstance(v, float)
    ]


@pytest.mark.parametrize(
    "declared", [INTEGER, MONEY, DOUBLE, BOOLEAN, DATE, TIMESTAMP, MOMENT, TIME, {"logicalType": "object"}]
)
def test_an_empty_text_is_no_value_but_in_strings(cast, declared):
    assert cast(declared, ["", "  "]) == {"": None, "  ": None}


REFUSED = [
    (INTEGER, "a leading zero", ["007", "-007", "00", "007.0"]),
    (INTEGER, "a fraction", ["17850.5", ".5", "0.1"]),
    (INTEGER, "in exponent notation", ["1e3", "1E3", "1.5e1"]),
    (INTEGER, "outside the range", ["9223372036854775808", "-9223372036854775809", "1" * 40]),
    (INTEGER, "not an integer", ["1,000", "1_000", "0x1F", "12 345", "true", "five", "--5", "+", ".", "٣", "1\n"]),
    (MONEY, "more than 2 decimals", ["1.505", "0.001", ".999", "123456789012.345"]),
    (MONEY, "more than 8 digits before the point", ["123456789", "123456789.10"]),
    (MONEY, "does not fit DECIMAL(10,2) exactly", ["1e8", "1e-3", "1.005e0", "1e400"]),
    (MONEY, "a leading zero", ["00.50", "007", "01e2"]),
    (MONEY, "a comma", ["1,50", "1,000.00"]),
    (MONEY, "not a number", ["NaN", "inf", "1.5.0", "$5", "1 000", ".", "-", "e5", "1e", "5-"]),
    (SHARE, "more than 0 digits before the point", ["1", "1.00", "10"]),
    (WHOLE, "more than 0 decimals", ["1.5"]),
    (DOUBLE, "not a finite number", ["NaN", "Infinity", "-inf"]),
    (DOUBLE, "outside the range", ["1e400", "1e-400"]),
    (DOUBLE, "an integer that a DOUBLE cannot hold exactly", ["9007199254740993", "9007199254740993.0"]),
    (DOUBLE, "a leading zero", ["01.5"]),
    (DOUBLE, "a comma", ["1,5"]),
    (DOUBLE, "not a number", ["five", "1e", "0x10", "1_0.0"]),
    (BOOLEAN, "not a boolean", ["yes", "t", "2", "1.0", "wahr"]),
    (DATE, "no such day", ["2017-02-29", "2017-13-01", "2017-00-10"]),
    (DATE, "a time of day", ["2017-01-31 10:30", "2017-01-31T00:00:01", "2017-01-31T00:00:00Z"]),
    (DATE, "not a date", ["31.01.2017", "2017-1-5", "20170105", "infinity", "epoch", "today", "10000-01-01", "0044-03-15 (BC)"]),
    (TIMESTAMP, "a time zone", ["2017-01-31T10:30:00Z", "2017-01-31 10:30:00+02:00"]),
    (TIMESTAMP, "no time of day", ["2017-01-31"]),
    (TIMESTAMP, "finer than a microsecond", ["2017-01-31 10:30:00.1234567"]),
    (TIMESTAMP, "no such day", ["2017-02-29 10:30:00"]),
    (TIMESTAMP, "no such time", ["2017-01-31 24:00:00", "2017-01-31 10:60", "2017-01-31 10:30:60", "2017-01-31 1:30", "2017-01-31 10:30:00,5"]),
    (TIMESTAMP, "not a timestamp", ["now", "infinity", "-infinity", "31.01.2017 10:30", "2017-1-31 10:30:00", "20170131T103000"]),
    (MOMENT, "no time zone", ["2017-01-31T10:30:00", "2017-01-31 10:30"]),
    (MOMENT, "no such time", ["2017-01-31T10:30:00 Europe/Berlin", "2017-01-31T10:30:00+25:00"]),
    (TIME, "not a time of day", ["24:00:00", "10", "10:30:60", "10:30Z", "1:30"]),
    (TIME, "finer than a microsecond", ["10:30:00.1234567"]),
    (formatted("date", "dd.MM.yyyy"), "not a date in the declared format %d.%m.%Y", ["2017-01-31", "1.1.2017", "31.01.17", "31.01.2017 "[:-2]]),
    (formatted("date", "dd.MM.yyyy"), "no such day", ["31.02.2017", "00.01.2017"]),
    (formatted("timestamp", "yyyy-MM-dd HH:mm"), "no such time", ["2017-01-31 24:30", "2017-02-30 10:00"]),
    (formatted("timestamp", "yyyy-MM-dd HH:mm"), "not a timestamp in the declared format", ["2017-01-31 10:30:00", "2017-01-31 10:30Z"]),
    ({"logicalType": "object"}, "not JSON", ['{"a":1,}', '{"a":NaN}', "{'a':1}", '{"a":1,"a":2}', "{"]),
    ({"logicalType": "object"}, "JSON, but not an object", ["[]", "5", '"a"']),
    ({"logicalType": "array"}, "JSON, but not an array", ["{}"]),
]  # fmt: skip


def test_what_is_finer_than_a_microsecond_is_cut_where_the_contract_says_so(cast):
    cut = {"customProperties": [{"property": "nanoseconds", "value": "cut"}]}
    at = dt.datetime(2017, 1, 31, 10, 30, 0, 123456)
    found = cast(TIMESTAMP | cut, ["2017-01-31 10:30:00.123456789", "2017-01-31T10:30", "2017-01-31"])
    assert list(found.values())[:2] == [at, at.replace(microsecond=0)]
    assert str(found["2017-01-31"]).startswith("no time of day")
    moments = ["2017-01-31T10:30:00.123456789Z", "2017-01-31 12:30:00.1234567+02:00"]
    assert [m.astimezone(dt.UTC) for m in cast(MOMENT | cut, moments).values()] == [at.replace(tzinfo=dt.UTC)] * 2
    assert cast({"logicalType": "time", **cut}, ["10:30:00.1234569"]) == {"10:30:00.1234569": at.time()}


@pytest.mark.parametrize(("declared", "reason", "texts"), REFUSED, ids=[f"{c[0]['logicalType']}: {c[1]}" for c in REFUSED])
def test_refused(cast, declared, reason, texts):
    found = cast(declared, texts)
    assert {t: found[t] for t in texts if not str(found[t]).startswith(reason)} == {}


def test_rules_of_the_contract_are_reported_one_by_one(contract_of, take):
    contract = contract_of(
        {"name": "code", "logicalType": "string", "required": True, "logicalTypeOptions": {"minLength": 2, "maxLength": 3, "pattern": "^[A-Z]+$"}},
        {"name": "size", "logicalType": "string", "customProperties": [{"property": "allowedValues", "value": ["S", "it's"]}]},
        {"name": "units", "logicalType": "integer", "logicalTypeOptions": {"minimum": 1, "maximum": 9}},
        {"name": "price", **MONEY, "logicalTypeOptions": {"minimum": 0.1}},
        {"name": "day", "logicalType": "date", "logicalTypeOptions": {"minimum": "2017-01-01"}},
    )  # fmt: skip
    good = "AB,S,1,0.10,2017-01-01\nABC,it's,9,,\nXY,,,,\n"
    bad = "a,M,10,0.09,2016-12-31\n,S,0,1,\nABCD,S,x,1,2017-01-02\n"
    taken = take(contract, "csv", "code,size,units,price,day\n" + good + bad)
    assert taken.places == [2, 3, 4]
    assert taken.rejects == [
        (5, "code", "a", "shorter than 2 characters"),
        (5, "code", "a", "does not match the pattern ^[A-Z]+$"),
        (5, "size", "M", "not one of the allowed values: S, it's"),
        (5, "units", "10", "above the maximum of 9"),
        (5, "price", "0.09", "below the minimum of 0.1"),
        (5, "day", "2016-12-31", "below the minimum of 2017-01-01"),
        (6, "code", None, "no value, and one is required"),
        (6, "units", "0", "below the minimum of 1"),
        (7, "code", "ABCD", "longer than 3 characters"),
        (7, "units", "x", "not an integer"),
    ]
    (counts,) = taken.result.files
    assert (counts.rows_read, counts.rows_loaded, counts.rows_rejected) == (6, 3, 3)


def test_limits_on_moments_are_compared_in_time(contract_of, take):
    contract = contract_of(
        {
            "name": "at",
            "logicalType": "timestamp",
            "logicalTypeOptions": {"timezone": True, "minimum": "2017-01-01T00:00:00+01:00"},
        },
        {"name": "opens", "logicalType": "time", "logicalTypeOptions": {"maximum": "12:00"}},
    )
    rows = ["2016-12-31T23:00:00Z,12:00", "2016-12-31T22:59:59Z,12:00:01"]
    taken = take(contract, "csv", "at,opens\n" + "\n".join(rows))
    assert taken.places == [2]
    assert [(r[0], r[1]) for r in taken.rejects] == [(3, "at"), (3, "opens")]


def test_a_name_that_sql_knows_is_a_name_like_any_other(contract_of, take):
    names = ["select", 'a "quoted" name', "s0", "v0", "value", "reason", "it's; --"]
    contract = contract_of(*names, {"name": "p", "logicalType": "integer"})
    taken = take(contract, "jsonl", json.dumps(dict.fromkeys(names, "x") | {"p": 1}) + "\n")
    assert taken.rows == [("x",) * 7 + (1,)]
