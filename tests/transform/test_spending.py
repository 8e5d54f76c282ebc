"""A step of dbt asks what it may spend before it starts a job, and tells each asset what it has spent."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.transform import assets as transform_assets
from caudal.transform.assets import dbt_assets
from caudal.transform.estimating import estimate
from caudal.transform.outcome import BuildResult, NodeResult, hold_back
from caudal.warehouse.bigquery.account import current
from caudal.warehouse.bigquery.budgets import Budget
from caudal.warehouse.bigquery.jobs import Job
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.sizes import Sizes
from caudal.warehouse.bigquery.spending import Spending, Spent
from tests.warehouse.bigquery.answers import Answers, answering

TIB = 2**40
SALES, FCT, REPORT, DIM = "marts/sales/sales", "marts/sales/fct_sales", "marts/sales/report", "marts/customers/dim_customer"
RAW = {"shop_raw.pos__sales": TIB // 10}


@pytest.fixture
def answers() -> Iterator[Answers]:
    with answering() as server:
        yield server


@pytest.fixture
def cloud(env: Environment, answers: Answers) -> Environment:
    """The environment with its tables in BigQuery."""
    settings = GoogleCloud("acme-data", "EU", "acme-data", "shop_", bigquery_url=answers.url)
    return replace(env, name="gcp", cloud=settings)


@dataclass
class Candidate:
    env: Environment
    path = None
    is_opened = False

    def restore(self, names) -> None: ...
    def made_of(self) -> dict[str, str]:
        return {}

    def write_down(self, made_of: object) -> None: ...
    def prepare(self, *_: object) -> None: ...
    def declare(self, access: object) -> None: ...
    def holds(self, names) -> set[str]:
        return set(names)

    def physical(self, relation: str) -> tuple[str, str]:
        return tuple(relation.split(".", 1))

    def publish(self, changed, cause) -> str:
        current().jobs.append(Job("publish", "query", 0, 0))
        return "v1"


@pytest.fixture
def run(cloud, unchanged, manifest, monkeypatch) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialize assets, on a server whose jobs are as they were recorded: a tenth of a TiB a model, a hundredth a test."""
    candidate = Candidate(cloud)

    @contextmanager
    def open_candidate(*_: object) -> Iterator[Candidate]:
        candidate.is_opened = True
        yield candidate

    numbers = iter(range(10**6))

    def build(project, known, *, select, on_result, **_: object) -> BuildResult:
        def job(share: int) -> tuple[Job, ...]:
            return (Job(f"job-{next(numbers)}", "query", TIB // share, TIB // share, 1000),)

        results = {u: NodeResult(u, "success", jobs=job(10)) for u in known.nodes if u in select}
        results |= {u: NodeResult(u, "pass", failures=0, jobs=job(100)) for u in known.checks if u in select}
        return BuildResult(known, results, hold_back(known, select, results), 1.0)

    monkeypatch.setattr(transform_assets, "open_candidate", open_candidate)
    monkeypatch.setattr(transform_assets, "build", build)

    def materialize(budgets: Mapping[str, Budget], *names: str, tags: Mapping[str, str] | None = None):
        definition = dbt_assets(cloud, unchanged, manifest, [], budgets)
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                [definition],
                instance=instance,
                selection=dg.AssetSelection.assets(*names),
                tags=dict(tags or {}),
                raise_on_error=False,
            )

    materialize.candidate = candidate
    return materialize


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {f"{e.asset_key.to_user_string()}:{e.check_name}": e for e in result.get_asset_check_evaluations()}


def error(result: dg.ExecuteInProcessResult) -> str:
    failed = next(e.step_failure_data.error for e in result.all_events if e.is_step_failure)
    return (failed.cause or failed).message


def test_an_asset_tells_what_its_jobs_and_its_checks_were_billed_for(run, manifest):
    result = run({}, FCT)
    assert result.success
    (made,) = result.asset_materializations_for_node("dbt_stall")
    told = {name: value.value for name, value in made.metadata.items()}
    tests = [c for c in manifest.checks.values() if c.asset == ("marts", "sales", "fct_sales")]
    assert told["bytes billed"] == told["bytes processed"] == TIB // 10
    assert told["estimated USD"] == pytest.approx(0.625)
    assert told["slot seconds"] == 1.0
    assert told["bytes billed by checks"] == len(tests) * (TIB // 100)
    assert told["jobs"].startswith("job-")
    (one, *_) = checks(result).values()
    assert one.metadata["bytes billed"].value == TIB // 100


def test_what_a_run_was_billed_for_is_counted_in_its_groups(run, cloud):
    run({}, FCT, DIM)
    totals = Spending.of(cloud).totals()
    assert totals["sales"].usd > totals["people"].usd >= 0.625
    assert totals["caudal"].bytes_billed == 0


def test_without_a_budget_nothing_is_asked_beforehand(run, answers):
    run({"another": Budget(1.0)}, FCT)
    assert answers.queries == []


def test_a_step_within_its_budget_starts_and_its_check_says_how_much_is_left(run, answers, cloud):
    answers.sizes |= RAW | {"shop_marts.fct_sales": TIB // 100, "shop_staging.stg_pos__sales": TIB // 10}
    result = run({"sales": Budget(usd_per_day=50)}, FCT)
    assert result.success
    told = checks(result)[f"{FCT}:within_budget"]
    assert told.passed
    assert told.metadata["estimated bytes billed"].value > 0
    assert told.metadata["budget USD a day"].value == 50.0
    assert all(query["dryRun"] for query in answers.queries)


def test_a_step_beyond_its_budget_fails_before_any_job(run, answers, cloud):
    answers.sizes |= RAW | {"shop_staging.stg_pos__sales": TIB // 10, "shop_marts.fct_sales": TIB // 100}
    Spending.of(cloud).count("earlier", [Spent("j", "sales", SALES, 0, 4.9)])
    result = run({"sales": Budget(usd_per_day=5)}, FCT)
    assert not result.success
    assert not run.candidate.is_opened
    assert not result.asset_materializations_for_node("dbt_stall")
    told = checks(result)[f"{FCT}:within_budget"]
    assert not told.passed
    assert told.severity == dg.AssetCheckSeverity.ERROR
    for words in ("5.00 USD a day: 4.90 USD billed today", "nothing was started", "caudal/budget: ignore", "00:00 UTC"):
        assert words in error(result)
    assert all(query["dryRun"] for query in answers.queries)
    assert Spending.of(cloud).reserve("later", {"sales": 0.05}, {"sales": Budget(usd_per_day=5)}).refused == ()


def test_a_run_with_the_tag_goes_ahead_and_the_check_warns(run, answers, cloud):
    answers.sizes |= RAW | {"shop_staging.stg_pos__sales": TIB // 10}
    result = run({"sales": Budget(usd_per_run=0)}, FCT, tags={"caudal/budget": "ignore"})
    assert result.success
    told = checks(result)[f"{FCT}:within_budget"]
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert told.metadata["ignored by"].value == "somebody who started it outside of the web page"


def test_a_step_that_dies_leaves_its_estimate_counted(run, answers, cloud, monkeypatch):
    def dies(*_: object, **__: object) -> BuildResult:
        raise RuntimeError("dbt was killed")

    answers.sizes |= RAW | {"shop_staging.stg_pos__sales": TIB // 10}
    monkeypatch.setattr(transform_assets, "build", dies)
    budgets = {"sales": Budget(usd_per_day=30)}
    assert "dbt was killed" in error(run(budgets, FCT))
    (verdict,) = Spending.of(cloud).reserve("next", {"sales": 0.0}, budgets).verdicts
    assert verdict.reserved_usd > 0.6


def test_locally_there_is_no_such_check(env, unchanged, manifest):
    definition = dbt_assets(env, unchanged, manifest, [], {"sales": Budget(usd_per_day=1)})
    assert not [key for key in definition.check_keys if key.name == "within_budget"]


def test_what_is_there_is_run_dry_and_what_is_not_is_bounded_by_what_it_is_made_of(cloud, manifest, answers):
    answers.sizes |= RAW
    asked = Sizes(BigQuery(cloud.cloud))
    nodes = list(manifest.nodes)
    found = {one.asset: one for one in estimate(asked, manifest, nodes, ())}
    assert found["staging/pos/stg_pos__sales"].note == "a view: who reads it pays"
    assert found["seeds/sales/tariffs"].note == "loaded, which is free"
    fct = found[FCT]  # its staging view is not built: at most the raw table
    assert fct.is_bound
    assert "staging.stg_pos__sales: not built yet" in fct.note
    assert fct.bytes_processed >= TIB // 10

    answers.sizes["shop_staging.stg_pos__sales"] = TIB // 20
    (fct,) = estimate(Sizes(BigQuery(cloud.cloud)), manifest, [u for u in nodes if u.endswith(".fct_sales")], ())
    assert (fct.bytes_processed, fct.is_bound, fct.note) == (TIB // 20, False, "")
    assert fct.bytes_billed >= fct.bytes_processed
