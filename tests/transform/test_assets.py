"""dbt in Dagster: real runs, on a real candidate, read back from what is published."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from caudal.environment import Environment
from caudal.transform.assets import dbt_assets
from caudal.transform.component import DbtProject
from caudal.transform.project import Project
from caudal.warehouse.candidate import publish_tables, published_version
from caudal.warehouse.held_back import held

RAW, STAGING = "raw/pos/sales", "staging/pos/stg_pos__sales"
FCT, SALES, REPORT = "marts/sales/fct_sales", "marts/sales/sales", "marts/sales/report"
DIM, TARIFFS, HISTORY = "marts/customers/dim_customer", "seeds/sales/tariffs", "snapshots/stall/tariff_history"
ALL = {STAGING, FCT, SALES, REPORT, DIM, TARIFFS, HISTORY}

GOOD = [(1, 7, 10.5, True), (2, 8, 4.0, True), (3, 8, 1.25, False)]


@pytest.fixture
def definition(env, unchanged, manifest) -> dg.AssetsDefinition:
    return dbt_assets(env, unchanged, manifest, [])


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def run(definition, instance) -> Callable[..., "Run"]:
    """Materialize assets by key, all by default, with their checks; or only `checks`, as `asset:name`."""

    def materialize(*assets: str, checks: tuple[str, ...] | None = None) -> Run:
        selection = dg.AssetSelection.assets(*(assets or ALL))
        if checks is not None:
            keys = [dg.AssetCheckKey(dg.AssetKey(c.split(":")[0].split("/")), c.split(":")[1]) for c in checks]
            selection = dg.AssetSelection.checks(*keys)
        return Run(dg.materialize([definition], instance=instance, selection=selection, raise_on_error=False))

    return materialize


class Run:
    """What a run reported."""

    def __init__(self, result: dg.ExecuteInProcessResult) -> None:
        self.success = result.success
        events = [e.step_materialization_data.materialization for e in result.get_asset_materialization_events()]
        self.made = {m.asset_key.to_user_string(): m.metadata for m in events}
        self.checks = {
            e.asset_check_evaluation_data.check_name: e.asset_check_evaluation_data
            for e in result.all_events
            if e.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        }
        observations = [
            e.asset_observation_data.asset_observation for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION"
        ]
        self.observed = {o.asset_key.to_user_string(): o.metadata for o in observations}
        failures = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
        self.error = failures[0].message if failures else ""

    @property
    def failed_checks(self) -> set[str]:
        return {name for name, evaluation in self.checks.items() if not evaluation.passed}


def put(env: Environment, rows: list[tuple]) -> None:
    """Publish `rows` as the raw table."""
    columns = {"sale_id": pa.int64(), "customer_id": pa.int64(), "amount": pa.float64(), "is_paid": pa.bool_()}
    arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(columns.values())]
    publish_tables(env, {"raw.pos__sales": pa.table(arrays, names=list(columns))})


@pytest.fixture
def load(env) -> Callable[[list[tuple]], None]:
    """Put rows into the raw table."""
    return lambda rows: put(env, rows)


@pytest.fixture(scope="session")
def good(unchanged, manifest, tmp_path_factory) -> Path:
    """The data folder of a company whose project was built once, from `GOOD`. Not to be changed."""
    env = Environment("local", "shop", unchanged.folder.parent, tmp_path_factory.mktemp("good"))
    put(env, GOOD)
    assert dg.materialize([dbt_assets(env, unchanged, manifest, [])], instance=dg.DagsterInstance.ephemeral()).success
    return env.data


@pytest.fixture
def built(env, good) -> None:
    """All is built and published from `GOOD`."""
    shutil.copytree(good, env.data, symlinks=True)


@pytest.fixture
def published(env) -> Callable[[str], list[tuple]]:
    def ask(sql: str) -> list[tuple]:
        with duckdb.connect(str(env.published), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return ask


def test_what_passes_is_published_and_reported(env, load, run, published):
    load(GOOD)
    done = run()
    assert done.success
    assert set(done.made) == ALL
    assert done.failed_checks == set()
    assert published("SELECT amount, tariffs FROM marts.report") == [(14.5, 2)]

    metadata = done.made[FCT]
    assert metadata["dagster/row_count"].value == 2
    assert metadata["dagster/table_name"].value == "marts.fct_sales"
    assert "from __dbt__cte__paid" in metadata["SQL"].value
    assert metadata["published version"].value == published_version(env)
    assert metadata["seconds"].value > 0
    (sale_id, *_), names = metadata["dagster/column_schema"].value.columns, metadata["dagster/column_schema"].value.columns
    assert (sale_id.name, sale_id.type, sale_id.description) == ("sale_id", "BIGINT", "The sale.")
    assert [c.name for c in names] == ["sale_id", "customer_id", "amount", "cents"]
    unique = done.checks["unique_fct_sales_sale_id"]
    assert (unique.passed, unique.metadata["failures"].value) == (True, 0)
    assert "having count(*) > 1" in unique.metadata["SQL"].value


def test_a_failed_test_keeps_the_last_good_version_of_its_model_and_of_all_below(built, load, run, published):
    load([(1, 7, 10.5, True), (None, 8, 4.0, True), (4, 9, 1.0, False)])
    done = run()

    # The ephemeral model's test is about the view that its rows come from: nothing below that is new.
    assert not done.success
    assert set(done.made) == {TARIFFS, HISTORY}
    assert done.failed_checks == {"paid_sale_has_id"}
    failed = done.checks["paid_sale_has_id"]
    assert (failed.severity, failed.blocking) == (dg.AssetCheckSeverity.ERROR, True)
    assert failed.metadata["failures"].value == 1
    assert [dict(r.data) for r in failed.metadata["failing rows"].records] == [{"sale_id": None}]
    assert "Failed: 0 models, 1 test." in done.error
    assert "staging/pos/stg_pos__sales, test paid_sale_has_id: Got 1 result" in done.error
    assert published("SELECT sum(amount) FROM marts.fct_sales") == [(14.5,)]
    assert published("SELECT count(*) FROM marts.dim_customer") == [(2,)]


def test_what_passes_only_beside_what_failed_is_held_back_as_well(built, load, run, published):
    load([(1, 7, 20.0, True), (2, -8, 4.0, True)])
    done = run()
    assert not done.success
    # The customers keep their last good rows, and customer -8 of the new sales is not among those.
    assert done.failed_checks == {"customers_have_numbers", "customer_is_known"}
    assert set(done.made) == {TARIFFS, HISTORY, STAGING}
    assert done.checks["customer_is_known"].metadata["tested beside"].value == "marts.dim_customer as published before"
    assert "test customer_is_known: Got 1 result, configured to fail if != 0, beside marts.dim_customer as" in done.error
    assert published("SELECT sum(amount) FROM marts.fct_sales") == [(14.5,)]
    assert published("SELECT min(customer_id) FROM marts.dim_customer") == [(7,)]
    (dim, fct, *below) = [done.observed[key] for key in (DIM, FCT, SALES, REPORT)]
    assert [r.data["why"] for r in dim["why"].records] == ["its test customers_have_numbers failed: 1 rows"]
    beside = "its test customer_is_known failed beside marts.dim_customer as published before: 1 rows"
    assert [r.data["why"] for r in fct["why"].records] == [beside]
    for each in below:
        assert [r.data["why"] for r in each["why"].records] == [f"marts.fct_sales, which it is made of, did not pass: {beside}"]


def test_what_is_held_back_says_since_when_and_what_readers_see_until_it_is_published_again(built, load, run, env):
    good = published_version(env)
    load([(1, 7, 20.0, True), (2, -8, 4.0, True)])
    first, second = run(), run()
    told = [done.observed[DIM] for done in (first, second)]
    assert told[0]["not published since"].value == told[1]["not published since"].value
    assert [each["times"].value for each in told] == [1, 2]
    assert [each["readers see version"].value for each in told] == [good, good]
    (record,) = told[1]["why"].records
    assert (record.data["check"], record.data["failing rows"]) == ("marts/customers/dim_customer: customers_have_numbers", "1")
    load(GOOD)
    third = run()
    assert third.success
    assert third.observed == {}
    assert third.made[DIM]["was held back"].value.startswith("Not published since 20")
    assert "2 times: its test customers_have_numbers failed: 1 rows" in third.made[DIM]["was held back"].value
    assert "was held back" not in third.made[TARIFFS]
    assert held(env) == {}


def test_an_incremental_model_whose_test_fails_keeps_its_rows_and_loses_none(stall, env, tmp_path, load, published):
    (stall / "models/marts/sales/ledger.sql").write_text(
        "{{ config(materialized='incremental') }} select sale_id, amount from {{ ref('stg_pos__sales') }}\n"
        "{% if is_incremental() %} where sale_id > (select coalesce(max(sale_id), 0) from {{ this }}) {% endif %}"
    )
    (stall / "models/ledger.yml").write_text("models: [{name: ledger, columns: [{name: amount, data_tests: [not_null]}]}]")
    here = Environment(env.name, env.company, tmp_path, env.data)
    component = DbtProject(project="stall")
    definition = dbt_assets(here, component.dbt_project(here), component.manifest(here), [])
    key = "marts/sales/ledger"

    def run() -> Run:
        selection = dg.AssetSelection.assets(STAGING, key)
        instance = dg.DagsterInstance.ephemeral()
        return Run(dg.materialize([definition], instance=instance, selection=selection, raise_on_error=False))

    rows = "SELECT sale_id, amount FROM marts.ledger ORDER BY sale_id"
    load(GOOD[:2])
    assert run().success
    load([*GOOD, (4, 9, None, True)])
    bad = run()
    assert (bad.success, set(bad.made), set(bad.observed)) == (False, {STAGING}, {key})
    assert published(rows) == [(1, 10.5), (2, 4.0)]
    load([*GOOD, (4, 9, 7.0, True), (5, 9, 1.0, True)])
    assert run().made[key]["dagster/row_count"].value == 5
    assert published(rows) == [(1, 10.5), (2, 4.0), (3, 1.25), (4, 7.0), (5, 1.0)]


def test_a_warning_publishes_and_fails_nothing(load, run, published):
    load([(1, 7, None, True)])
    done = run()
    assert done.success
    assert done.failed_checks == {"amount_is_known"}
    warned = done.checks["amount_is_known"]
    assert (warned.severity, warned.metadata["status"].value) == (dg.AssetCheckSeverity.WARN, "warn")
    assert published("SELECT count(*) FROM marts.fct_sales") == [(1,)]


def test_a_failed_test_of_a_raw_table_is_shown_there_and_nothing_below_is_published(built, load, run, env):
    load([*GOOD, (3, 9, 1.0, True)])
    before = published_version(env)
    done = run(STAGING, FCT)
    assert not done.success
    assert done.checks["source_unique_pos_sales_sale_id"].asset_key == dg.AssetKey(RAW.split("/"))
    assert done.failed_checks == {"source_unique_pos_sales_sale_id"}
    assert done.made == {}
    assert published_version(env) == before
    assert list(env.candidates.iterdir()) == []


def test_selecting_checks_runs_only_them_and_publishes_nothing(built, run, env):
    before = published_version(env)
    done = run(checks=(f"{SALES}:nothing_is_lost", f"{RAW}:source_unique_pos_sales_sale_id"))
    assert done.success
    assert set(done.checks) == {"nothing_is_lost", "source_unique_pos_sales_sale_id"}
    assert done.made == {}
    assert published_version(env) == before


def test_a_model_that_breaks_the_test_of_another_asset_is_held_back(built, load, run, published, instance):
    load([(1, 7, 10.5, True)])  # customer 8, whom the published sales name, is gone
    done = run(STAGING, DIM)
    assert not done.success
    assert done.failed_checks == {"customer_is_known"}
    assert set(done.made) == {STAGING}
    assert published("SELECT count(*) FROM marts.dim_customer") == [(2,)]
    (record,) = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(FCT.split("/")), "customer_is_known"), limit=1
    )
    assert record.status.value == "FAILED"


def test_what_was_never_published_is_not_there_after_a_failure(load, run, published):
    load([(1, -7, 10.5, True)])
    done = run()
    assert set(done.made) == ALL - {DIM}
    assert published("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'dim_customer'") == [(0,)]


def test_a_broken_model_fails_the_run_in_dbts_words(stall, env, tmp_path, load):
    (stall / "models/marts/customers/dim_customer.sql").write_text("select nowhere from {{ ref('stg_pos__sales') }}")
    component = DbtProject(project="stall")
    here = Environment(env.name, env.company, tmp_path, env.data)
    load(GOOD)
    definition = dbt_assets(here, component.dbt_project(here), component.manifest(here), [])
    done = Run(dg.materialize([definition], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False))
    assert "Failed: 1 model, 0 tests. Not published, and as they were before: marts.dim_customer." in done.error
    assert "Runtime Error in model dim_customer (models/marts/customers/dim_customer.sql)" in done.error
    assert set(done.made) == ALL - {DIM}


def test_specs_say_what_the_project_says(definition):
    specs = {spec.key.to_user_string(): spec for spec in definition.specs}
    assert {key for key, spec in specs.items() if spec.is_virtual} == {STAGING, REPORT}
    fct = specs[FCT]
    assert fct.kinds == {"dbt", "duckdb", "table"}
    assert (fct.group_name, fct.owners, fct.description) == ("sales", ["team:sales"], "One row for each sale that was paid.")
    assert (fct.tags["domain"], fct.tags["gold"]) == ("sales", "")
    assert [c.name for c in fct.metadata["dagster/column_schema"].columns] == ["sale_id", "customer_id", "amount"]
    assert specs[REPORT].description == "dbt model `report`"
    checks = {spec.name: spec for spec in definition.check_specs}
    assert checks["customer_is_known"].blocking
    assert {d.asset_key.to_user_string() for d in checks["customer_is_known"].additional_deps} == {DIM}
    assert not checks["amount_is_known"].blocking
    # Else a run that dies between the load and the test would stop automation for good.
    assert not checks["source_unique_pos_sales_sale_id"].blocking


def test_a_python_asset_between_two_models_splits_the_step(stall, env, tmp_path, load, published):
    (stall / "models/marts/sales/sales.sql").write_text("select n as amount, 0 as tariffs from {{ source('py', 'counted') }}")
    (stall / "models/more.yml").write_text(
        "sources:\n  - name: py\n    schema: explore\n    tables:\n"
        "      - {name: counted, config: {meta: {dagster: {asset_key: [explore, sales, counted]}}}}\n"
    )
    (stall / "tests/nothing_is_lost.sql").unlink()
    (stall / "models/marts.yml").write_text((stall / "models/marts.yml").read_text().split("unit_tests:")[0])
    here = Environment(env.name, env.company, tmp_path, env.data)
    component = DbtProject(project="stall")
    definition = dbt_assets(here, component.dbt_project(here), component.manifest(here), [])

    @dg.asset(key=["explore", "sales", "counted"], deps=[FCT.split("/")])
    def counted() -> None:
        rows = published("SELECT count(*) FROM marts.fct_sales")[0][0]
        publish_tables(here, {"explore.counted": pa.table({"n": [rows]})})

    load(GOOD)
    done = Run(dg.materialize([definition, counted], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False))
    assert done.success
    assert set(done.made) == ALL | {"explore/sales/counted"}
    assert published("SELECT amount FROM marts.report") == [(2,)]


def test_the_component_is_declared_in_three_lines_of_yaml(tmp_path, monkeypatch, unchanged):
    package = tmp_path / "market" / "defs"
    package.mkdir(parents=True)
    (tmp_path / "market" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "defs.yaml").write_text("type: caudal.transform.component.DbtProject\nattributes:\n  project: stall\n")
    shutil.copytree(unchanged.folder, tmp_path / "stall")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CAUDAL_ROOT", str(tmp_path))
    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path / "data"))
    import importlib

    tree = dg.ComponentTree.from_module(importlib.import_module("market.defs"), Path(tmp_path))
    definitions = tree.build_defs(tree.defs_module_path)
    assert {key.to_user_string() for key in definitions.resolve_asset_graph().materializable_asset_keys} == ALL
    assert dg.AssetKey(RAW.split("/")) in definitions.resolve_asset_graph().get_all_asset_keys()
    (component,) = tree.get_all_components(DbtProject)
    tables = component.published_tables(Environment.of_module("market.defs"))
    assert {table.relation for table in tables} == {"marts.fct_sales", "marts.sales", "marts.dim_customer"}
    assert (tmp_path / "data/market/state/dbt/manifests").is_dir()


def test_dagster_still_takes_checks_of_assets_that_another_step_makes():
    """`allow_arbitrary_check_specs` is no public part of `multi_asset`; dagster-dbt depends on it as well."""

    @dg.multi_asset(
        name="step",
        specs=[dg.AssetSpec("made_here", deps=["made_elsewhere"])],
        check_specs=[dg.AssetCheckSpec("check", asset="made_elsewhere")],
        can_subset=True,
        allow_arbitrary_check_specs=True,
    )
    def step(context: dg.AssetExecutionContext):
        for key in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(asset_key=key.asset_key, check_name=key.name, passed=True)

    @dg.asset
    def made_elsewhere() -> None: ...

    result = dg.materialize([step, made_elsewhere], selection=["made_elsewhere"], instance=dg.DagsterInstance.ephemeral())
    assert [e.check_name for e in result.get_asset_check_evaluations()] == ["check"]


def test_the_project_key_is_the_environments_catalogue(env):
    assert isinstance(DbtProject(project="stall").dbt_project(env), Project)
    assert DbtProject(project="stall").dbt_project(env).catalog == env.published.stem
