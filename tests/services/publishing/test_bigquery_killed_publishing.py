"""kill -9 while a candidate is published in BigQuery, scripts that stop half-way, and another machine."""

import dataclasses
import signal
import subprocess
import sys

import pyarrow as pa
import pytest

from caudal.warehouse import versions
from caudal.warehouse.bigquery import names, publishing
from caudal.warehouse.bigquery import versions as in_bigquery
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import open_candidate, publish_tables, published_version
from tests.conftest import ROOT
from tests.services.in_bigquery import datasets, snapshots

DYING = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery import service
from caudal.warehouse.candidate import publish_tables

url, project, prefix, data, step, before = sys.argv[1:]
run = service.BigQuery._run

def dying(self, what, *arguments):
    if what.startswith(step) and before == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    if what.startswith(step) and before == "while":  # It is under way, and nobody waits for it.
        self.client.query = (lambda query: lambda *a, **k: (query(*a, **k), os.kill(os.getpid(), signal.SIGKILL)))(self.client.query)
    done = run(self, what, *arguments)
    if what.startswith(step):
        os.kill(os.getpid(), signal.SIGKILL)
    return done

service.BigQuery._run = dying
cloud = GoogleCloud(project, "US", "lakes", prefix, bigquery_url=url)
env = Environment("gcp", "shop", Path("."), Path(data), cloud=cloud)
publish_tables(env, {f"marts.{name}": pa.table({"n": [2]}) for name in "abc"})
"""


@pytest.mark.parametrize(
    ("step", "moment", "whole"),
    [
        ("keep", "before", False),
        ("keep", "after", False),
        ("announce", "after", True),
        ("publish", "while", True),
        ("publish", "after", True),
    ],
)
def test_what_a_killed_publisher_began_to_show_is_shown_by_the_next_candidate_and_nothing_else(
    env, seen, bigquery, step, moment, whole
):
    first = publish_tables(env, {f"marts.{name}": pa.table({"n": [1]}) for name in "abc"})
    command = [
        sys.executable,
        "-c",
        DYING,
        bigquery.rest_url,
        bigquery.project,
        env.cloud.datasets,
        str(env.data),
        step,
        moment,
    ]
    died = subprocess.run(command, cwd=ROOT / "platform", capture_output=True, text=True, timeout=300, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    for name in "abc":
        assert seen(f"marts.{name}") in ([(1,)], [(2,)])

    with open_candidate(env) as candidate:
        assert (candidate.parent == first) is not whole
    assert [seen(f"marts.{name}") for name in "abc"] == [[(2 if whole else 1,)]] * 3
    assert len(versions.kept(env)) == 1 + whole
    assert datasets(env, "candidate_") == []
    third = publish_tables(env, {"marts.a": pa.table({"n": [3]})})
    assert published_version(env) == third
    kept = {relation.since for each in versions.kept(env) for relation in each.record.relations.values()}
    assert {name.rsplit("__", 1)[1] for name in snapshots(env)} == kept


def test_a_script_that_stopped_between_two_tables_is_run_to_its_end(env, seen):
    first = publish_tables(env, {"marts.a": pa.table({"n": [1]}), "marts.b": pa.table({"n": [1]})})
    service = BigQuery(env.cloud)
    record = dataclasses.replace(versions.named(env, first), version="29990101T000000000000Z", parent=first)
    shown = publishing.Shown(
        {"marts.a": names.snapshot(env.cloud, "marts.a", first), "marts.b": "caudal-tests.nowhere.b"}, {}, {}
    )
    with pytest.raises(publishing.StuckPublishing, match=r"shown to readers in part"):
        publishing.publish(service, record, shown)
    with pytest.raises(publishing.StuckPublishing), open_candidate(env):
        pass
    assert published_version(env) == first

    service.client.create_dataset("nowhere", exists_ok=True)
    service.query("CREATE TABLE nowhere.b AS SELECT 9 AS n")
    with open_candidate(env) as candidate:
        assert candidate.parent == record.version
    assert (seen("marts.a"), seen("marts.b")) == ([(1,)], [(9,)])
    assert in_bigquery.unfinished(service) == []


def test_who_was_overtaken_on_another_machine_publishes_nothing(env, tmp_path, seen):
    elsewhere = dataclasses.replace(env, data=tmp_path / "elsewhere")
    with open_candidate(env) as slow:
        slow.write({"marts.a": pa.table({"n": [1]})})
        publish_tables(elsewhere, {"marts.a": pa.table({"n": [2]})})
        with pytest.raises(publishing.Overtaken, match="another process has published"):
            slow.publish(["marts.a"])
    assert seen("marts.a") == [(2,)]
