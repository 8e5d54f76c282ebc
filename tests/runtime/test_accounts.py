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
        if asked.account.purse is not None:
            asked.account.purse.query(lambda: TIB // 10, None)
        asked.note(Job(f"{number}-{len(seen)}", "query", TIB // 10, TIB // 10, 2000))

    def definitions() -> dg.Definitions:
        daily = dg.AssetSpec(["marts", "sales", "daily"], metadata={"dagster/table_name": "marts.daily"})

        @dg.asset(key=["predictions", "sales", "forecast"], deps=[daily], group_name="sales", owners=["team:forecasters"])
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

        @dg.asset(group_name="sales", deps=[daily], io_manager_def=dg.mem_io_manager)
        def valued() -> int:
            return 3

        @dg.asset(group_name="sales")
        def greedy() -> None:
            BigQuery(cloud.cloud).note(Job("session", "read", 2 * TIB))
            seen.append(BigQuery(cloud.cloud))

        @dg.asset_check(asset=["predictions", "sales", "forecast"])
        def plausible() -> dg.AssetCheckResult:
            ask("check")
            return dg.AssetCheckResult(passed=True)

        return dg.Definitions(assets=[daily, forecast, load, broken, valued, greedy], asset_checks=[plausible])

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


@pytest.fixture
def sizes(monkeypatch) -> dict[str, int]:
    """The bytes of published tables, which BigQuery would be asked for."""
    found = {"marts.daily": TIB // 2}
    monkeypatch.setattr("caudal.warehouse.bigquery.sizes.Sizes.size", lambda _, relation: found.get(relation))
    return found


def told_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.asset_key.to_user_string(): e for e in result.get_asset_check_evaluations() if e.check_name == "within_budget"}


def test_a_step_that_would_read_more_than_is_left_is_refused_by_a_check_before_it_starts(run, seen, sizes, cloud):
    result = run("predictions/sales/forecast", {"sales": Budget(usd_per_day=0.5)})
    assert not result.success
    assert seen == []
    told = told_of(result)["predictions/sales/forecast"]
    assert (told.passed, told.severity, told.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert "would spend 0.55 USD in this step. Its budget is 0.50 USD a day" in (told.description or "")
    assert Spending.of(cloud).look("next", {"sales": 0.5}, {"sales": Budget(usd_per_day=0.5)})[0].fits, "nothing is kept"


def test_a_step_that_fits_says_so_and_returns_what_it_returned_before(run, sizes):
    result = run("valued", {"sales": Budget(usd_per_day=0.6)})
    assert result.success
    assert told_of(result)["valued"].passed
    assert result.asset_value("valued") == 3


def test_a_group_without_a_budget_has_no_check_and_asks_nobody(run):
    assert told_of(run("valued", {"warehouse": Budget(usd_per_day=1)})) == {}


def test_while_a_step_goes_on_another_cannot_spend_what_it_has_set_aside(run, seen, sizes, cloud):
    budget = {"sales": Budget(usd_per_day=1)}
    Spending.of(cloud).reserve("another run", {"sales": 0.5}, budget)
    assert "0.50 USD set aside by other steps" in (told_of(run("valued", budget))["valued"].description or "")
    assert seen == []


def test_a_query_that_the_budget_has_nothing_left_for_is_not_run(run, seen, cloud):
    result = run("broken", {"sales": Budget(usd_per_day=0.5)})
    failed = next(e.step_failure_data.error for e in result.all_events if e.is_step_failure)
    assert (
        "would be billed for 109,951,162,777 bytes, 0.62 USD, and the budget of the group `sales` has 0.50 USD left"
        in failed.message
    )
    assert Spending.of(cloud).billed_today_usd("sales") == 0


def test_a_read_of_what_no_asset_above_told_of_is_not_begun_either(run, seen, cloud):
    assert not run("greedy", {"sales": Budget(usd_per_day=2)}).success
    assert seen == []
    assert run("greedy", {"sales": Budget(usd_per_day=3)}).success
    assert Spending.of(cloud).billed_today_usd("sales") == pytest.approx(2.2)


def test_who_ignores_a_budget_is_named_by_the_check(run, sizes):
    tags = {"caudal/budget": "ignore", "caudal/budget_by": "ann@example.com"}
    result = run("valued", {"sales": Budget(usd_per_day=0.1)}, tags)
    assert result.success
    told = told_of(result)["valued"]
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert told.metadata["ignored by"].value == "ann@example.com"
    assert "ann@example.com lets it go ahead" in (told.description or "")


def test_nothing_starts_once_the_budget_is_used_up(run, seen, sizes, cloud):
    Spending.of(cloud).count("earlier", [Spent("j", "sales", "x", 0, 5.01)])
    result = run("valued", {"sales": Budget(usd_per_day=5)})
    assert not result.success
    assert [asked.labels["asset"] for asked in seen] == []
    failed = next(e.step_failure_data.error for e in result.all_events if e.is_step_failure)
    assert "5.00 USD a day: 5.01 USD billed today" in failed.message


def test_a_query_may_be_billed_for_its_estimate_and_a_script_for_what_is_left(run, seen, cloud):
    run("broken", {"sales": Budget(usd_per_day=50)})
    purse = seen[0].account.purse
    assert purse is not None
    assert purse.query(lambda: 77, None) == 77
    assert purse.query(lambda: 77, 50) == 50, "its own limit holds too"
    left = (50 - 0.625) / 6.25 * TIB
    assert purse.query(lambda: 0, None) == pytest.approx(left, rel=1e-6)
    assert purse.query(lambda: 0, TIB) == TIB
    run("broken", {"sales": Budget(usd_per_day=1)}, {"caudal/budget": "ignore"})
    assert seen[1].account.purse is None


def test_locally_no_account_is_kept(run, env):
    definitions = dg.Definitions()
    assert keep_accounts(definitions, env, {"sales": Budget(1.0)}) is definitions
    assert current().labels == {}
