"""Rules of any table in a line of YAML: read, refused, and tried on what Python has published."""

import dagster as dg
import pyarrow as pa
import pytest

from caudal.contracts.rules import rule_of
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.quality.component import Checks, published_checks


def test_a_line_is_a_rule_of_an_asset():
    line = {"asset": "marts/sales/daily_sales", "name": "no_negative_sales", "sql": "select * from daily_sales where sales < 0"}
    (rule,) = Checks(checks=[line]).rules()["marts", "sales", "daily_sales"]
    assert (rule.name, rule.severity, rule.kind) == ("no_negative_sales", "block", "rows")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"sql": "select 1"}], "checks, number 1: `asset` is missing"),
        ([{"asset": "a/b", "sqll": "select 1"}], "checks, number 1 (a/b): `sqll` is not understood; known are"),
        ([{"asset": "a/b", "name": "n", "sql": "select 1"}] * 2, "two rules called `n`"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_with_its_number(lines, said):
    with pytest.raises(ValueError) as refused:
        Checks(checks=lines).rules()
    assert said in str(refused.value)


def test_a_rule_of_a_table_that_python_makes_is_tried_on_what_is_published(env):
    key = ("predictions", "sales", "forecast")
    publish_tables(env, {"predictions.forecast": pa.table({"y": [1.0, -2.0]})})
    rules = {key: [rule_of({"name": "positive", "sql": "select * from forecast where y < 0", "severity": "warn"})]}
    asset = dg.AssetSpec(list(key))
    (check,) = published_checks(env, rules, [], [asset.key])
    (spec,) = check.check_specs
    assert spec.automation_condition is not None
    result = dg.materialize([check, asset], selection=dg.AssetSelection.checks(check), instance=dg.DagsterInstance.ephemeral())
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.description) == (False, "1 of 2 rows break it; expected none")


def test_a_rule_of_an_asset_that_is_not_there_is_refused(env):
    with pytest.raises(ValueError, match="the rule `n` is about the asset a/b, which is not there"):
        published_checks(env, {("a", "b"): [rule_of({"name": "n", "sql": "select 1"})]}, [], [])
