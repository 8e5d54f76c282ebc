"""Columns as JSON, and a contract's fingerprint: whatever a contract may say of reading and typing is in both."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caudal.contracts import Column, read_contract

EVERYTHING = [
    {"name": "a", "logicalType": "string", "required": True, "unique": True, "logicalTypeOptions": {"minLength": 1, "maxLength": 9, "pattern": "^x"}},
    {"name": "b", "logicalType": "integer", "primaryKey": True, "primaryKeyPosition": 2, "logicalTypeOptions": {"minimum": 0, "multipleOf": 5}},
    {"name": "c", "logicalType": "number", "physicalType": "DECIMAL(8,2)", "logicalTypeOptions": {"exclusiveMinimum": 0, "exclusiveMaximum": 9.5}},
    {"name": "d", "logicalType": "number", "physicalType": "DOUBLE", "classification": "personal"},
    {"name": "e", "logicalType": "date", "logicalTypeOptions": {"format": "M/d/yy", "minimum": "2017-01-01"}},
    {"name": "f", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True, "maximum": "2030-01-01T00:00:00Z"}},
    {"name": "g", "logicalType": "time", "logicalTypeOptions": {"format": "H:mm:ss"}},
    {"name": "h", "logicalType": "object", "logicalTypeOptions": {"required": ["x"]}, "properties": [
        {"name": "x", "logicalType": "array", "logicalTypeOptions": {"minItems": 1, "uniqueItems": True}, "items": {"logicalType": "integer"}},
        {"name": "y", "logicalType": "object"},
    ]},
    {"name": "i", "logicalType": "boolean", "customProperties": [{"property": "trueValues", "value": ["Y"]}, {"property": "falseValues", "value": ["N"]}]},
    {"name": "j", "logicalType": "number", "customProperties": [{"property": "numberFormat", "value": {"decimal": ",", "group": ".", "currency": ["€"], "negative": ["trailing"]}}]},
    {"name": "k", "logicalType": "integer", "primaryKey": True, "primaryKeyPosition": 1, "customProperties": [{"property": "duration", "value": {"format": "h:mm", "unit": "minutes"}}]},
    {"name": "l", "logicalType": "string", "customProperties": [{"property": "allowedValues", "value": ["S", "L"]}, {"property": "nullMarkers", "value": ["-"]}, {"property": "renamedFrom", "value": ["size"]}, {"property": "unit", "value": "cm"}]},
    {"name": "m", "logicalType": "time", "customProperties": [{"property": "nanoseconds", "value": "cut"}]},
]  # fmt: skip


def test_a_column_written_as_json_is_read_as_the_same(contract_of):
    contract = contract_of(*EVERYTHING)
    assert [Column.from_json(c.to_json()) for c in contract.columns] == list(contract.columns)


names = st.text(min_size=1, max_size=5).filter(lambda n: n.strip() == n)
scalars = st.one_of(
    st.builds(Column, names, st.sampled_from(["string", "integer", "boolean", "date", "time", "object", "array"])),
    st.builds(
        lambda n, s, extra: Column(n, "number", precision=s + extra, scale=s), names, st.integers(0, 19), st.integers(1, 19)
    ),
    st.builds(lambda n, zone: Column(n, "timestamp", timezone=zone), names, st.booleans()),
    st.builds(Column, names, st.just("number")),
)
columns = st.recursive(
    scalars,
    lambda inner: (
        st.builds(lambda n, item: Column(n, "array", items=replace(item, name="items")), names, inner)
        | st.builds(
            lambda n, fields: Column(n, "object", fields=tuple(fields)),
            names,
            st.lists(inner, min_size=1, max_size=3, unique_by=lambda c: c.name.lower()),
        )
    ),
    max_leaves=6,
)


@given(column=columns)
def test_every_column_that_a_file_may_bring_is_kept_as_json(column):
    assert Column.from_json(column.to_json()) == column


def test_the_key_is_in_the_order_of_its_positions(contract_of):
    assert contract_of(*EVERYTHING).primary_key == ("k", "b")


def test_the_fingerprint_is_the_same_in_another_process(contract_of):
    contract = contract_of(*EVERYTHING)
    code = "import sys, pathlib; from caudal.contracts import read_contract; print(read_contract(pathlib.Path(sys.argv[1])).fingerprint)"
    done = subprocess.run([sys.executable, "-c", code, contract.path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == contract.fingerprint


def test_the_fingerprint_covers_what_decides_how_rows_are_read_and_nothing_else(contract_of):
    contract = contract_of(*EVERYTHING)
    told = ("description", "classification", "unit", "unique", "primary_key", "key_position")
    text = replace(contract.columns[-1], description="Size.", classification="personal", unit="in")
    assert replace(contract, columns=(*contract.columns[:-1], text), version="2.0.0").fingerprint == contract.fingerprint
    plain = {
        "precision": 5,
        "scale": 1,
        "minimum": 1,
        "maximum": 1,
        "exclusive_minimum": 1,
        "exclusive_maximum": 1,
        "multiple_of": 1,
    }
    plain |= {"min_length": 1, "max_length": 1, "pattern": "x", "min_items": 1, "max_items": 1, "format": "%Y"}
    plain |= {"items": Column("items", "string")}
    seen = set()
    for name in Column.__dataclass_fields__:
        if name in (*told, "name", "logical_type", "null_refused"):
            continue
        source = next((c for c in contract.columns if getattr(c, name) not in (None, (), False)), None)
        value = plain.get(name, getattr(source, name) if source else True)
        column = Column("z", "number", **{"precision": 9, "scale": 2, name: value})
        seen.add(replace(contract, columns=(column,)).fingerprint)
    assert len(seen) == len(Column.__dataclass_fields__) - len(told) - 3
    assert replace(contract, drift="ignore").fingerprint != contract.fingerprint


def test_new_columns_are_nullable_and_come_last_and_once(contract_of):
    contract = contract_of("a", drift="evolve")
    new = [Column("b", "integer", required=True), Column("A", "string"), Column("B", "string"), Column("_FILE", "string")]
    assert contract.with_columns(new).columns == (*contract.columns, Column("b", "integer"))


QUALITY = """
apiVersion: v3.1.0
kind: DataContract
id: t
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - name: a
        logicalType: string
        quality:
          - {metric: nullValues, mustBe: 0}
          - {metric: duplicateValues, mustBe: 0}
          - {metric: invalidValues, arguments: {validValues: [kg, g]}, mustBe: 0}
      - name: b
        logicalType: string
        quality:
          - {metric: invalidValues, arguments: {validValues: [kg, g]}, mustBeLessThan: 5}
          - {type: sql, query: "select 1", mustBe: 0}
"""


def test_the_standard_s_quality_rules_that_tolerate_nothing_are_rules_of_the_column(tmp_path):
    path = tmp_path / "t.odcs.yaml"
    path.write_text(QUALITY)
    a, b = read_contract(path).columns
    assert (a.required, a.unique, a.allowed) == (True, True, ("kg", "g"))
    assert (b.required, b.unique, b.allowed) == (False, False, ())


@pytest.mark.parametrize(("width", "limits"), [("i8", (-128, 127)), ("u16", (0, 65535)), ("i64", (None, None))])
def test_an_integer_of_a_declared_width_has_its_limits(contract_of, width, limits):
    (column,) = contract_of({"name": "a", "logicalType": "integer", "logicalTypeOptions": {"format": width}}).columns
    assert (column.minimum, column.maximum) == limits


def test_a_column_is_plain_unless_its_text_has_a_form_of_its_own(contract_of):
    assert [c.name for c in contract_of(*EVERYTHING).columns if c.is_plain] == ["a", "b", "c", "d", "f"]
