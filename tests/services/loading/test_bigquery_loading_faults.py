"""What networks, busy servers, other people and `kill -9` do to a load: each row is there once, or a person is told why not."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from caudal.lake.ledger import Ledger
from caudal.store import open_store
from caudal.warehouse.bigquery import parts, raw_tables, service
from caudal.warehouse.bigquery.explained import BigQueryRefused, NotThere
from tests.conftest import ROOT
from tests.services.loading.looking import load
from tests.services.servers import BadNetwork, until

HEADER = "item,units,amount\n"
KILLS = int(os.environ.get("CAUDAL_FAULTS", "4"))
LOADERS: list[subprocess.Popen] = []


@pytest.fixture
def network(bigquery):
    """What stands between the loader and BigQuery."""
    between = BadNetwork(int(bigquery.rest_url.rpartition(":")[2]))
    yield between
    between.release.set()
    between.close()


@pytest.fixture(autouse=True)
def no_loader_outlives_its_test():
    yield
    while LOADERS:
        LOADERS[-1].kill()
        LOADERS.pop().communicate()


@pytest.fixture
def faulty(env, network):
    """The environment, reached through `network`."""
    return replace(env, cloud=replace(env.cloud, bigquery_url=f"http://127.0.0.1:{network.port}"))


@pytest.fixture
def at_once(monkeypatch):
    """Pauses are as short as they can be."""
    monkeypatch.setattr(service, "BUSY_S", 20.0)
    monkeypatch.setattr("google.api_core.retry.exponential_sleep_generator", lambda *_, **__: iter(lambda: 0.01, None))


STEPS = ["GET /bigquery/v2/projects/caudal-tests/datasets", "/tables", "/jobs", "GET /bigquery/v2/projects/caudal-tests/jobs",
         "DELETE"]  # fmt: skip


@pytest.mark.parametrize("fault", ["busy", "lost", "cut"])
def test_a_bad_network_at_any_step_doubles_and_loses_nothing(faulty, network, declare, drop, sold, fault, at_once):
    dataset = declare(on_delete="remove")
    for number, step in enumerate(["nothing", *STEPS]):
        drop("stall/sales/a.csv", HEADER + f"apple,{number},1\n")
        drop(f"stall/sales/{number}.csv", HEADER + f"pear,{number},1\n")
        network.next(fault, step)
        load(faulty, dataset)
        assert sold() == [*((f"{n}.csv", "pear", n) for n in range(number + 1)), ("a.csv", "apple", number)], step
    assert len(network.done) >= len(STEPS) - 1  # A job that is done when it is answered for is not looked at again.


def error(code, reason, message, status=""):
    """As documented at https://cloud.google.com/bigquery/docs/error-messages."""
    told = {"message": message, "domain": "global", "reason": reason}
    return {"error": {"code": code, "message": message, "errors": [told], "status": status}}


def test_a_busy_server_is_asked_again_with_growing_pauses(faulty, network, declare, drop, sold, monkeypatch):
    pauses = []
    monkeypatch.setattr("google.api_core.retry.retry_unary.time.sleep", pauses.append)
    limited = error(429, "rateLimitExceeded", "Exceeded rate limits: too many api requests per user per method.")
    network.answer(429, limited, "POST /bigquery/v2/projects/caudal-tests/jobs", times=4)
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    load(faulty, declare())
    assert sold() == [("a.csv", "apple", 1)]
    assert len([p for p in pauses if p > 0]) >= 4


REFUSALS = {
    "403 on the table": (
        "POST /bigquery/v2/projects/caudal-tests/jobs",
        error(403, "accessDenied", "Access Denied: Table p:d.t: Permission bigquery.tables.updateData denied on table p:d.t"),
        r"into caudal-tests\.t\w+_loading\.stall__sales: the account lacks bigquery\.tables\.updateData.*caudal doctor",
    ),
    "expired credentials": (
        "/tables/stall__sales",
        error(
            401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token", "UNAUTHENTICATED"
        ),
        r"look at the table .*: there are no usable credentials\. Run `gcloud auth application-default login`",
    ),
    "another location": (
        "POST /bigquery/v2/projects/caudal-tests/jobs",
        error(404, "notFound", "Not found: Dataset p:d was not found in location EU"),
        r"was not found in location EU.*The location in use is US",
    ),
    "a schema change that BigQuery refuses": (
        "POST /bigquery/v2/projects/caudal-tests/jobs",
        error(
            400, "invalid", "Provided Schema does not match Table p:d.t. Field units has changed type from INTEGER to STRING"
        ),
        r"Field units has changed type from INTEGER to STRING",
    ),
    "a quota": (
        "POST /bigquery/v2/projects/caudal-tests/jobs",
        error(403, "quotaExceeded", "Quota exceeded: Your project exceeded quota for load jobs per project"),
        r"a quota is used up.*cloud\.google\.com/bigquery/quotas",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_says_what_where_and_why_and_the_files_stay_pending(faulty, network, declare, drop, sold, refusal):
    words, content, told = REFUSALS[refusal]
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    network.answer(content["error"]["code"], content, words, times=9)
    with pytest.raises(BigQueryRefused, match=f"(?s){told}"):
        load(faulty, dataset)
    network.forget()
    load(faulty, dataset)
    assert sold() == [("a.csv", "apple", 1)]


def test_rows_in_a_streaming_buffer_are_told_of(faulty, network, declare, drop, sold):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    load(faulty, dataset)
    drop("stall/sales/a.csv", HEADER + "apple,2,1\n")
    said = "UPDATE or DELETE statement over table p.d.t would affect rows in the streaming buffer, which is not supported"
    network.answer(400, error(400, "invalidQuery", said), "POST /bigquery/v2/projects/caudal-tests/jobs", after=1)
    with pytest.raises(BigQueryRefused, match=r"streamed into the table within the last 90 minutes.*stop the other writer"):
        load(faulty, dataset)
    load(faulty, dataset)
    assert sold() == [("a.csv", "apple", 2)]


def test_a_table_that_had_its_loads_of_the_day_is_written_to_by_a_statement(faulty, network, declare, drop, sold):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    said = "Quota exceeded: Your table exceeded quota for imports or query appends per table"
    network.answer(403, error(403, "quotaExceeded", said), "POST /bigquery/v2/projects/caudal-tests/jobs")
    loaded = load(faulty, dataset)
    assert [job.kind for job in loaded.jobs][:2] == ["load", "query"]
    assert sold() == [("a.csv", "apple", 1)]


def test_a_part_that_vanishes_before_it_is_loaded_is_written_anew_by_the_next_load(env, declare, drop, sold, monkeypatch):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")

    def vanishing(cloud, files, folder):
        urls = upload(cloud, files, folder)
        open_store(cloud.folder("parts")).delete(f"{folder}/00000.parquet")
        return urls

    upload = parts.upload
    with monkeypatch.context() as patched, pytest.raises(NotThere, match=r"Not found: URI gs://.*00000\.parquet"):
        patched.setattr(raw_tables, "upload", vanishing)
        load(env, dataset)
    load(env, dataset)
    assert sold() == [("a.csv", "apple", 1)]


def test_of_a_load_with_one_bad_file_nothing_is_loaded_and_the_file_is_named(env, declare, drop, sold, monkeypatch, tmp_path):
    from caudal.warehouse.parts import normalize_many

    def one_by_one(connection, dataset, files, **given):
        for file in files:
            yield from normalize_many(connection, dataset, [file], **given)

    def damaged(cloud, files, folder):
        bad = tmp_path / "bad.parquet"
        bad.write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
        return upload(cloud, [files[0], bad, *files[2:]], folder)

    upload, dataset = parts.upload, declare()
    monkeypatch.setattr("caudal.warehouse.batch.normalize_many", one_by_one)
    for n in range(3):
        drop(f"stall/sales/{n}.csv", HEADER + f"apple,{n},1\n")
    with monkeypatch.context() as patched, pytest.raises(BigQueryRefused, match=r"load 3 parts.*00001\.parquet"):
        patched.setattr(raw_tables, "upload", damaged)
        load(env, dataset)
    assert sold() == []
    load(env, dataset)
    assert [row[2] for row in sold()] == [0, 1, 2]


def test_a_request_that_arrives_after_its_batch_was_given_up_loads_nothing(faulty, env, network, declare, drop, sold):
    """The loader dies while its request is on its way; the next one must not load the files beside it."""
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    process = started(faulty, dataset, 0)
    network.next("held", "POST /bigquery/v2/projects/caudal-tests/jobs")
    process.kill()
    process.wait(60)
    process = started(faulty, dataset, 1)
    until(lambda: "held" in network.done, 180)
    process.kill()
    process.wait(60)
    load(env, dataset)
    assert sold() == [("a.csv", "apple", 1)]
    before = len(network.answered)
    network.release.set()
    until(lambda: len(network.answered) > before, 180)
    load(env, dataset)
    assert network.answered[-1] == 409
    assert sold() == [("a.csv", "apple", 1)]


def test_a_job_that_succeeds_after_its_client_died_is_not_done_again(faulty, env, network, declare, drop, sold, bigquery):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    network.next("held", "GET /bigquery/v2/projects/caudal-tests/jobs")
    network.next("held", "POST /upload")
    process = started(faulty, dataset, 1)
    posted = "POST /bigquery/v2/projects/caudal-tests/jobs"
    until(lambda: any(posted in r for r in network.requests) and 200 in network.answered[-1:], 180)
    process.kill()
    process.wait(60)
    loaded = load(env, dataset)
    assert sold() == [("a.csv", "apple", 1)]
    assert Ledger(env.state / "ledger.db").totals(dataset.id).files == {"loaded": 1}
    assert len(loaded.files) <= 1


def test_every_row_is_there_once_whatever_is_killed_when(env, declare, drop, ask):
    dataset = declare(path="*", on_delete="remove")
    chance, expected = random.Random(int(os.environ.get("CAUDAL_SEED", "7"))), {}
    for _ in range(KILLS):
        process = started(env, dataset, "over-and-over")
        deadline = time.monotonic() + chance.uniform(0.1, 1.6)
        while time.monotonic() < deadline:
            name, units = f"{chance.randrange(8)}.csv", chance.randrange(1000)
            if chance.random() < 0.2 and name in expected:
                open_store(env.lake_url).delete(f"stall/sales/{name}")
                del expected[name]
            else:
                drop(f"stall/sales/{name}", HEADER + f"apple,{units},1\npear,bad,1\n")
                expected[name] = units
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    for _ in range(2):
        load(env, dataset)
    sql = "SELECT SPLIT(_file, '/')[SAFE_OFFSET(2)], {column} FROM {{t}} ORDER BY 1"
    assert ask(sql.format(column="units"), t="loading.stall__sales") == sorted(expected.items())
    refused = ask(sql.format(column="`column`"), t="quarantine.stall__sales")
    assert refused == [(name, "units") for name in sorted(expected)]
    left = [f.path for f in open_store(env.cloud.folder("parts")).list("")]
    assert left == []


def started(env, dataset, times):
    """A loader that has imported what it needs and begins."""
    cloud = env.cloud
    given = [times, env.data, dataset.contract.path, cloud.bigquery_url, cloud.bucket, cloud.datasets, cloud.project]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.services.loading.loader", *map(str, given)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    LOADERS.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
