"""Numbers, booleans, durations and null markers in the form that a contract declares: exactly, or rejected with the reason."""

import datetime as dt
import io
import json
from decimal import Decimal

import openpyxl
import pytest

MONEY = {"logicalType": "number", "physicalType": "DECIMAL(12,2)"}
SHARE = {"logicalType": "number", "physicalType": "DECIMAL(9,4)"}
INTEGER = {"logicalType": "integer"}


def custom(declared, **properties):
    return {**declared, "customProperties": [{"property": name, "value": value} for name, value in properties.items()]}


def written(declared, **number_format):
    return custom(declared, numberFormat=number_format)


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


US = written(MONEY, group=",")
GERMAN = written(MONEY, decimal=",", group=".")
FRENCH = written(MONEY, decimal=",", group=" ")
SWISS = written(MONEY, group="'")
LEDGER = written(MONEY, group=",", currency=["$", "USD"], negative=["parentheses", "trailing"])
FRACTION = written(SHARE, percent="fraction")
PERCENT = written(SHARE, percent="number", decimal=",")
HOURS = custom(INTEGER, duration={"format": "h:mm:ss", "unit": "seconds"})
MINUTES = custom(INTEGER, duration={"format": "h:mm:ss", "unit": "minutes"})
YES_NO = custom({"logicalType": "boolean"}, trueValues=["Y"], falseValues=["N", "-"])

ACCEPTED = [
    ("a comma between thousands", US, {"1,234.50": "1234.50", "1234.5": "1234.50", "-1,234,567": "-1234567", ".5": "0.5", "0": 0}),
    ("a point between thousands", GERMAN, {"1.234,50": "1234.50", "1.234": 1234, "12,5": "12.50", ",25": "0.25", "+7,": 7}),
    (
        "spaces between thousands",
        FRENCH,
        {"1 234,50": "1234.50", "1\u00a0234,50": "1234.50", "1\u202f234\u00a0567": 1234567, "\u22121 234": -1234},
    ),
    ("an apostrophe between thousands", SWISS, {"1'234.50": "1234.50", "1\u2019234": 1234}),
    (
        "amounts of a currency",
        LEDGER,
        {"$1,234.50": "1234.50", "-$5": -5, "$-5": -5, "$ 5": 5, "5 USD": 5, "USD 1,000": 1000, "7": 7},
    ),
    ("negatives of accounting", LEDGER, {"(1,234.50)": "-1234.50", "$(5)": -5, "($5)": -5, "(5) USD": -5, "12-": -12, "$12-": -12}),
    ("a percentage as a fraction", FRACTION, {"80.00%": "0.8", "5 %": "0.05", "-123.45%": "-1.2345", "0%": 0, ".5%": "0.005"}),
    ("a percentage as a number", PERCENT, {"80,00%": 80, "5 %": 5, "0,25%": "0.25"}),
    ("an integer with groups", written(INTEGER, group=","), {"1,234": 1234, "1234.0": 1234, "-9,223,372,036,854,775,808": -(2**63)}),
    ("a double", written({"logicalType": "number", "physicalType": "DOUBLE"}, decimal=","), {"0,1": 0.1, "-1,5": -1.5}),
    ("a duration", HOURS, {"26:30:00": 95400, "0:00:01": 1, "-1:00:00": -3600, "123456:00:00": 444441600}),
    ("a duration in minutes", MINUTES, {"26:30:00": 1590}),
    ("declared booleans", YES_NO, {"Y": True, "N": False, "-": False, "true": True, "False": False, " Y ": True}),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(cast, declared, expected):
    wanted = {t: Decimal(v) if isinstance(v, str) else v for t, v in expected.items()}
    found = cast(declared, list(expected))
    assert found == wanted
    assert [type(v) is bool for v in found.values()] == [type(v) is bool for v in wanted.values()]


NOT_AS_DECLARED = "not a number as declared; expected such as "
REFUSED = [
    (US, NOT_AS_DECLARED + "1,234.50", ["1,23,4", "1.234,50", "12,34", ",234", "1,", "1,2345", "1 234", "$5", "5-", "(5)", "1e3", "--5", "1,234,56"]),
    (US, "more than 2 decimals", ["1,234.505", "0.001"]),
    (US, "a leading zero", ["007", "0,123", "01,234"]),
    (US, "more than 10 digits before the point", ["12,345,678,901"]),
    (GERMAN, NOT_AS_DECLARED + "1.234,50", ["1,234.50", "1.23", "1.2345", "1234.567", "1.234.5", "1,2,3"]),
    (FRENCH, NOT_AS_DECLARED, ["1.5", "1  234", "1 23", "1\t234"]),
    (LEDGER, NOT_AS_DECLARED, ["$$5", "$5 USD", "EUR 5", "(-5)", "-(5)", "(5", "5)", "-5-", "$", "()", "5$-USD"]),
    (FRACTION, NOT_AS_DECLARED + "1234.50%", ["0.8", "80", "%80", "080%", "80%%", "80,00%"]),
    (FRACTION, "more than 4 decimals", ["12.345%"]),
    (PERCENT, NOT_AS_DECLARED, ["80", "80.00%"]),
    (written(INTEGER, group=".", decimal=","), "not a number as declared", ["1.5", "1.50"]),
    (written(INTEGER, group=","), "a fraction", ["1,234.5"]),
    (written(INTEGER, group=","), "outside the range", ["9,223,372,036,854,775,808"]),
    (HOURS, "not a duration in the declared form h:mm:ss", ["26:30", "1:60:00", "1:2:3", "26h", "1:00:00.5", "12345678901:00:00"]),
    (MINUTES, "no whole number of minutes", ["0:00:30"]),
    (YES_NO, "not a boolean as declared; expected `Y`, `N`, `-`", ["y", "1", "0", "yes", "J"]),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "reason", "texts"), REFUSED, ids=range(len(REFUSED)))
def test_refused(cast, declared, reason, texts):
    found = cast(declared, texts)
    assert {t: found[t] for t in texts if not str(found[t]).startswith(reason)} == {}


def test_times_of_a_day_with_one_digit_and_dates_with_two_digit_years_are_read_from_a_file(contract_of, take):
    contract = contract_of(
        {"name": "day", "logicalType": "date", "logicalTypeOptions": {"format": "M/d/yy"}},
        {"name": "at", "logicalType": "time", "logicalTypeOptions": {"format": "H:mm:ss"}},
    )
    taken = take(contract, "csv", "day,at\n1/2/17,9:05:00\n12/31/68,23:59:59\n13/1/17,24:00:00\n2017-01-02,9:5:0\n")
    assert taken.rows == [
        (dt.date(2017, 1, 2), dt.time(9, 5)),
        (dt.date(2068, 12, 31), dt.time(23, 59, 59)),
    ]
    assert [(row, column) for row, column, *_ in taken.rejects] == [(4, "day"), (4, "at"), (5, "day"), (5, "at")]


def test_null_markers_of_a_column_and_of_the_contract_are_no_values_in_strings_too(declare, take, tmp_path):
    contract = declare(
        """
apiVersion: v3.1.0
kind: DataContract
id: t
version: 1.0.0
status: active
customProperties: [{property: nullMarkers, value: [n/a]}]
schema:
  - name: t
    properties:
      - {name: s, logicalType: string, customProperties: [{property: nullMarkers, value: ["-", ""]}]}
      - {name: i, logicalType: integer, customProperties: [{property: nullMarkers, value: ["-999"]}]}
      - {name: r, logicalType: string, required: true}
"""
    ).contract
    assert not any(c.is_plain for c in contract.columns)
    rows = '"-","-999","-"\n"","n/a",x\n"n/a",-998,y\n" -",1,"n/a"\n'
    taken = take(contract, "csv", "s,i,r\n" + rows)
    assert taken.rows == [(None, None, "-"), (None, None, "x"), (None, -998, "y")]
    assert taken.rejects == [(5, "r", None, "no value, and one is required")]


def test_a_number_or_a_date_of_a_workbook_keeps_its_value_whatever_form_is_declared_for_text(contract_of, take):
    contract = contract_of(
        {"name": "n", **GERMAN},
        {"name": "p", **FRACTION},
        {"name": "d", "logicalType": "date", "logicalTypeOptions": {"format": "d.M.yyyy"}},
    )
    book = openpyxl.Workbook()
    for row in (["n", "p", "d"], [1.234, 0.8, dt.datetime(2017, 1, 31)], ["1.234", "80%", "31.1.2017"]):  # noqa: DTZ001 - as Excel has it
        book.active.append(row)
    book.active["C2"].number_format = "yyyy-mm-dd"
    content = io.BytesIO()
    book.save(content)
    taken = take(contract, "excel", content.getvalue())
    assert taken.rejects == [(2, "n", "1,234", "more than 2 decimals; expected DECIMAL(12,2)")]
    assert taken.rows == [(1234, Decimal("0.8"), dt.date(2017, 1, 31))]


def test_a_null_marker_that_is_a_number_is_one_in_json_too(contract_of, take):
    contract = contract_of({"name": "x", **custom(MONEY, nullMarkers=["-999", "n/a"])})
    taken = take(contract, "jsonl", '{"x": -999}\n{"x": "-999"}\n{"x": "n/a"}\n{"x": 1.5}\n')
    assert taken.rows == [(None,), (None,), (None,), (Decimal("1.50"),)]
