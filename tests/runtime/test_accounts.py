"""A step of Python in BigQuery: its jobs are labelled, counted and told, and its group's budget holds."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.runtime.accounts import keep_accounts
from caudal.warehouse.bigquery.account import current
from caudal.warehouse.bigquery.budgets import Budget
from caudal.warehouse.bigquery.jobs import Job
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.spending import Spending, Spent

TIB = 2**40


@pytest.fixture
def cloud(env: Environment) -> Environment:
    return replace(env, name="gcp", cloud=GoogleCloud("acme-data", "EU", "acme-data", "shop_", maximum_bytes=TIB))


@pytest.fixture
def seen() -> list[BigQuery]:
    """Who asked BigQuery, each in its step."""
    return []


@pytest.fixture
def run(cloud, seen) -> Callable[..., dg.ExecuteInProcessResult]:
    def ask(number: str) -> None:
        asked = BigQuery(cloud.cloud)
        seen.append(asked)
        asked.note(Job(f"{number}-{len(seen)}", "query", TIB // 10, TIB // 10, 2000))

    def definitions() -> dg.Definitions:
        @dg.asset(key=["predictions", "sales", "forecast"], group_name="sales", owners=["team:forecasters"])
        def forecast() -> dg.MaterializeResult:
            ask("forecast")
            return dg.MaterializeResult(metadata={"rows": 3, "jobs": "told by itself"})

        raw, lake = dg.AssetKey(["raw", "pos", "sales"]), dg.AssetKey(["lake", "pos", "sales"])

        @dg.multi_asset(specs=[dg.AssetSpec(lake, group_name="lake"), dg.AssetSpec(raw, group_name="warehouse")])
        def load():
            ask("load")
            yield dg.MaterializeResult(lake)
            yield dg.MaterializeResult(raw)
            ask("rules")

        @dg.asset(group_name="sales")
        def broken() -> None:
            ask("broken")
            raise ValueError("the model has no history")

        @dg.asset_check(asset=["predictions", "sales", "forecast"])
        def plausible() -> dg.AssetCheckResult:
            ask("check")
            return dg.AssetCheckResult(passed=True)

        return dg.Definitions(assets=[forecast, load, broken], asset_checks=[plausible])

    def materialize(
        key: str, budgets: Mapping[str, Budget] | None = None, tags: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        job = keep_accounts(definitions(), cloud, budgets or {}).resolve_implicit_global_asset_job_def()
        selected = [dg.AssetKey(each.split("/")) for each in key.split()]
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                instance=instance, asset_selection=selected, raise_on_error=False, tags=dict(tags or {})
            )

    return materialize


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict]:
    made = [e.step_materialization_data.materialization for e in result.get_asset_materialization_events()]
    return {m.asset_key.to_user_string(): {name: v.value for name, v in m.metadata.items()} for m in made}


def test_an_asset_of_python_tells_its_cost_beside_what_it_says_itself(run, seen):
    told = metadata(run("predictions/sales/forecast"))["predictions/sales/forecast"]
    assert told["bytes billed"] == TIB // 10
    assert told["estimated USD"] == pytest.approx(0.625)
    assert (told["rows"], told["jobs"]) == (3, "told by itself")
    assert seen[0].labels["asset"] == "predictions-sales-forecast"
    assert seen[0].labels["owner"] == "forecasters"


def test_the_jobs_of_checks_are_counted_for_their_assets_group(run, seen, cloud):
    result = run("predictions/sales/forecast")
    assert [asked.labels["asset"] for asked in seen] == ["predictions-sales-forecast"] * 2
    assert {asked.labels["run"] for asked in seen} == {result.run_id}
    assert Spending.of(cloud).totals()["sales"].jobs == 2


def test_a_load_tells_its_cost_on_the_raw_table_and_not_on_the_lake(run, cloud):
    told = metadata(run("lake/pos/sales raw/pos/sales"))
    assert "bytes billed" not in told["lake/pos/sales"]
    assert told["raw/pos/sales"]["bytes billed"] == TIB // 10
    assert Spending.of(cloud).totals()["warehouse"].jobs == 2


def test_what_a_step_that_failed_was_billed_for_is_counted(run, cloud):
    assert not run("broken").success
    assert Spending.of(cloud).billed_today_usd("sales") == pytest.approx(0.625)


def test_nothing_starts_once_the_budget_is_used_up(run, seen, cloud):
    Spending.of(cloud).count("earlier", [Spent("j", "sales", "x", 0, 5.01)])
    result = run("predictions/sales/forecast", {"sales": Budget(usd_per_day=5)})
    assert not result.success
    assert [asked.labels["asset"] for asked in seen] == []
    failed = next(e.step_failure_data.error for e in result.all_events if e.is_step_failure)
    assert "5.00 USD a day: 5.01 USD billed today" in failed.message


def test_no_query_may_be_billed_for_more_than_is_left(run, seen, cloud):
    Spending.of(cloud).count("earlier", [Spent("j", "sales", "x", 0, 5.0)])
    run("broken", {"sales": Budget(usd_per_day=5.625)})
    assert seen[0].account.maximum_bytes == pytest.approx(TIB // 10, abs=2)
    run("broken", {"sales": Budget(usd_per_day=50)})
    assert seen[1].account.maximum_bytes == TIB, "the settings' own limit holds too"
    run("broken", {"sales": Budget(usd_per_day=1)}, {"caudal/budget": "ignore"})
    assert seen[2].account.maximum_bytes is None


def test_locally_no_account_is_kept(run, env):
    definitions = dg.Definitions()
    assert keep_accounts(definitions, env, {"sales": Budget(1.0)}) is definitions
    assert current().labels == {}
