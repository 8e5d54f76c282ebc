"""`/metrics`: true figures, read by Prometheus' own parser, at a price that nobody notices."""

import time
from datetime import UTC, datetime

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from caudal.lake.ledger import Ledger
from caudal.lake.records import Outcome
from caudal.lake.watch import DATASETS_TAG
from caudal.runtime import metrics
from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.facts import Ended, Facts, Problem, Target
from caudal.runtime.alerts.settings import Settings
from caudal.runtime.tallies import Increase, Tallies
from caudal.store import LakeObject
from caudal.warehouse.bigquery.spending import Spending, Spent


@pytest.fixture(autouse=True)
def no_old_answer():
    metrics._answers.clear()
    metrics._assets.clear()


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def on_disk(tmp_path):
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield instance


def scrape(instance, env):
    """Every sample, by name and labels."""
    metrics._answers.clear()
    text = metrics.render(instance, env).decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return samples


@dg.op
def work(context):
    if context.run.tags.get("fail"):
        raise RuntimeError("broken")


@dg.job
def nightly():
    work()


def test_runs_are_counted_once_by_job_and_status_and_never_fall(instance, env):
    for fail in ("", "", "yes"):
        nightly.execute_in_process(instance=instance, raise_on_error=False, tags={"fail": fail})
    first = scrape(instance, env)
    again = scrape(instance, env)
    for samples in (first, again):
        assert samples["caudal_runs_total", (("job", "nightly"), ("status", "success"))] == 2
        assert samples["caudal_runs_total", (("job", "nightly"), ("status", "failure"))] == 1
        assert samples["caudal_run_duration_seconds_count", (("job", "nightly"),)] == 3
        assert samples["caudal_run_duration_seconds_bucket", (("job", "nightly"), ("le", "+Inf"))] == 3
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    nightly.execute_in_process(instance=instance)
    assert scrape(instance, env)["caudal_runs_total", (("job", "nightly"), ("status", "success"))] == 3


def test_more_runs_than_are_counted_at_one_time_are_counted_by_the_next_ones(instance, env, monkeypatch):
    monkeypatch.setattr("caudal.runtime.run_counts.RUNS_AT_ONCE", 3)
    for _ in range(5):
        instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.FAILURE)
    key = ("caudal_runs_total", (("job", "nightly"), ("status", "failure")))
    assert [scrape(instance, env)[key] for _ in range(3)] == [3, 5, 5]


def test_two_servers_that_count_the_same_runs_count_them_once(env):
    tallies = Tallies(env.state / "metrics.db")
    increase = Increase()
    increase.add("runs", ("nightly", "success"))
    assert tallies.add({"one": 1.0}, 1.0, 10.0, increase)
    assert not tallies.add({"one": 1.0, "two": 2.0}, 2.0, 10.0, increase)
    assert tallies.read(["runs"]) == {"runs": {("nightly", "success"): 1.0}}


def nightly_origin():
    from dagster._core.definitions.reconstruct import reconstructable

    return reconstructable(nightly).get_python_origin()


def test_the_queue_is_told_by_its_depth_and_how_long_the_first_has_waited(instance, env):
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("shop"), "__repository__"), "nightly")
    status = dg.DagsterRunStatus
    for each in (status.QUEUED, status.QUEUED, status.STARTED):
        instance.create_run_for_job(nightly, status=each, remote_job_origin=origin, job_code_origin=nightly_origin())
    samples = scrape(instance, env)
    assert samples["caudal_queue_depth", ()] == 2
    assert 0 <= samples["caudal_queue_oldest_seconds", ()] < 60
    assert samples["caudal_runs_in_progress", (("status", "started"),)] == 1


@dg.asset(key=dg.AssetKey(["raw", "stall", "sales"]))
def raw_sales():
    pass


@dg.asset(key=dg.AssetKey(["marts", "sales", "daily"]), deps=[raw_sales])
def daily():
    pass


def test_rows_files_and_the_time_from_file_to_mart_come_from_the_ledger(instance, env, declare):
    dataset = declare()
    ledger = Ledger(env.state / "ledger.db")
    ledger.see(dataset, [LakeObject("stall/sales/a.csv", "1", 9), LakeObject("stall/sales/a.txt", "1", 9)])

    @dg.asset(key=dg.AssetKey(["raw", "stall", "sales"]))
    def load(context):
        batch = ledger.claim(dataset, context.run.run_id, 10)
        ledger.prepare(batch, [Outcome("stall/sales/a.csv", 10, 7, 3)])
        ledger.finish(batch.number)

    dg.materialize([load, daily], instance=instance, tags={DATASETS_TAG: "stall/sales"})
    samples = scrape(instance, env)
    of_dataset = (("dataset", "stall/sales"),)
    assert samples["caudal_rows_loaded", of_dataset] == 7
    assert samples["caudal_rows_rejected", of_dataset] == 3
    assert samples["caudal_files", (*of_dataset, ("state", "loaded"))] == 1
    assert samples["caudal_files", (*of_dataset, ("state", "quarantined"))] == 1
    mart = (("asset", "marts/sales/daily"),)
    assert samples["caudal_file_to_mart_seconds_count", mart] == 1
    made = instance.get_latest_materialization_event(daily.key).timestamp
    seen = ledger_seen_at(env)
    assert samples["caudal_file_to_mart_seconds_sum", mart] == pytest.approx(made - seen, abs=0.01)


def ledger_seen_at(env):
    from caudal.store.sqlite import reading

    with reading(env.state / "ledger.db") as db:
        (at,) = db.execute("SELECT seen_at FROM file WHERE path LIKE '%a.csv'").fetchone()
    return datetime.fromisoformat(at).astimezone(UTC).timestamp()


def test_assets_tell_their_age_and_whether_they_are_late(instance, env):
    dg.materialize([raw_sales, daily], instance=instance)
    late = Problem("late", "marts/sales/daily", "old", cause="late", upstream=frozenset({"marts/sales/daily"}))
    Book.of(env).look(Facts(holding={"late": [late]}), Settings(), time.time())
    samples = scrape(instance, env)
    assert 0 <= samples["caudal_asset_age_seconds", (("asset", "raw/stall/sales"),)] < 60
    assert samples["caudal_asset_late", (("asset", "marts/sales/daily"),)] == 1


def test_open_incidents_and_failing_checks_are_told(instance, env):
    failed = Problem("run", "a", "x", targets=(Target("a"),), at_s=time.time())
    check = Problem("check", "a: positive", "x", cause="failed")
    Book.of(env).look(Facts(ended=[Ended("1", 1.0, problems=(failed,))], holding={"check": [check]}), Settings(), time.time())
    samples = scrape(instance, env)
    assert samples["caudal_incidents_open", (("kind", "run"),)] == 1
    assert samples["caudal_check_failing", (("check", "a: positive"),)] == 1


def test_what_bigquery_billed_is_told_by_asset_group_and_only_rises(instance, env):
    assert not [name for name, _ in scrape(instance, env) if name == "caudal_bytes_billed_total"]
    spending = Spending.of(env)
    spending.count("run", [Spent("a", "sales", "marts/sales/daily", 2**40, 6.25), Spent("b", "web", "marts/web/visits", 10, 0)])
    spending.count("again", [Spent("a", "sales", "marts/sales/daily", 2**40, 6.25)])
    samples = scrape(instance, env)
    assert samples["caudal_bytes_billed_total", (("group", "sales"),)] == 2**40
    assert samples["caudal_billed_usd_total", (("group", "sales"),)] == 6.25
    assert samples["caudal_bigquery_jobs_total", (("group", "web"),)] == 1


def test_heartbeats_of_daemons_are_told_by_age_and_all_of_a_real_home_can_be_read(on_disk, env):
    instance = on_disk
    from dagster._daemon.types import DaemonHeartbeat

    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 30, "SENSOR", "id", []))
    samples = scrape(instance, env)
    assert 30 <= samples["caudal_daemon_heartbeat_age_seconds", (("daemon", "sensor"),)] < 60
    assert samples["caudal_metrics_failed", ()] == 0


def test_what_cannot_be_read_is_left_out_and_said_so(on_disk, env):
    instance = on_disk
    env.state.mkdir(parents=True)
    (env.state / "ledger.db").write_text("no database")
    samples = scrape(instance, env)
    assert samples["caudal_metrics_failed", ()] == 1
    assert ("caudal_queue_depth", ()) in samples


def test_an_answer_is_given_again_for_some_seconds(instance, env):
    assert metrics.render(instance, env) is metrics.render(instance, env)
