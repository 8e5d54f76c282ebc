"""Rules of whole tables, read from ODCS's quality section and from lines of YAML."""

from pathlib import Path

import pytest

from caudal.contracts import read_contract
from caudal.contracts.rules import Bound, DistributionSettings, Rule, RuleError, VolumeSettings, rule_of
from caudal.declaration import DeclarationError

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: t
version: 1.0.0
status: active
slaProperties:
  - {property: freshness, value: 2, unit: d, element: t.at}
  - {property: retention, value: 5, unit: y}
schema:
  - name: t
    properties:
      - {name: at, logicalType: timestamp}
      - name: city
        logicalType: string
        relationships: [{to: geo/cities.name}]
        quality:
          - {metric: nullValues, mustBe: 0}
          - {metric: nullValues, mustBeLessThan: 5, unit: percent, name: few nulls, dimension: coverage}
          - {metric: invalidValues, arguments: {pattern: "^[A-Z]"}, mustBe: 0}
          - {type: text, description: cities are nice}
    quality:
%s
"""


def rules(tmp_path: Path, line: str = "      []") -> tuple[Rule, ...]:
    path = tmp_path / "t.yaml"
    path.write_text(CONTRACT % line)
    return read_contract(path).rules


def test_metrics_relationships_and_service_levels_become_rules(tmp_path):
    found = {rule.name: rule for rule in rules(tmp_path)}
    assert list(found) == ["few_nulls", "invalid_city", "reference_city", "freshness_at"]
    assert found["few_nulls"].bound == Bound(None, 5, open_high=True, unit="percent")
    assert found["few_nulls"].severity == "warn"
    assert (found["invalid_city"].severity, found["invalid_city"].pattern) == ("block", "^[A-Z]")
    assert (found["reference_city"].reference, found["reference_city"].severity) == ("geo/cities.name", "warn")
    assert (found["freshness_at"].columns, found["freshness_at"].within_hours) == (("at",), 48.0)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("{metric: rowCount, mustBeBetween: [10, 20]}", Rule("row_count", "count", "block", bound=Bound(10, 20))),
        (
            "{type: sql, name: n, query: 'select count(*) from ${object}', mustBeGreaterThan: 3}",
            Rule("n", "number", "block", bound=Bound(3, None, open_low=True), sql="select count(*) from this"),
        ),
        (
            "{metric: duplicateValues, mustBe: 0, arguments: {properties: [at, city]}, severity: warning}",
            Rule("duplicate_at_city", "duplicate", "warn", ("at", "city"), bound=Bound(0, 0)),
        ),
        (
            "{type: custom, engine: caudal, name: v, severity: error, implementation: {volume: {by: at, judged: 3}}}",
            Rule("v", "volume", "block", volume=VolumeSettings(by="at", judged=3)),
        ),
        (
            "{type: custom, engine: caudal, implementation: {distribution: {columns: [city]}}}",
            Rule("distribution", "distribution", "warn", distribution=DistributionSettings(("city",))),
        ),
    ],
)
def test_a_rule_of_the_table(tmp_path, line, rule):
    assert rule in rules(tmp_path, f"      - {line}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{metric: nullValue, mustBe: 1}", "t.yaml:23: quality rule: the metric 'nullValue' is unknown; is `nullValues` meant"),
        ("{metric: rowCount}", "needs one operator"),
        ("{metric: rowCount, mustBe: many}", "expected a number"),
        ("{metric: rowCount, mustBeAround: 3}", "`mustBeAround` is unknown"),
        ("{metric: rowCount, mustBe: 1, severity: awful}", "severity is 'awful'"),
        ("{metric: duplicateValues, mustBe: 0}", "needs `arguments"),
        ("{metric: duplicateValues, mustBe: 0, arguments: {properties: [town]}}", "`town` is no column of the contract"),
        ("{type: custom, engine: caudal, implementation: {volume: {of: at}}}", "`of` is no setting; known are by"),
        ("{type: custom, engine: caudal, name: freshness_at, implementation: {volume: {}}}", "two rules are called"),
    ],
)
def test_a_rule_that_is_not_understood_is_refused_with_file_and_line(tmp_path, line, said):
    with pytest.raises(DeclarationError) as refused:
        rules(tmp_path, f"      - {line}")
    assert said in str(refused.value)
    assert "t.yaml:" in str(refused.value)


def test_rules_of_other_engines_are_left_alone(tmp_path):
    assert len(rules(tmp_path, "      - {type: custom, engine: soda, implementation: 'checks for t: ...'}")) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sql": " "}, "`sql` is empty"),
        ({"column": "a"}, "says nothing"),
        ({"minimum": 3}, "`column` is missing"),
        ({"column": "a", "minimum": 3, "maximun": 4}, "`maximun` is not understood"),
        ({"column": "a", "references": "b"}, "expected `<source>/<dataset>.<column>`"),
        ({"sql": "select 1", "severity": "error"}, "expected `warn` or `block`"),
        ({"sql": "select 1", "at_most": -1}, "expected 0 or more"),
        ({"freshness": {"column": "a"}}, "expected {column: ..., within_hours: ...}"),
    ],
)
def test_a_line_that_is_no_rule_is_refused(given, said):
    with pytest.raises(RuleError) as refused:
        rule_of(given)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("bound", "told", "accepted", "refused"),
    [
        (Bound(), "none", 0, 1),
        (Bound(5, 5, outside=True), "not 5", 4, 5),
        (Bound(None, 5, open_high=True, unit="percent"), "less than 5 %", 4.9, 5),
        (Bound(2, None), "at least 2", 2, 1),
        (Bound(2, 9), "2 to 9", 9, 10),
    ],
)
def test_a_bound_says_what_it_accepts(bound, told, accepted, refused):
    assert bound.told == told
    assert bound.accepts(accepted)
    assert not bound.accepts(refused)
