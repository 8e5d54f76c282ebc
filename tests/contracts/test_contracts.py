"""Contracts: what is understood, its views, and what is refused with file, line and what was expected."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from caudal.contracts import read_contract
from caudal.declaration import DeclarationError

HEAD = """apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
"""
FIRST_COLUMN = 9


@pytest.fixture
def read(tmp_path):
    """Read a contract of the given columns, each a line of YAML from line 9 on."""

    def reading(*columns, head=HEAD, tail=""):
        path = tmp_path / "orders.odcs.yaml"
        listed = "".join(f"      - {c}\n" for c in columns)
        path.write_text(f"{head}schema:\n  - name: orders\n    properties:\n{listed}{tail}")
        return read_contract(path)

    return reading


def refusal(read, *columns, **given):
    with pytest.raises(DeclarationError) as refused:
        read(*columns, **given)
    place, _, told = str(refused.value).partition(".yaml:")
    assert Path(f"{place}.yaml").is_file()
    line, _, problem = told.partition(": ")
    return int(line), problem


def test_a_contract_has_columns_of_every_type_in_four_dialects(read):
    contract = read(
        "{name: a, logicalType: string, required: true, description: ' Text. '}",
        "{name: b, logicalType: integer, primaryKey: true}",
        "{name: c, logicalType: number}",
        "{name: d, logicalType: number, physicalType: 'NUMERIC(40, 2)'}".replace("40", "10"),
        "{name: e, logicalType: number, physicalType: double}",
        "{name: f, logicalType: boolean, unique: true}",
        "{name: g, logicalType: date}",
        "{name: h, logicalType: time}",
        "{name: i, logicalType: timestamp}",
        "{name: j, logicalType: timestamp, logicalTypeOptions: {timezone: true}}",
        "{name: k, logicalType: object}",
        "{name: l, logicalType: array, classification: personal}",
        tail="    description: All orders.\nteam: {name: sales}\ntags: [orders]\n",
    )
    assert (contract.name, contract.description, contract.owner, contract.tags) == (
        "orders",
        "All orders.",
        "sales",
        ("orders",),
    )
    assert (contract.drift, contract.primary_key) == ("freeze", ("b",))
    assert [c.required for c in contract.columns[:3]] == [True, True, False]
    assert contract.columns[0].description == "Text."
    views = [(c.duckdb_type, c.bigquery_type, str(c.arrow_type)) for c in contract.columns]
    assert views == [
        ("VARCHAR", "STRING", "string"),
        ("BIGINT", "INT64", "int64"),
        ("DECIMAL(38,9)", "NUMERIC(38, 9)", "decimal128(38, 9)"),
        ("DECIMAL(10,2)", "NUMERIC(10, 2)", "decimal128(10, 2)"),
        ("DOUBLE", "FLOAT64", "double"),
        ("BOOLEAN", "BOOL", "bool"),
        ("DATE", "DATE", "date32[day]"),
        ("TIME", "TIME", "time64[us]"),
        ("TIMESTAMP", "DATETIME", "timestamp[us]"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "timestamp[us, tz=UTC]"),
        ("VARCHAR", "STRING", "string"),
        ("VARCHAR", "STRING", "string"),
    ]
    schema = contract.arrow_schema()
    assert schema.names == [*"abcdefghijkl", "_file", "_version", "_row", "_loaded_at"]
    assert schema.field("_loaded_at").type == pa.timestamp("us", "UTC")


def test_a_decimal_too_wide_for_numeric_is_a_bignumeric(read):
    contract = read("{name: a, logicalType: number, physicalType: 'DECIMAL(38,10)'}")
    assert contract.columns[0].bigquery_type == "BIGNUMERIC(38, 10)"


def test_limits_are_values_of_the_column_s_type(read):
    contract = read(
        "{name: a, logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 9}}",
        "{name: b, logicalType: number, logicalTypeOptions: {minimum: 0.1, maximum: '1e3'}}",
        "{name: c, logicalType: date, logicalTypeOptions: {minimum: 2017-01-01, maximum: '2017-12-31'}}",
        "{name: d, logicalType: timestamp, logicalTypeOptions: {minimum: 2017-01-01, maximum: 2017-12-31 12:00:00}}",
        "{name: e, logicalType: timestamp, logicalTypeOptions: {timezone: true, minimum: '2017-01-01T00:00:00+01:00'}}",
        "{name: f, logicalType: time, logicalTypeOptions: {maximum: '12:00'}}",
        "{name: g, logicalType: string, customProperties: [{property: allowedValues, value: [a, '1']}]}",
        "{name: h, logicalType: integer, customProperties: [{property: unit, value: kg}, {property: allowedValues, value: [1, 2]}]}",
    )
    a, b, c, d, e, f, g, h = contract.columns
    assert (a.minimum, a.maximum) == (1, 9)
    assert (b.minimum, b.maximum) == (Decimal("0.1"), Decimal("1e3"))
    assert (c.minimum, c.maximum) == (dt.date(2017, 1, 1), dt.date(2017, 12, 31))
    assert (d.minimum, d.maximum) == (dt.datetime(2017, 1, 1), dt.datetime(2017, 12, 31, 12))  # noqa: DTZ001
    assert e.minimum == dt.datetime(2016, 12, 31, 23, tzinfo=dt.UTC)
    assert f.maximum == dt.time(12)
    assert (g.allowed, h.allowed, h.unit) == (("a", "1"), (1, 2), "kg")


def test_a_format_is_given_in_the_letters_of_java_or_of_strptime(read):
    contract = read(
        "{name: a, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}}",
        "{name: b, logicalType: date, logicalTypeOptions: {format: '%d/%m/%y'}}",
        "{name: c, logicalType: string, logicalTypeOptions: {format: email}}",
    )
    assert [c.format for c in contract.columns] == ["%d.%m.%Y", "%d/%m/%y", None]


def test_the_drift_policy_is_a_custom_property(read):
    tail = "customProperties:\n  - {property: driftPolicy, value: ignore}\n"
    assert read("{name: a, logicalType: string}", tail=tail).drift == "ignore"


COLUMNS = [
    ("{name: a, logicalType: text}", "`schema.0.properties.1.logicalType` is 'text': input should be 'string'"),
    ("{name: a, logicalType: string, nullable: false}", "`schema.0.properties.1.nullable` is not a known setting"),
    ("{logicalType: string}", "`schema.0.properties.1.name` is missing"),
    ("{name: FIRST, logicalType: string}", "column `FIRST` is declared twice (case is not told apart)"),
    ("{name: _row, logicalType: string}", "column `_row`: the platform adds a column of this name; rename it"),
    ("{name: a, logicalType: number, physicalType: 'DECIMAL(39,2)'}", "physicalType is 'DECIMAL(39,2)'; expected `DECIMAL(p,s)`"),
    ("{name: a, logicalType: number, physicalType: 'DECIMAL(2,3)'}", "expected `DECIMAL(p,s)` with s <= p <= 38, or `DOUBLE`"),
    ("{name: a, logicalType: number, physicalType: money}", "physicalType is 'money'"),
    ("{name: a, logicalType: string, logicalTypeOptions: {minimum: 1}}", "column `a`: a column of type string has no minimum"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {pattern: x}}", "a column of type integer has no pattern"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {format: i128}}", "format is 'i128'; expected i8, i16, i32, i64, u8"),
    ("{name: a, logicalType: date, logicalTypeOptions: {timezone: true}}", "a column of type date has no timezone"),
    ("{name: a, logicalType: string, logicalTypeOptions: {minLength: -1}}", "minLength is -1; expected 0 or more"),
    ("{name: a, logicalType: string, logicalTypeOptions: {pattern: '(x'}}", "not a regular expression: missing )"),
    ("{name: a, logicalType: string, logicalTypeOptions: {pattern: '(?=x)'}}", "`(?=` in the pattern is not understood"),
    ("{name: a, logicalType: string, logicalTypeOptions: {pattern: '(a)\\1'}}", "`\\1` in the pattern is not understood"),
    ("{name: a, logicalType: string, logicalTypeOptions: {pattern: 'a{2000}'}}", "a repeat of more than 1000"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {minimum: 1.5}}", "column `a`: minimum: 1.5 is not an integer"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {minimum: true}}", "minimum: True is not an integer"),
    ("{name: a, logicalType: number, logicalTypeOptions: {maximum: .nan}}", "maximum: nan is not a number"),
    ("{name: a, logicalType: number, logicalTypeOptions: {maximum: much}}", "maximum: 'much' is not a number"),
    ("{name: a, logicalType: date, logicalTypeOptions: {minimum: 1.1.2017}}", "minimum: Invalid isoformat string: '1.1.2017'"),
    ("{name: a, logicalType: date, logicalTypeOptions: {minimum: 20170101}}", "minimum: 20170101 is not a date as YYYY-MM-DD"),
    ("{name: a, logicalType: timestamp, logicalTypeOptions: {minimum: 5}}", "minimum: 5 is not a timestamp"),
    ("{name: a, logicalType: timestamp, logicalTypeOptions: {minimum: '2017-01-01T00:00:00Z'}}", "has a time zone, unlike the column"),
    ("{name: a, logicalType: timestamp, logicalTypeOptions: {timezone: true, minimum: 2017-01-01}}", "lacks a time zone, unlike the column"),
    ("{name: a, logicalType: time, logicalTypeOptions: {minimum: 10:30}}", "minimum: 630 is not a time; write it in quotes"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {minimum: 5, maximum: 4}}", "minimum 5 is above maximum 4"),
    ("{name: a, logicalType: string, customProperties: [{property: allowedValues, value: [1]}]}", "value: 1 is not text; write it in quotes"),
    ("{name: a, logicalType: string, customProperties: [{property: allowedValues, value: x}]}", "allowedValues is 'x'; expected a list"),
    ("{name: a, logicalType: boolean, customProperties: [{property: allowedValues, value: [true]}]}", "type boolean cannot be limited so"),
    ("{name: a, logicalType: date, logicalTypeOptions: {format: yyyy-MM}}", "format 'yyyy-MM': it does not hold a year, a month and a day"),
    ("{name: a, logicalType: time, logicalTypeOptions: {format: 'h:mm:ss'}}", "an hour of the whole day is %H, `HH` or without a leading zero `H`"),
    ("{name: a, logicalType: number, logicalTypeOptions: {format: '#,##0.00'}}", "expected f64 for a DOUBLE, or the custom property `numberFormat`"),
    ("{name: a, logicalType: number, physicalType: 'DECIMAL(9,2)', logicalTypeOptions: {format: f64}}", "format f64 is a DOUBLE"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: '#,##0'}]}", "numberFormat: it is '#,##0'; expected some of decimal"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {point: ','}}]}", "numberFormat: point is not understood; known are decimal, group"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {decimal: ',', group: ','}}]}", "decimal and group are both ','"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {group: '.'}}]}", "decimal and group are both '.'"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {decimal: '5'}}]}", "decimal is '5'; expected one character"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {percent: yes}}]}", "percent is True; expected `fraction`"),
    ("{name: a, logicalType: integer, customProperties: [{property: numberFormat, value: {percent: fraction}}]}", "which an integer cannot hold"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {currency: ['-']}}]}", "currency '-' cannot be told from a number"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {currency: [Rs, Rs.]}}]}", "currency has both 'Rs.' and 'Rs'"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {currency: $, percent: number}}]}", "not both"),
    ("{name: a, logicalType: number, customProperties: [{property: numberFormat, value: {negative: red}}]}", "negative is 'red'; expected `parentheses` or `trailing`"),
    ("{name: a, logicalType: string, customProperties: [{property: numberFormat, value: {group: ','}}]}", "numberFormat is for columns of type integer or number"),
    ("{name: a, logicalType: string, customProperties: [{property: nanoseconds, value: cut}]}", "for columns of type timestamp or time without a `format`"),
    ("{name: a, logicalType: time, customProperties: [{property: nanoseconds, value: round}]}", "nanoseconds is 'round'; expected cut"),
    ("{name: a, logicalType: number, customProperties: [{property: numberformat, value: {group: ','}}]}", "`numberformat` is unknown; is `numberFormat` meant?"),
    ("{name: a, logicalType: integer, customProperties: [{property: duration, value: hours}]}", "duration: it is 'hours'; expected a format"),
    ("{name: a, logicalType: boolean, customProperties: [{property: trueValues, value: ['Y']}]}", "trueValues and falseValues: one is without the other"),
    ("{name: a, logicalType: boolean, customProperties: [{property: trueValues, value: ['Y']}, {property: falseValues, value: ['Y']}]}", "'Y' is both"),
    ("{name: a, logicalType: integer, customProperties: [{property: nullMarkers, value: [-999]}]}", "nullMarkers is [-999]; expected a list of texts, each in quotes"),
    ("{name: a, logicalType: string, customProperties: [{property: unit, value: kg}, {property: unit, value: g}]}", "`unit` is given twice"),
    ("{name: a, logicalType: string, customProperties: [{property: renamedFrom, value: [FIRST]}]}", "renamedFrom has 'FIRST', which is no name, or one of another column"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {minimum: 5, exclusiveMaximum: 4}}", "minimum 5 is above maximum 4"),
    ("{name: a, logicalType: integer, logicalTypeOptions: {multipleOf: 0}}", "multipleOf: 0 is not above zero"),
    ("{name: a, logicalType: number, physicalType: DOUBLE, logicalTypeOptions: {multipleOf: 0.1}}", "multipleOf of a DOUBLE"),
    ("{name: a, logicalType: string, logicalTypeOptions: {maxItems: 1}}", "a column of type string has no maxItems"),
    ("{name: a, logicalType: array, logicalTypeOptions: {uniqueItems: true}}", "uniqueItems needs `items`"),
    ("{name: a, logicalType: string, properties: [{name: b, logicalType: string}]}", "properties are for an object, and this is string"),
    ("{name: a, logicalType: object, items: {logicalType: string}}", "items are for an array, and this is object"),
    ("{name: a, logicalType: object, properties: [{name: b, logicalType: string}, {name: B, logicalType: date}]}", "property `B` is declared twice"),
    ("{name: a, logicalType: object, properties: [{name: b, logicalType: string, primaryKey: true}]}", "column `a.b`: primaryKey is for columns"),
    ("{name: a, logicalType: array, items: {logicalType: number, physicalType: money}}", "column `a[]`: physicalType is 'money'"),
    ("{name: a, logicalType: object, logicalTypeOptions: {required: [c]}, properties: [{name: b, logicalType: string}]}", "required names `c`, which is none of its properties"),
    ("{name: a, logicalType: string, primaryKeyPosition: 1}", "primaryKeyPosition is 1; expected 1 or more, of a primaryKey"),
    ("{name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [null]}}]}", "null is no allowed value"),
    ("{name: a, logicalType: string, customProperties: [{property: allowedValues, value: [x]}], quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [x]}}]}", "listed more than once"),
    ("{name: a, logicalType: date, logicalTypeOptions: {format: QQQ}}", "format 'QQQ': 'QQQ' is not understood; known are"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "told"), COLUMNS, ids=[c[1][:60] for c in COLUMNS])
def test_a_column_that_is_not_understood_is_refused_with_its_line(read, column, told):
    line, problem = refusal(read, "{name: first, logicalType: string}", column)
    assert line == FIRST_COLUMN + 1
    assert told in problem


@pytest.mark.parametrize(
    "pattern", [r"^\d{2}-[A-Z]+$", r"a\+\+", r"[(?=]+", r"\(\?=", r"(?i)x", "^[12] Adults? (No )?Kids$", r"[]+]x"]
)
def test_a_pattern_that_is_understood_is_accepted(read, pattern):
    column = f"{{name: a, logicalType: string, logicalTypeOptions: {{pattern: '{pattern}'}}}}"
    assert read(column).columns[0].pattern == pattern


DOCUMENTS = [
    ({"head": HEAD.replace("v3.1.0", "v2.2.1")}, 1, "'v2.2.1' is not a version that is understood"),
    ({"head": HEAD.replace("DataContract", "Schema")}, 2, "`kind` is 'Schema'"),
    ({"head": HEAD + "ownr: me\n"}, 6, "`ownr` is not a known setting; remove it or correct its spelling"),
    ({"tail": "  - name: more\n    properties: []\n"}, 6, "`schema` has 2 objects; a dataset's contract has one"),
    ({"tail": "customProperties:\n  - {property: driftPolicy, value: grow}\n"}, 12, "driftPolicy is 'grow'; expected `freeze`, `ignore` or `evolve`"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "line", "told"), DOCUMENTS)
def test_a_document_that_is_not_understood_is_refused_with_its_line(read, given, line, told):
    found, problem = refusal(read, "{name: a, logicalType: string}", "{name: b, logicalType: string}", **given)
    assert (found, told in problem) == (line, True), problem


def test_a_contract_without_columns_is_refused(read):
    assert refusal(read)[1].startswith("`schema.0.properties`")


def test_all_problems_of_the_document_are_told_at_once(read):
    with pytest.raises(DeclarationError) as refused:
        read("{name: a, logicalType: text}", "{name: b, logicalType: string, x: 1}")
    assert [line.partition(".yaml:")[2][:2] for line in str(refused.value).splitlines()] == ["9:", "10"]


def test_the_contract_that_the_guide_shows_is_one(tmp_path):
    guide = (Path(__file__).resolve().parents[2] / "docs/guide/contracts.md").read_text()
    shown = guide.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "deliveries.odcs.yaml"
    path.write_text(shown)
    contract = read_contract(path)
    assert contract.column_names == ("delivery_id", "courier", "fee", "delivered_on", "parcels")
    assert (contract.drift, contract.null_markers, contract.older_names) == ("evolve", ("n/a",), {"driver": "courier"})
