"""A dbt process that is killed while BigQuery works for it: its job is ended, and the build says what it was about."""

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import caudal.transform.build as building
from caudal.transform.build import BuildError
from caudal.transform.project import Project
from tests.services.both_engines import Engines, make_datasets
from tests.services.servers import until

DBT = Path(__file__).parents[2] / "dbt"

#: Takes the server minutes.
SLOW = """
select count(*) as n from unnest(generate_array(1, 100000)) as a cross join unnest(generate_array(1, 2000000)) as b
where mod(a * b, 7) = 3
"""


@pytest.fixture
def engines(bigquery, tmp_path) -> Engines:
    """A project of one model that takes long."""
    folder = tmp_path / "dbt"
    (folder / "models").mkdir(parents=True)
    shutil.copytree(DBT / "macros", folder / "macros")
    shutil.copy(DBT / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text(
        "name: shop\nprofile: shop\nmodels: {shop: {+schema: marts, +materialized: table}}\n"
    )
    (folder / "models" / "slow.sql").write_text(SLOW)
    cloud = bigquery.settings("EU")
    there = Project(folder, tmp_path / "there", target="bigquery", cloud=cloud)
    made = Engines(cloud, Project(folder, tmp_path / "here"), there, tmp_path / "warehouse.duckdb")
    make_datasets(made, made.candidate)
    return made


def test_what_a_killed_dbt_process_had_running_is_ended(engines, monkeypatch):
    client, processes, start = engines.service.client, [], building.start

    def started(*arguments, **given):
        processes.append(start(*arguments, **given))
        return processes[-1]

    def running():
        return [job.job_id for job in client.list_jobs(state_filter="running") if job.labels.get("node") == "slow"]

    manifest = engines.manifests[1]
    placement = engines.placement(manifest)
    monkeypatch.setattr(building, "start", started)
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(building.build, engines.there, manifest, database=placement)
        until(running, within_s=240, unless=built.done)
        (job_id,) = running()
        os.kill(processes[-1].pid, signal.SIGKILL)
        killed = time.monotonic()
        with pytest.raises(BuildError, match="Nothing of this build is kept"):
            built.result(timeout=60)
    until(lambda: client.get_job(job_id, location=engines.cloud.location).state == "DONE", within_s=120)
    job = client.get_job(job_id, location=engines.cloud.location)
    assert job.error_result["reason"] == "stopped"
    assert time.monotonic() - killed < 60, "it was ended, and did not come to its own end"
