"""The whole way of the reference company in `gcp`: lake, raw tables, dbt's candidate, what is published; beside the local one.

Two runs of Dagster in each environment, on the same files: at first some days are missing, then they come. What is published
must be the same rows in both, in BigQuery with the large models built by the day.
"""

import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from caudal.environment import Environment
from caudal.runtime.location import load_definitions
from caudal.store import open_store
from caudal.transform.incremental import _UNTIL as BUILT_OF
from caudal.warehouse import versions
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.held_back import held
from caudal.warehouse.published import read_arrow
from shop.completejourney import Extent
from tests.conftest import ROOT
from tests.shop.conftest import needs_quickstart

__all__ = ["needs_quickstart"]

#: Three weeks of a hundred households: the servers take the time, not the rows.
EXTENT = Extent(last=date(2017, 1, 22), households=100)
LATE = ("2017-01-05", "2017-01-22")
LARGE = ("marts.fct_basket_lines", "marts.fct_baskets", "marts.daily_sales", "marts.daily_totals")
MADE = ("lake", "raw", "quarantine", "staging", "marts")


@dataclass
class Company:
    """The shop in one environment, with an instance of its own.

    Attributes:
        variables: of the process while it runs.
        results: of its runs.

    """

    root: Path
    variables: dict[str, str]
    landed: Path
    results: list[Any] = field(default_factory=list)

    @contextmanager
    def within(self) -> Iterator[Environment]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [n for n in os.environ if n.startswith("CAUDAL_")]:
                patch.delenv(name)
            for name, value in {"CAUDAL_DATA": str(self.root / "data"), "CAUDAL_ROOT": str(ROOT), **self.variables}.items():
                patch.setenv(name, value)
            yield Environment.current("shop")

    def refresh(self, without: tuple[str, ...] = ()) -> None:
        """Have the lake hold what landed, but for these days, and make all that is made of it, in a run."""
        with self.within() as env, dg.DagsterInstance.local_temp(str(self.root)) as instance:
            shutil.copytree(self.landed / "sources", env.home / "sources", dirs_exist_ok=True)
            store, lake = open_store(env.lake_url), self.landed / "lake"
            for file in sorted(f for f in lake.rglob("*") if f.is_file() and f.stem not in without):
                with store.write(str(file.relative_to(lake)), keep_same=True) as temporary:
                    temporary.write_bytes(file.read_bytes())
            defs = load_definitions("shop")
            job = defs.resolve_implicit_global_asset_job_def()
            keys = [spec.key for spec in defs.resolve_all_asset_specs()]
            extracted = [key for key in keys if key.path[:2] == ["lake", "product_db"]]
            assert job.execute_in_process(instance=instance, asset_selection=extracted).success
            made = [key for key in keys if key.path[0] in MADE and key not in extracted]
            self.results.append(job.execute_in_process(instance=instance, asset_selection=made, raise_on_error=False))

    def metadata(self, relation: str, run: int) -> dict[str, Any]:
        """What the materialization of a mart says."""
        told = {e.asset_key.path[-1]: e.materialization.metadata for e in self.results[run].get_asset_materialization_events()}
        return {name: each.value for name, each in told[relation.removeprefix("marts.")].items()}


@pytest.fixture(scope="module")
def companies(needs_quickstart, gcs, bigquery, tmp_path_factory) -> tuple[Company, Company]:
    """Here and in the cloud, after both runs."""
    from shop import quickstart

    root = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, "SAMPLE", EXTENT)
        quickstart.land(root / "landed", sample=True)
    there = {
        "CAUDAL_ENV": "gcp",
        "CAUDAL_GCP_PROJECT": bigquery.project,
        "CAUDAL_GCP_BUCKET": gcs.bucket(),
        "CAUDAL_GCP_DATASETS": f"t{uuid.uuid4().hex[:8]}_",
        "CAUDAL_GCP_BIGQUERY_URL": bigquery.rest_url,
        "CAUDAL_GCP_BIGQUERY_READ_HOST": bigquery.grpc_address,
        "STORAGE_EMULATOR_HOST": gcs.url,
    }
    both = Company(root / "here", {"CAUDAL_ENV": "local"}, root / "landed"), Company(root / "there", there, root / "landed")
    for company in both:
        company.root.mkdir()
        company.refresh(without=LATE)
        company.refresh()
    return both


def failures(result: Any) -> list[str]:
    return [str(event.event_specific_data.error_display_string) for event in result.all_events if event.is_step_failure]


def test_what_does_not_agree_with_finance_yet_is_held_back_and_all_else_is_published(companies):
    for company in companies:
        (told,) = failures(company.results[0])
        assert "weekly_close_reconciles" in told
        assert failures(company.results[1]) == []
        with company.within() as env:
            assert held(env) == {}


def test_both_publish_the_same_rows(companies, bigquery, capsys):
    (here, there), told, wrong = companies, [], {}
    with here.within() as local:
        record = versions.named(local, versions.current(local) or "")
        tables = sorted(n for n, r in record.relations.items() if n.startswith("marts.") and r.kind == "TABLE")
        ours = {name: read_arrow(local, f"SELECT * FROM {name}") for name in tables}
    with there.within() as env:
        client = BigQuery(env.cloud).client
        theirs = {n: client.list_rows(env.cloud.table(n)).to_arrow(bqstorage_client=bigquery.reader()) for n in tables}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in tables:
            connection.register("ours", ours[name])
            connection.register("theirs", theirs[name])
            only = "SELECT * FROM (SELECT * FROM {} EXCEPT ALL SELECT * FROM {}) LIMIT 5"
            different = [
                *connection.execute(only.format("ours", "theirs")).fetchall(),
                *connection.execute(only.format("theirs", "ours")).fetchall(),
            ]
            told.append(f"{name:32} {ours[name].num_rows:>8,} {theirs[name].num_rows:>8,} {len(different):>6}")
            if different:
                wrong[name] = different
    with capsys.disabled():
        print(f"\n{'published':32} {'local':>8} {'bigquery':>8} {'differ':>6}", *told, sep="\n")
    assert wrong == {}
    assert len(tables) == 10
    assert all(ours[name].num_rows for name in LARGE)


def test_the_second_run_built_the_days_that_came_and_says_of_what_each_large_model_is_built(companies, capsys):
    _, there = companies
    with there.within() as env:
        first, second = (each.record for each in versions.kept(env)[-2:])
        made = defaultdict(list)
        for job in BigQuery(env.cloud).client.list_jobs(max_results=2000):
            asset = job.labels.get("asset", "")
            if getattr(job, "statement_type", None) in ("MERGE", "CREATE_TABLE_AS_SELECT"):
                made[asset].append((job.created, job.statement_type, job.query, job.total_bytes_processed))
    for relation in LARGE:
        before, after = (BUILT_OF.fullmatch(record.relations[relation].definition) for record in (first, second))
        assert before[1] == after[1] == "raw.pos__transactions"
        assert int(before[2]) < int(after[2])
        assert before[3] == after[3]
        whole, days = sorted(made[f"marts-sales-{relation.removeprefix('marts.')}"])
        assert (whole[1], days[1]) == ("CREATE_TABLE_AS_SELECT", "MERGE")
        assert all(f"date '{day}'" in days[2] for day in LATE)
        assert "date '2017-01-10'" not in days[2]
        with capsys.disabled():
            print(f"{relation:32} whole {whole[3]:>10,} bytes, two late days {days[3]:>10,}")
