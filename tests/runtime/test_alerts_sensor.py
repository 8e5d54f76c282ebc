"""Alerts in Dagster: real runs on a real instance, seen by the sensor, told once and taken back."""

import shutil
import time
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from caudal.lake.ledger import Ledger
from caudal.runtime.alerts import delivery
from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.conditions import failing_checks
from caudal.runtime.alerts.sensor import alerts_sensor
from caudal.runtime.alerts.settings import Growth, Settings
from caudal.runtime.observation import Subject


@dataclass
class World:
    """What the assets do, and one instance for them."""

    env: object
    instance: dg.DagsterInstance
    settings: Settings
    datasets: tuple = ()
    broken: dict = field(default_factory=dict)
    failing_checks: dict = field(default_factory=dict)
    later_s: float = 0.0

    def __post_init__(self):
        world = self

        def work(name):
            if name in world.broken:
                raise RuntimeError(world.broken[name])

        @dg.asset(key=dg.AssetKey(["raw", "sales"]), owners=["team:lake"])
        def raw_sales():
            work("raw/sales")

        @dg.asset(
            key=dg.AssetKey(["marts", "daily"]),
            deps=[raw_sales],
            owners=["team:analytics"],
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
        )
        def daily():
            work("marts/daily")

        @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]), key=dg.AssetKey(["raw", "parts"]))
        def parts(context):
            work(f"raw/parts {context.partition_key}")

        @dg.op
        def step():
            work("nightly")

        @dg.job
        def nightly():
            step()

        @dg.asset_check(asset=daily, blocking=True)
        def positive():
            severity = world.failing_checks.get("positive")
            return dg.AssetCheckResult(
                passed=severity is None, severity=severity or dg.AssetCheckSeverity.ERROR, description="-1 < 0"
            )

        sensor = alerts_sensor(self.env, self.datasets, self.settings, running=True, clock=lambda: time.time() + self.later_s)
        self.definitions = dg.Definitions([raw_sales, daily, parts], [], [sensor], jobs=[nightly], asset_checks=[positive])
        self.repository = self.definitions.get_repository_def()

    def run(self, *assets, partition=None, job=None, tags=None, checks=True):
        definition = self.repository.get_job(job or "__ASSET_JOB")
        if assets:
            keys = [dg.AssetKey(a.split("/")) for a in assets]
            chosen = {c for c in self.repository.asset_graph.asset_check_keys if c.asset_key in keys} if checks else set()
            definition = definition.get_subset(asset_selection=set(keys), asset_check_selection=chosen)
        result = definition.execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False, tags=tags or {}
        )
        return result.run_id

    def tick(self):
        context = dg.build_sensor_context(instance=self.instance, repository_def=self.repository)
        return self.repository.get_sensor_def("alerts").evaluate_tick(context)

    @property
    def open(self):
        return sorted((i.kind, i.subject, i.count) for i in Book.of(self.env).incidents())


@pytest.fixture
def told(monkeypatch):
    """What was sent: (channel, title)."""
    sent = []
    monkeypatch.setattr(delivery, "send_now", lambda channel, what: sent.append((channel.name, what)))
    return sent


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty instance, whose databases are made once and copied for each test."""
    folder = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
    return folder


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def on_disk(env, tmp_path, home):
    """A world on a real home, as `caudal up` has one."""
    shutil.copytree(home, tmp_path / "home")
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield World(env, instance, Settings(ui_url="https://dagster.example"))


@pytest.fixture
def world(env, instance):
    return World(env, instance, Settings(ui_url="https://dagster.example"))


def titles(told):
    return [what.title for _, what in told]


def test_ten_runs_that_fail_for_one_cause_are_one_message_and_one_more_when_it_is_over(world, told):
    for number in range(10):
        world.broken["raw/sales"] = f"no space left on /data/{number}/part-{number}.parquet"
        last = world.run("raw/sales")
        if number in {0, 4}:
            world.tick()
    world.tick()
    assert titles(told) == ["Failed: raw/sales"]
    text = told[0][1].text
    assert "no space left on /data/0/part-0.parquet" in text
    assert "Owner: team:lake" in text
    assert "https://dagster.example/runs/" in text
    assert world.open == [("run", "raw/sales", 10)]
    assert Book.of(world.env).incidents()[0].link == f"/runs/{last}"
    world.broken.clear()
    world.run("raw/sales")
    world.tick()
    world.tick()
    assert titles(told) == ["Failed: raw/sales", "Resolved: raw/sales: failed (10 times)"]
    assert world.open == []


def test_another_error_of_the_same_asset_is_another_cause_and_one_success_ends_both(world, told):
    for error in ("disk full", "no permission", "disk full"):
        world.broken["raw/sales"] = error
        world.run("raw/sales")
        world.tick()
    assert world.open == [("run", "raw/sales", 1), ("run", "raw/sales", 2)]
    world.broken.clear()
    world.run("raw/sales")
    world.tick()
    assert world.open == []
    assert len(told) == 4


def test_a_failure_that_was_mended_before_anybody_looked_is_not_told(world, told):
    world.broken["raw/sales"] = "disk full"
    world.run("raw/sales")
    world.broken.clear()
    world.run("raw/sales")
    world.tick()
    assert told == []


def test_a_run_that_dagster_will_retry_is_not_told_until_its_retry_fails(world, told, instance):
    world.broken["raw/sales"] = "disk full"
    first = world.run("raw/sales")
    instance.add_run_tags(first, {WILL_RETRY_TAG: "true"})
    world.tick()
    world.tick()
    assert told == []
    retry = world.run("raw/sales")
    instance.add_run_tags(first, {AUTO_RETRY_RUN_ID_TAG: retry})
    instance.add_run_tags(retry, {WILL_RETRY_TAG: "false"})
    world.tick()
    world.tick()
    assert titles(told) == ["Failed: raw/sales"]
    assert world.open == [("run", "raw/sales", 1)]


def test_a_retry_that_went_well_is_not_told_and_one_that_never_came_is(world, told, instance):
    world.broken["raw/sales"] = "disk full"
    first, second = world.run("raw/sales"), world.run("raw/sales")
    instance.add_run_tags(first, {WILL_RETRY_TAG: "true"})
    instance.add_run_tags(second, {WILL_RETRY_TAG: "true"})
    world.tick()
    world.broken.clear()
    instance.add_run_tags(first, {AUTO_RETRY_RUN_ID_TAG: world.run("raw/sales")})
    world.later_s = 400
    world.tick()
    assert told == []  # the second, too, was made good by what came after it
    world.broken["raw/sales"] = "disk full"
    third = world.run("raw/sales")
    instance.add_run_tags(third, {WILL_RETRY_TAG: "true"})
    world.tick()
    world.tick()
    assert titles(told) == ["Failed: raw/sales"]


def test_partitions_that_failed_for_one_cause_are_one_incident_until_each_is_made(on_disk, told):
    world = on_disk
    for part in ("a", "b"):
        world.broken[f"raw/parts {part}"] = "no file"
        world.run("raw/parts", partition=part)
    world.tick()
    assert world.open == [("run", "raw/parts", 2)]
    world.broken.clear()
    world.run("raw/parts", partition="c")
    world.run("raw/parts", partition="a")
    world.tick()
    assert world.open == [("run", "raw/parts", 2)]
    world.run("raw/parts", partition="b")
    world.tick()
    assert world.open == []
    assert len(told) == 2


def test_a_job_without_assets_is_well_again_when_its_step_succeeds(world, told):
    world.broken["nightly"] = "timeout"
    world.run(job="nightly")
    world.tick()
    assert world.open == [("run", "nightly / step", 1)]
    world.broken.clear()
    world.run(job="nightly")
    world.tick()
    assert world.open == []
    assert titles(told) == ["Failed: nightly / step", "Resolved: nightly / step: failed"]


def test_a_run_whose_worker_died_is_told_with_the_reason(world, told, instance):
    run_id = world.run("raw/sales")
    broken = instance.create_run_for_job(
        world.repository.get_job("__ASSET_JOB").get_subset(asset_selection={dg.AssetKey(["marts", "daily"])})
    )
    instance.report_run_failed(broken, "Run worker was killed by signal 9")
    world.tick()
    ((_, what),) = told
    assert "killed by signal 9" in what.text
    assert run_id not in what.text


def test_an_asset_reported_by_hand_is_well_again(world, told, instance):
    world.broken["raw/sales"] = "disk full"
    world.run("raw/sales")
    world.tick()
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["raw", "sales"])))
    world.tick()
    assert world.open == []


def test_a_failed_check_is_told_once_and_not_again_as_the_step_that_it_stopped(world, told):
    world.failing_checks["positive"] = dg.AssetCheckSeverity.ERROR
    for _ in range(3):
        world.run("marts/daily")
        world.tick()
    assert world.open == [("check", "marts/daily: positive", 3)]
    assert titles(told) == ["Check failed: marts/daily: positive"]
    assert "-1 \u2039 0" in told[0][1].text
    world.failing_checks.clear()
    world.run("marts/daily")
    world.tick()
    assert titles(told)[1:] == ["Resolved: marts/daily: positive: check failed (3 times)"]


@pytest.mark.parametrize(("warnings", "expected"), [(False, []), (True, ["Check failed: marts/daily: positive"])])
def test_a_check_of_severity_warn_is_told_only_if_that_is_declared(env, instance, told, warnings, expected):
    world = World(env, instance, Settings(warnings=warnings))
    world.failing_checks["positive"] = dg.AssetCheckSeverity.WARN
    world.run("marts/daily")
    world.tick()
    assert titles(told) == expected


def test_a_budget_that_somebody_ignores_is_told_whatever_is_declared_of_warnings(instance):
    @dg.asset(check_specs=[dg.AssetCheckSpec("within_budget", asset="daily"), dg.AssetCheckSpec("other", asset="daily")])
    def daily():
        told = {"passed": False, "severity": dg.AssetCheckSeverity.WARN, "description": "ann lets it go ahead"}
        checks = [dg.AssetCheckResult(check_name=name, **told) for name in ("within_budget", "other")]
        return dg.MaterializeResult(check_results=checks)

    dg.materialize([daily], instance=instance)
    found = failing_checks(instance, dg.Definitions([daily]).resolve_asset_graph(), warnings=False)
    assert [(each.subject, each.detail, each.blocks) for each in found] == [
        ("daily: within_budget", "ann lets it go ahead", False)
    ]


def test_an_asset_older_than_its_policy_is_late_until_it_is_refreshed(world, told):
    world.run("marts/daily")
    world.tick()
    assert told == []
    world.later_s = 3601
    world.tick()
    assert titles(told) == ["Late: marts/daily"]
    world.later_s = 0
    world.run("marts/daily")
    world.tick()
    assert titles(told)[1:] == ["Resolved: marts/daily: late"]


def test_lateness_below_a_failed_asset_is_told_with_the_failure_and_by_itself_once_that_is_over(world, told):
    world.run("raw/sales", "marts/daily")
    world.broken["raw/sales"] = "disk full"
    world.run("raw/sales")
    world.later_s = 3601
    world.tick()
    assert world.open == [("run", "raw/sales", 1)]
    assert titles(told) == ["Failed: raw/sales"]
    assert Book.of(world.env).incidents()[0].also == ("marts/daily",)
    world.broken.clear()
    world.run("raw/sales")
    world.tick()
    assert world.open == []  # marts/daily has some minutes to catch up
    world.later_s = 3601 + 900
    world.tick()
    assert world.open == [("late", "marts/daily", 1)]


def test_a_quarantine_that_grows_is_told_to_the_owners_of_the_dataset_and_when_it_is_emptied(
    env, instance, told, declare, drop
):
    dataset = declare(owners=("team:stall",), path="*.csv")
    settings = Settings(growth=Growth(rows=None, files=1))
    world = World(env, instance, settings, (dataset,))
    ledger = Ledger(env.state / "ledger.db")
    world.tick()

    def quarantine(*names):
        from caudal.store import LakeObject

        ledger.see(dataset, [LakeObject(f"stall/sales/{name}", "1", 1) for name in names])

    quarantine("a.txt")
    world.tick()
    assert told == []
    quarantine("a.txt", "b.txt", "c.txt")
    world.tick()
    assert titles(told) == ["Quarantine grew: stall/sales"]
    assert "3 more files that could not be read" in told[0][1].text
    assert "Owner: team:stall" in told[0][1].text
    quarantine()
    world.tick()
    assert titles(told)[1:] == ["Resolved: stall/sales: quarantine grew"]


def test_runs_of_other_code_locations_and_canceled_runs_are_not_told(world, told, instance):
    from dagster._core.definitions.reconstruct import reconstructable
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    def run_of(location):
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), "elsewhere")
        code = reconstructable(elsewhere).get_python_origin()
        return instance.create_run_for_job(elsewhere, remote_job_origin=origin, job_code_origin=code)

    instance.report_run_canceled(run_of("shop"))
    instance.report_run_failed(run_of("another"), "out of memory")
    world.tick()
    assert told == []
    instance.report_run_failed(run_of("shop"), "out of memory")
    world.tick()
    world.tick()  # there is no job `elsewhere` in this code location that could go well again
    assert titles(told) == ["Failed: elsewhere", "Resolved: elsewhere: failed"]
    assert "It does not exist any more" in told[1][1].text


@dg.job
def elsewhere():
    pass


def test_what_cannot_be_looked_at_hides_nothing_else_and_resolves_nothing(world, told, monkeypatch, caplog):
    world.failing_checks["positive"] = dg.AssetCheckSeverity.ERROR
    world.run("marts/daily")
    world.tick()
    world.broken["raw/sales"] = "disk full"
    world.run("raw/sales")

    def refuse(*_args, **_more):
        raise OSError("the database is gone")

    monkeypatch.setattr("caudal.runtime.alerts.sensor.failing_checks", refuse)
    world.tick()
    assert [kind for kind, *_ in world.open] == ["check", "run"]
    assert "checks could not be looked at" in caplog.text


def test_the_sensor_says_what_is_open_and_nobody_waits_for_it(world, told):
    world.broken["raw/sales"] = "disk full"
    world.run("raw/sales")
    assert world.tick().skip_message == "1 open incidents, 0 messages not sent yet"
    assert "alerts" not in Subject.of(world.definitions, "shop").sensors
