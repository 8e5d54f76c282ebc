"""What work costs, asked of a BigQuery server: dry runs, what jobs say of themselves, limits, labels, and a whole project's price.

The server computes bytes as BigQuery documents them, by types and partitions, and bills nothing: what Google's own service
bills for, only `caudal verify gcp` can show.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.transform.estimating import estimate
from caudal.transform.manifest import read_manifest
from caudal.transform.project import Project, prepare_manifest
from caudal.transform.spending import OverBudget, allow
from caudal.warehouse.bigquery.account import accounted
from caudal.warehouse.bigquery.budgets import Budget
from caudal.warehouse.bigquery.costs import cost_metadata, job_labels
from caudal.warehouse.bigquery.explained import BigQueryRefused, NotThere
from caudal.warehouse.bigquery.purse import BudgetUsedUp, StepPurse
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.sizes import Sizes
from caudal.warehouse.bigquery.spending import Spending

DBT = Path(__file__).parents[2] / "dbt"
BAKERY = Path(__file__).parents[1] / "runtime" / "plan" / "bakery"
MIB = 2**20

PROJECT = {
    "dbt_project.yml": """
name: till
profile: till
version: "1.0"
flags: {send_anonymous_usage_stats: false}
models:
  till:
    staging: {+materialized: view, +schema: staging}
    marts: {+materialized: table, +schema: marts}
""",
    "macros/generate_schema_name.sql": """
{% macro generate_schema_name(custom_schema_name, node) -%}
{{ custom_schema_name or target.schema }}
{%- endmacro %}
""",
    "models/sources.yml": """
sources:
  - name: pos
    schema: raw
    tables: [{name: sales, identifier: pos__sales}]
""",
    "models/marts.yml": """
models:
  - name: daily
    columns: [{name: day, data_tests: [not_null, unique]}]
  - name: limited
    config: {meta: {maximum_bytes: 1048576}}
""",
    "models/staging/pos/stg_pos__sales.sql": "select day, sale, amount from {{ source('pos', 'sales') }}",
    "models/marts/sales/daily.sql": "select day, sum(amount) as amount from {{ ref('stg_pos__sales') }} group by day",
    "models/marts/sales/limited.sql": "select day, amount from {{ source('pos', 'sales') }}",
    "models/marts/sales/growing.sql": """
{{ config(materialized='incremental', unique_key='sale') }}
select day, sale, amount from {{ source('pos', 'sales') }}
{% if is_incremental() %} where day >= '2024-01-09' {% endif %}
""",
}


@pytest.fixture(scope="module")
def cloud(bigquery) -> GoogleCloud:
    """An environment of its own on the server, with a table of a million rows in ten days."""
    settings = bigquery.settings("EU")
    asked = BigQuery(settings)
    asked.client.create_dataset(settings.dataset("marts"))
    asked.query(
        f"CREATE TABLE `{settings.table('marts.sales')}` PARTITION BY day AS "
        "SELECT DATE_ADD(DATE '2024-01-01', INTERVAL MOD(n, 10) DAY) AS day, n AS sale, CAST(n AS FLOAT64) AS amount "
        "FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS n"
    )
    return settings


@pytest.fixture
def asked(cloud) -> BigQuery:
    return BigQuery(cloud)


@pytest.fixture(scope="module")
def project(cloud, tmp_path_factory) -> Project:
    """A dbt project with a view, a table with tests, one that grows, and one with a limit of its own."""
    root = tmp_path_factory.mktemp("till")
    for name, content in PROJECT.items():
        file = root / "dbt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    profile = (DBT / "profiles.yml").read_text()
    (root / "dbt" / "profiles.yml").write_text(profile.replace("shop:", "till:", 1))
    return Project(root / "dbt", root / "state", target="bigquery", cloud=cloud)


def test_a_dry_run_says_what_the_columns_and_partitions_of_a_query_hold(asked, cloud):
    table = f"`{cloud.table('marts.sales')}`"
    whole = asked.dry_run(f"SELECT sale, amount FROM {table}")
    assert (whole.bytes_processed, whole.tables) == (16_000_000, 1)
    assert asked.dry_run(f"SELECT amount FROM {table}").bytes_processed == 8_000_000
    day = asked.dry_run(f"SELECT day, amount FROM {table} WHERE day = '2024-01-03'")
    assert day.bytes_processed == 1_600_000
    assert day.bytes_billed == 10 * MIB
    assert asked.done == [], "nothing was run"


def test_what_a_job_read_and_is_billed_for_is_as_the_dry_run_said(asked, cloud):
    sql = f"SELECT sum(amount) FROM `{cloud.table('marts.sales')}`"
    before = asked.dry_run(sql)
    list(asked.query(sql))
    (job,) = asked.done
    assert job.bytes_processed == before.bytes_processed
    assert job.bytes_billed == before.bytes_billed
    assert cost_metadata(cloud, asked.done)["estimated USD"] == round(cloud.usd(10 * MIB), 6)


def test_labels_of_asset_run_and_owner_arrive_on_each_job(cloud):
    with accounted(job_labels(("marts", "sales", "Daily"), "run-1", "team:sales")) as account:
        asked = BigQuery(cloud)
        asked.query("SELECT 1", labels={"check": "is_one"})
    (job,) = account.jobs
    labels = asked.client.get_job(job.id, location=cloud.location).labels
    told = {"asset": "marts-sales-daily", "run": "run-1", "owner": "sales", "check": "is_one"}
    assert labels == told | {"caudal": cloud.datasets.strip("_")}


def test_a_query_above_its_limit_is_refused_and_one_within_it_is_not(asked, cloud):
    sql = f"SELECT sum(amount) FROM `{cloud.table('marts.sales')}`"
    with pytest.raises(BigQueryRefused, match="it would be billed for more bytes than it may") as refused:
        asked.query(sql, what="add it up", maximum_bytes=9 * MIB)
    assert refused.value.reason == "bytesBilledLimitExceeded"
    asked.query(sql, maximum_bytes=11 * MIB)
    with pytest.raises(BigQueryRefused):
        BigQuery(replace(cloud, maximum_bytes=1)).query(sql)


def test_a_step_of_python_sets_aside_each_query_before_it_is_billed_and_no_more_than_the_budget_has(cloud, tmp_path):
    sql, each = f"SELECT sum(amount) FROM `{cloud.table('marts.sales')}`", cloud.usd(10 * MIB)
    spending, budgets = Spending(tmp_path / "spending.db"), {"sales": Budget(usd_per_day=2.5 * each)}
    with accounted({"asset": "a"}) as account:
        account.purse = _purse(cloud, spending, account, budgets["sales"])
        BigQuery(cloud).query(sql)
        with accounted({"asset": "b"}) as another:
            another.purse = _purse(cloud, spending, another, budgets["sales"])
            BigQuery(cloud).query(sql)
            with pytest.raises(
                BudgetUsedUp, match=r"10,485,760 bytes, 0.0001 USD, and the budget of the group `sales` has 0.0000"
            ):
                BigQuery(cloud).query(sql)
        assert (len(account.jobs), len(another.jobs)) == (1, 1)
        BigQuery(cloud).query("SELECT 1")


def _purse(cloud, spending, account, budget):
    reserved = spending.reserve("run", {"sales": 0.0}, {"sales": budget})
    return StepPurse(cloud, spending, reserved, account, "sales", budget, 0.0)


def test_what_is_not_there_has_no_size_and_no_dry_run(asked, cloud):
    sizes = Sizes(asked)
    assert sizes.size("marts.sales") > 0
    assert sizes.size("marts.nothing") is None
    asked.query(f"CREATE VIEW `{cloud.table('marts.seen')}` AS SELECT amount FROM `{cloud.table('marts.sales')}`")
    assert sizes.size("marts.seen") == 8_000_000
    with pytest.raises(NotThere):
        sizes.dry_run(f"SELECT * FROM `{cloud.table('marts.nothing')}`", "look")


def raw_table(cloud: GoogleCloud) -> None:
    asked = BigQuery(cloud)
    asked.client.create_dataset(cloud.dataset("raw"), exists_ok=True)
    asked.query(
        f"CREATE OR REPLACE TABLE `{cloud.table('raw.pos__sales')}` PARTITION BY day AS "
        f"SELECT * FROM `{cloud.table('marts.sales')}`"
    )


def test_a_project_is_priced_by_what_is_there_and_bounded_where_nothing_is(project, cloud):
    manifest = read_manifest(prepare_manifest(project))
    raw_table(cloud)
    nodes, checks = list(manifest.nodes), list(manifest.checks)
    before = {one.asset: one for one in estimate(Sizes(BigQuery(cloud)), manifest, nodes, checks)}
    assert before["staging/pos/stg_pos__sales"].note == "a view: who reads it pays"
    daily = before["marts/sales/daily"]
    assert daily.is_bound
    assert "staging.stg_pos__sales: not built yet" in daily.note
    assert (daily.tests, daily.tests_bytes_billed > 0) == (2, True)

    asked = BigQuery(cloud)
    asked.client.create_dataset(cloud.dataset("staging"), exists_ok=True)
    view, raw = cloud.table("staging.stg_pos__sales"), cloud.table("raw.pos__sales")
    asked.query(f"CREATE OR REPLACE VIEW `{view}` AS SELECT day, sale, amount FROM `{raw}`")
    asked.query(f"CREATE OR REPLACE TABLE `{cloud.table('marts.daily')}` AS SELECT day, amount FROM `{raw}` LIMIT 10")
    after = {one.asset: one for one in estimate(Sizes(BigQuery(cloud)), manifest, nodes, checks)}
    daily = after["marts/sales/daily"]
    # BigQuery reads the two columns that are used of the view's three; the server counts all that the view names.
    assert daily.bytes_processed in (16_000_000, 24_000_000)
    assert (daily.is_bound, daily.note) == (False, "")
    assert daily.tests_bytes_billed == 2 * 10 * MIB
    growing = after["marts/sales/growing"]
    assert growing.note == "the first time: the whole of it"
    asked.query(f"CREATE OR REPLACE TABLE `{cloud.table('marts.growing')}` AS SELECT * FROM `{raw}` LIMIT 10")
    (growing,) = estimate(Sizes(BigQuery(cloud)), manifest, [u for u in nodes if u.endswith("growing")], ())
    assert "with the table that it merges into" in growing.note


def test_a_budget_that_the_estimate_breaks_starts_nothing(project, cloud, tmp_path):
    manifest = read_manifest(prepare_manifest(project))
    raw_table(cloud)
    env = Environment("gcp", "till", tmp_path, tmp_path / "data", cloud=cloud)
    what = [u for u in manifest.nodes if u.endswith(".daily")], list(manifest.checks)
    broken = allow(env, manifest, {"sales": Budget(usd_per_run=0.00001)}, what, "run")
    with pytest.raises(OverBudget, match="That is over the budget: nothing was started"):
        broken.demand()
    allowed = allow(env, manifest, {"sales": Budget(usd_per_run=1)}, what, "run")
    allowed.demand()
    assert allowed.verdicts[0].estimated_usd >= cloud.usd(10 * MIB)


def test_a_model_that_would_be_billed_for_more_than_its_own_limit_starts_nothing(project, cloud, tmp_path):
    manifest = read_manifest(prepare_manifest(project))
    raw_table(cloud)
    env = Environment("gcp", "till", tmp_path, tmp_path / "data", cloud=cloud)
    (limited,) = [u for u in manifest.nodes if u.endswith(".limited")]
    with pytest.raises(OverBudget, match=r"marts/sales/limited would .* its meta\.maximum_bytes is 1,048,576"):
        allow(env, manifest, {}, ([limited], ()), "run").demand()


@pytest.fixture(scope="module")
def bakery(bigquery, gcs, tmp_path_factory):
    """`caudal` in the checkout of a company with a budget, whose sales are in BigQuery and whose marts are not."""
    root = tmp_path_factory.mktemp("bakery") / "checkout"
    shutil.copytree(BAKERY, root, ignore=shutil.ignore_patterns("__pycache__"))
    profile = (DBT / "profiles.yml").read_text()
    (root / "bakery" / "dbt" / "profiles.yml").write_text(profile.replace("shop:", "bakery:", 1))
    budgets = root / "bakery" / "defs" / "budgets" / "defs.yaml"
    budgets.parent.mkdir()
    budgets.write_text(
        "type: caudal.warehouse.bigquery.component.Budgets\nattributes: {budgets: {sales: {usd_per_day: 0.00001}}}\n"
    )
    (root / "bakery" / "defs" / "tasting.py").write_text(
        "import dagster as dg\n\n\n@dg.asset(key=['explore', 'tasted'], deps=[['raw', 'till', 'sales']], group_name='sales')\n"
        "def tasted() -> None: ...\n"
    )
    cloud = bigquery.settings("EU")
    asked = BigQuery(cloud)
    asked.client.create_dataset(cloud.dataset("raw"))
    asked.query(
        f"CREATE TABLE `{cloud.table('raw.till__sales')}` AS SELECT n AS sale_id, 1.5 AS amount FROM UNNEST([1, 2]) AS n"
    )
    environment = os.environ | {
        "CAUDAL_ENV": "gcp",
        "CAUDAL_ROOT": str(root),
        "CAUDAL_DATA": str(root.parent / "data"),
        "CAUDAL_COMPANY": "bakery",
        "CAUDAL_GCP_PROJECT": bigquery.project,
        "CAUDAL_GCP_BUCKET": "lakes",
        "CAUDAL_GCP_DATASETS": cloud.datasets,
        "CAUDAL_GCP_BIGQUERY_URL": bigquery.rest_url,
        "STORAGE_EMULATOR_HOST": gcs.url,
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "ignore",
    }

    def caudal(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "caudal.cli", *arguments]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)

    return caudal


def test_the_plan_of_a_selection_lists_assets_bytes_money_and_what_is_left_of_the_budget(bakery):
    done = bakery("plan", "--cost", "--select", "raw/till/sales+", "--format", "json")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["engine"] == "bigquery"
    lines = {line["asset"]: line for line in told["assets"]}
    assert lines["raw/till/sales"]["note"].startswith("loaded, which is free")
    assert lines["staging/till/stg_till__sales"]["usd"] >= 0
    fct = lines["marts/sales/fct_sales"]
    assert fct["note"].startswith("at most, by the size of what it reads")
    assert fct["bytes_billed"] >= 10 * MIB
    assert fct["last"]["bytes_billed"] is None
    tasted = lines["explore/tasted"]
    assert tasted["bytes_read"] > 0
    assert tasted["usd"] == pytest.approx(tasted["bytes_read"] / 2**40 * 1.1)
    assert tasted["note"].startswith("Python: at most all columns of the tables above it")
    assert told["usd"] == pytest.approx(sum(line["usd"] or 0 for line in lines.values()), abs=1e-5)
    (budget,) = told["budgets"]
    assert (budget["group"], budget["fits"]) == ("sales", False)


def test_the_plan_of_one_asset_is_a_table_for_people(bakery):
    done = bakery("plan", "--cost", "--select", "fct_sales")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "marts/sales/fct_sales" in done.stdout
    assert "in all" in done.stdout
    assert "The group `sales` would spend" in done.stdout
    wrong = bakery("plan", "--cost", "--select", "fct_salse")
    assert wrong.returncode == 2
    assert "is fct_sales" in wrong.stderr
