"""`caudal verify gcp` and `caudal doctor` against servers in the place of Google's: what they answer passes, and only that."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from caudal.environment import Environment, checkout
from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor.checks import State
from caudal.runtime.doctor.examining import examined
from caudal.runtime.verify import ground
from caudal.runtime.verify.steps import Outcome, good
from caudal.runtime.verify.trial import told, verified
from caudal.warehouse.bigquery.service import BigQuery
from tests.discovery import wrong_with_request
from tests.documented import documented
from tests.services.servers import BadNetwork, until


class Recorded(BadNetwork):
    """A network that writes down what of each request Google's interfaces do not describe."""

    def __init__(self, upstream: int) -> None:
        super().__init__(upstream)
        self.methods: set[str] = set()
        self.misfits: list[str] = []

    def pass_on(self, handler) -> None:
        read = handler.rfile.read
        handler.rfile.read = lambda length: self.written_down(handler, read(length))
        super().pass_on(handler)

    def written_down(self, handler, content: bytes) -> bytes:
        kind = handler.headers.get("Content-Type", "")
        text = content
        if kind.startswith("multipart/related"):
            text = content.split(b"\r\n\r\n")[1].rpartition(b"\r\n--")[0]
        is_document = text.lstrip().startswith(b"{") and not handler.path.startswith("/upload/storage")
        self.misfits += wrong_with_request(handler.command, handler.path, json.loads(text) if is_document else None)
        self.methods.add(f"{handler.command} {urlsplit(handler.path).path.rpartition('/')[2][:12]}")
        return content


@pytest.fixture
def cloud(gcs, bigquery, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    return GoogleCloud(
        bigquery.project,
        "US",
        gcs.bucket(),
        "shop_",
        bigquery_url=bigquery.rest_url,
        bigquery_read_host=bigquery.grpc_address,
    )


@pytest.fixture
def recorded(bigquery) -> Iterator[Recorded]:
    network = Recorded(urlsplit(bigquery.rest_url).port)
    yield network
    network.close()


def datasets(bigquery) -> list[str]:
    return [d.dataset_id for d in bigquery.client().list_datasets() if d.dataset_id.startswith("caudal_verify_")]


def test_what_the_servers_can_show_passes_the_rest_is_not_answered_and_every_request_is_a_documented_one(
    cloud, bigquery, recorded
):
    through = replace(cloud, bigquery_url=f"http://127.0.0.1:{recorded.port}")
    results = list(verified(through, own_bucket=False))
    assert [told(r) for r in results if r.outcome is Outcome.FAILED] == []
    assert [r.name for r in results if r.outcome is Outcome.NOT_ANSWERED] == ["free load", "location", "policy tag"]
    assert [r.name for r in results if r.outcome is Outcome.PASSED] == [
        "bucket", "load", "load once", "bad file", "evolve", "replace",
        "cost", "limit", "partition filter", "rows",
        "publish", "versions", "time travel", "Storage Read",
    ]  # fmt: skip
    assert good(results)
    assert sorted(set(recorded.misfits)) == []
    assert {"POST jobs", "POST datasets", "POST tables", "GET tables"} <= recorded.methods
    billed = [job.total_bytes_billed or 0 for job in bigquery.client().list_jobs(all_users=True) if job.job_type == "query"]
    assert 0 < sum(billed) < 400 * 2**20, f"{sum(billed):,} bytes by {len(billed)} queries: correct docs/guide/google-cloud.md"
    assert datasets(bigquery) == []
    assert [blob.name for blob in ground.storage(cloud).list_blobs(cloud.bucket)] == []


def test_what_a_killed_run_left_is_removed_by_a_later_one_and_nothing_else(cloud, bigquery, gcs, tmp_path):
    variables = {
        "STORAGE_EMULATOR_HOST": gcs.url,
        "CAUDAL_GCP_BIGQUERY_URL": cloud.bigquery_url,
        "CAUDAL_GCP_BIGQUERY_READ_HOST": cloud.bigquery_read_host,
        "CAUDAL_ROOT": str(checkout()),
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "caudal.cli", "verify", "gcp", "--project", cloud.project, "--location", "US"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        run = subprocess.Popen([*command, "--bucket", cloud.bucket], env=os.environ | variables, stdout=output, stderr=output)
    try:
        until(lambda: "passed: load (" in log.read_text(), 180, unless=lambda: run.poll() is not None)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait(60)
    assert len(datasets(bigquery)) >= len(ground.SCHEMAS)
    labels = bigquery.client().get_dataset(datasets(bigquery)[0])
    assert labels.labels["caudal_verify"] == "temporary"
    assert labels.default_table_expiration_ms == 3_600_000
    gcs.put(f"gs://{cloud.bucket}/shop/lake/kept.csv", b"a")
    service = BigQuery(cloud)
    assert ground.leftovers(service) == []  # it may be going on, for all that is known
    gone = ground.leftovers(service, now=time.time() + ground.LASTS_S + 60)
    assert {name.partition(" ")[0] for name in gone} == {"dataset", "object"}
    assert datasets(bigquery) == []
    assert [blob.name for blob in ground.storage(cloud).list_blobs(cloud.bucket)] == ["shop/lake/kept.csv"]


def test_a_step_that_fails_is_told_with_the_reason_and_the_others_go_on():
    from caudal.runtime.verify.steps import Step, expect, run

    class Place:
        is_google = True
        service = BigQuery(GoogleCloud("acme-data", "EU", "b", "x_"))

    steps = [Step("one", "it holds", lambda _: expect(1, 2, "ones")), Step("two", "it holds too", lambda _: "all well")]
    results = list(run(steps, Place()))
    assert [(r.outcome, r.found) for r in results] == [
        (Outcome.FAILED, "Disproved: ones: found 1, expected 2"),
        (Outcome.PASSED, "all well"),
    ]
    assert not good(results)


def test_the_doctor_looks_at_another_server_as_far_as_that_answers(cloud, bigquery, tmp_path):
    client = bigquery.client()
    prefix = f"doc{os.getpid()}_"
    client.create_dataset(f"{prefix}marts")
    client.query_and_wait(f"CREATE TABLE {prefix}marts.daily AS SELECT 1 AS n")
    env = Environment("gcp", "shop", checkout(), tmp_path, cloud=replace(cloud, datasets=prefix))
    checks = {check.name: check for check in examined(env)}
    assert [name for name, check in checks.items() if check.state is State.FAILED] == []
    skipped = {name for name, check in checks.items() if check.state is State.SKIPPED}
    assert skipped == {"credentials", "clock", "APIs", f"project {cloud.project}"}
    assert checks["BigQuery jobs"].state is State.OK
    assert checks[f"dataset {cloud.project}.{prefix}marts"].found == "in US"
    assert checks["Storage Read"].found == f"{prefix}marts.daily can be read"
    assert re.match(r"in .*; datasets are in US", checks[f"bucket gs://{cloud.bucket} (lake, parts, logs, snapshots)"].found)


def test_the_doctor_finds_a_bucket_that_is_not_there_and_a_dataset_elsewhere(cloud, bigquery, tmp_path):
    from google.cloud.bigquery import Dataset

    made = Dataset(f"{cloud.project}.far{os.getpid()}_raw")
    made.location = "EU"
    bigquery.client().create_dataset(made)
    settings = replace(cloud, datasets=f"far{os.getpid()}_", bucket="nowhere-at-all")
    env = Environment("gcp", "shop", checkout(), tmp_path, cloud=settings)
    found = {check.name: check for check in examined(env) if check.state is State.FAILED}
    assert list(found) == [
        "bucket gs://nowhere-at-all (lake, parts, logs, snapshots)",
        f"dataset {cloud.project}.far{os.getpid()}_raw",
    ]
    assert (
        found["bucket gs://nowhere-at-all (lake, parts, logs, snapshots)"].to_do[0].startswith("gcloud storage buckets create")
    )


def test_a_bucket_of_its_own_is_made_and_removed_where_none_is_named(cloud, bigquery, monkeypatch):
    answers = {"POST /storage/v1/b": lambda body: body, "GET /storage/v1/b": {"items": []}, "DELETE /storage/v1/b": {}}
    with documented(answers) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with ground.prepared(cloud, checkout(), own_bucket=True) as place:
            assert place.cloud.bucket.startswith("caudal-verify-")
    made, *_, removed = server.asked
    assert made[1]["name"] == place.cloud.bucket
    assert made[1]["location"] == "US"
    assert removed[0].startswith(f"DELETE /storage/v1/b/{place.cloud.bucket}?")
    assert datasets(bigquery) == []


def test_buckets_that_killed_runs_made_are_removed_and_other_peoples_are_not(cloud, monkeypatch):
    past, future = "caudal-verify-1700000000-abc123", f"caudal-verify-{int(time.time()) + 600}-abc123"
    listed = {"items": [{"name": name, "id": name} for name in (past, future, "caudal-verify-of-somebody")]}
    answers = {
        "GET /storage/v1/b": listed,
        f"GET /storage/v1/b/{past}": {"name": past},
        f"GET /storage/v1/b/{past}/o": {"items": [{"name": "a", "bucket": past}]},
        f"DELETE /storage/v1/b/{past}": {},
        f"DELETE /storage/v1/b/{past}/o/a": {},
    }
    with documented(answers) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        assert ground.leftovers(BigQuery(replace(cloud, bucket=""))) == [f"bucket {past}"]
    assert [request for request, _ in server.asked if request.startswith("DELETE")][-1].startswith(
        f"DELETE /storage/v1/b/{past}?"
    )
