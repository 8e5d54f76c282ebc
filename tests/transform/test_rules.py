"""Rules of models in YAML: audited in the candidate like dbt's tests, by the same run."""

from collections.abc import Callable

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from caudal.contracts.rules import rule_of
from caudal.transform.assets import dbt_assets
from caudal.transform.rules import with_rules
from caudal.warehouse.candidate import publish_tables

FCT, DIM = ("marts", "sales", "fct_sales"), ("marts", "customers", "dim_customer")
GOOD = [(1, 7, 10.5, True), (2, 8, 4.0, True), (3, 8, 1.25, False)]
BAD = [*GOOD, (4, 9, 5000.0, True)]

NOT_DEAR = {"name": "not_dear", "sql": "select * from fct_sales where amount > 100"}
KNOWN = {
    "name": "known",
    "column": "customer_id",
    "references": "marts/customers/dim_customer.customer_id",
    "severity": "block",
}
ALIKE = {"name": "alike", "distribution": {"columns": ["amount"], "least_rows": 2}}


@pytest.fixture
def run(env, unchanged, manifest) -> Callable[..., dg.ExecuteInProcessResult]:
    """Load rows, and build the models that the rules are about, with those below them and all checks."""
    instance = dg.DagsterInstance.ephemeral()

    def build(rows: list[tuple], rules: dict, selection: dg.AssetSelection | None = None) -> dg.ExecuteInProcessResult:
        columns = {"sale_id": pa.int64(), "customer_id": pa.int64(), "amount": pa.float64(), "is_paid": pa.bool_()}
        arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(columns.values())]
        publish_tables(env, {"raw.pos__sales": pa.table(arrays, names=list(columns))})
        extended = with_rules(manifest, {key: [rule_of(line) for line in lines] for key, lines in rules.items()})
        definition = dbt_assets(env, unchanged, extended, [])
        return dg.materialize([definition], instance=instance, selection=selection, raise_on_error=False)

    return build


def _checks(result: dg.ExecuteInProcessResult) -> dict:
    return {
        e.asset_check_evaluation_data.check_name: e.asset_check_evaluation_data
        for e in result.all_events
        if e.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }


def _made(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key}


def test_a_model_whose_rule_breaks_keeps_its_last_good_version_and_its_rows_are_kept(env, run):
    rules = {FCT: [NOT_DEAR, KNOWN, ALIKE]}
    first = run(GOOD, rules)
    assert first.success
    assert {n: _checks(first)[n].passed for n in ("not_dear", "known", "alike")} == dict.fromkeys(
        ("not_dear", "known", "alike"), True
    )
    second = run(BAD, rules)
    checks = _checks(second)
    found = checks["not_dear"]
    assert (second.success, found.passed, found.blocking) == (False, False, True)
    assert found.description == "1 of 3 rows break it; expected none"
    assert {"marts/sales/fct_sales", "marts/sales/sales", "marts/sales/report"}.isdisjoint(_made(second))
    assert "marts/customers/dim_customer" in _made(second)
    with duckdb.connect(str(env.published), read_only=True) as connection:
        assert connection.execute("SELECT max(amount) FROM marts.fct_sales").fetchone() == (10.5,)
    kept = found.metadata["failing rows are in"].value
    assert kept.startswith(str(env.failing / "marts__sales__fct_sales" / "not_dear"))
    assert duckdb.sql(f"SELECT sale_id, amount FROM '{kept}'").fetchall() == [(4, 5000.0)]


def test_a_rule_that_warns_publishes_and_says_so(env, run):
    result = run(BAD, {FCT: [{**NOT_DEAR, "severity": "warn"}]})
    found = _checks(result)["not_dear"]
    assert (result.success, found.passed, found.severity) == (True, False, dg.AssetCheckSeverity.WARN)
    with duckdb.connect(str(env.published), read_only=True) as connection:
        assert connection.execute("SELECT max(amount) FROM marts.fct_sales").fetchone() == (5000.0,)


def test_a_rule_is_tried_alone_without_a_build(run):
    rules = {FCT: [{**NOT_DEAR, "severity": "warn"}]}
    run(BAD, rules)
    again = run(BAD, rules, dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(list(FCT)), "not_dear")))
    assert (_made(again), list(_checks(again))) == (set(), ["not_dear"])


def test_a_rule_reads_the_models_that_its_query_and_its_reference_name(manifest):
    extended = with_rules(
        manifest, {DIM: [rule_of({"name": "r", "sql": "select * from dim_customer join fct_sales using (a)"})]}
    )
    check = extended.check_of[DIM, "r"]
    assert {extended.nodes[u].key for u in check.reads} == {DIM, FCT}


def test_a_rule_with_the_name_of_a_dbt_test_is_refused(manifest):
    taken = next(check for check in manifest.checks.values() if check.attached_to in manifest.nodes)
    with pytest.raises(ValueError, match="give the rule another name"):
        with_rules(manifest, {taken.asset: [rule_of({"name": taken.name, "sql": "select 1"})]})


def test_without_rules_the_manifest_is_dbt_s_own(manifest):
    assert with_rules(manifest, {("raw", "pos", "sales"): [rule_of({"sql": "select 1"})]}) is manifest
