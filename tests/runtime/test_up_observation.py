"""What is seen of a real instance on which real runs were executed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData, TickData, TickStatus
from dagster._core.test_utils import create_run_for_test
from dagster._utils.error import SerializableErrorInfo

from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import Outcome
from caudal.runtime.lost_runs import fail_lost_runs
from caudal.runtime.observation import Observer, Subject, ledger_files
from caudal.runtime.progress import AssetSeen, CheckSeen, FailedRun, FilesSeen, State, judge
from caudal.store import LakeObject

REQUESTED = dg.AutomationCondition.missing()


@dg.asset(key=["raw", "pos", "transactions"], automation_condition=REQUESTED)
def transactions() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"dagster/row_count": 5, "verdict": "five rows"})


class Broken(dg.Config):
    broken: bool = False


@dg.asset(
    key=["marts", "sales", "daily"],
    deps=[transactions],
    check_specs=[dg.AssetCheckSpec("total", asset=["marts", "sales", "daily"])],
)
def daily(config: Broken) -> dg.MaterializeResult:
    if config.broken:
        try:
            raise KeyError("store_id")
        except KeyError as cause:
            raise ValueError("no such column") from cause
    passed = dg.AssetCheckResult(check_name="total", passed=False, severity=dg.AssetCheckSeverity.WARN)
    return dg.MaterializeResult(check_results=[passed])


DEFINITIONS = dg.Definitions(
    assets=[transactions, daily, dg.AssetSpec(["source", "pos"])],
    sensors=[
        dg.AutomationConditionSensorDefinition(
            "automation", target="*", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=5
        ),
        dg.SensorDefinition("off", job_name="nothing", evaluation_fn=lambda _: None),
    ],
    jobs=[dg.define_asset_job("nothing", selection=[daily])],
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def observer(instance: dg.DagsterInstance, since_s: float = 0.0, **more: Any) -> Observer:
    return Observer(instance, Subject.of(DEFINITIONS, "shop"), lambda: (), since_s, **more)


def run(instance: dg.DagsterInstance, *, broken: bool = False) -> dg.ExecuteInProcessResult:
    config = {"ops": {"marts__sales__daily": {"config": {"broken": broken}}}}
    job = DEFINITIONS.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def test_the_subject_is_what_can_be_materialized_and_the_sensors_that_run_by_default() -> None:
    subject = Subject.of(DEFINITIONS, "shop")
    assert subject.assets == (dg.AssetKey(["marts", "sales", "daily"]), dg.AssetKey(["raw", "pos", "transactions"]))
    assert [check.name for check in subject.checks] == ["total"]
    assert subject.sensors == subject.automation_sensors == {"automation"}


def test_before_the_first_run_nothing_is_there_and_the_sensors_have_yet_to_look(instance: dg.DagsterInstance) -> None:
    seen = observer(instance).look()
    assert seen.assets == (AssetSeen(("marts", "sales", "daily")), AssetSeen(("raw", "pos", "transactions")))
    assert not seen.looked_since_change
    assert judge(seen).state is State.WORKING


def test_after_a_run_its_rows_words_checks_and_times_are_seen(instance: dg.DagsterInstance) -> None:
    began_s = time.time()
    result = run(instance)
    seen = observer(instance, began_s).look()
    mart, raw = seen.assets
    assert (raw.rows, raw.headline, mart.rows) == (5, "five rows", None)
    assert seen.checks == (CheckSeen(("marts", "sales", "daily"), "total", passed=False, error=False, run_id=result.run_id),)
    assert sorted(stage for stage, _, _ in seen.steps) == ["transform", "warehouse"]
    assert all(began_s <= start <= end <= time.time() for _, start, end in seen.steps)


def test_steps_of_runs_before_the_start_take_no_time(instance: dg.DagsterInstance) -> None:
    run(instance)
    assert observer(instance, time.time()).look().steps == ()


def test_a_failed_run_tells_the_innermost_cause_and_what_it_left_unmade(instance: dg.DagsterInstance) -> None:
    result = run(instance, broken=True)
    (failed,) = observer(instance).look().failed_runs
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[result.run_id]))
    causes = (("marts__sales__daily", "KeyError: 'store_id'"),)
    assert failed == FailedRun(result.run_id, record.end_time or 0, causes, frozenset({("marts", "sales", "daily")}))


def test_a_run_that_has_yet_to_start_or_is_about_to_be_retried_is_work_going_on(instance: dg.DagsterInstance) -> None:
    create_run_for_test(instance, status=dg.DagsterRunStatus.NOT_STARTED)
    lost = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    watching = observer(instance)
    assert watching.look().runs_in_progress == 2
    instance.report_run_failed(lost)
    assert watching.look().runs_in_progress == 1
    instance.add_run_tags(lost.run_id, {"dagster/will_retry": "true"})
    assert watching.look().runs_in_progress == 2
    instance.add_run_tags(lost.run_id, {"dagster/auto_retry_run_id": "another"})
    assert watching.look().runs_in_progress == 1


def test_the_ledger_tells_its_files_and_no_ledger_tells_none(tmp_path: Path, declare: Callable[..., Dataset]) -> None:
    path = tmp_path / "ledger.db"
    assert list(ledger_files(path)()) == []
    dataset, ledger = declare(), Ledger(path)
    ledger.see(dataset, [LakeObject(f"stall/sales/{name}.csv", "1", 10) for name in ("a", "b", "c")])
    batch = ledger.claim(dataset, "run", limit=2)
    assert batch is not None
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", 5, 4, 1), Outcome("stall/sales/b.csv", unreadable="empty")])
    ledger.finish(batch.number)
    expected = FilesSeen("stall/sales", {"loaded": 1, "quarantined": 1, "pending": 1}, rows_loaded=4, rows_rejected=1)
    assert list(ledger_files(path)()) == [expected]


def test_runs_whose_workers_are_gone_are_failed_with_the_reason(instance: dg.DagsterInstance) -> None:
    status = dg.DagsterRunStatus
    runs = {each: create_run_for_test(instance, status=each) for each in (status.STARTED, status.CANCELING, status.STARTING)}
    runs[status.NOT_STARTED] = create_run_for_test(instance)
    gone = [runs[each].run_id for each in (status.STARTED, status.CANCELING, status.STARTING)]
    assert fail_lost_runs(instance, "the machine was switched off", before_s=0) == []
    assert sorted(fail_lost_runs(instance, "the machine was switched off", time.time() + 1)) == sorted(gone)
    now = {run.run_id: run.status for run in instance.get_runs()}
    assert [now[run.run_id] for run in runs.values()] == [
        status.FAILURE,
        status.CANCELED,
        status.FAILURE,
        status.NOT_STARTED,
    ]
    events = instance.all_logs(gone[0], of_type=dg.DagsterEventType.RUN_FAILURE)
    assert [entry.get_dagster_event().message for entry in events] == ["the machine was switched off"]


def test_only_the_runs_of_the_code_location_that_died_are_failed(instance: dg.DagsterInstance) -> None:
    create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    assert fail_lost_runs(instance, "its code server ended", time.time() + 1, location="another") == []


class Ticks:
    """The ticks of the sensor `automation` of the code location `shop`, as the daemon would write them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        location = GrpcServerCodeLocationOrigin(host="localhost", socket="code.sock", location_name="shop")  # ty: ignore[abstract-class-instantiation]
        origin = RemoteRepositoryOrigin(location, "__repository__").get_instigator_origin("automation")
        self.state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, SensorInstigatorData())
        self.instance = instance
        instance.add_instigator_state(self.state)

    def tick(self, status: TickStatus, at_s: float, error: str | None = None) -> None:
        told = SerializableErrorInfo(error, [], "ValueError") if error else None
        ids = self.state.instigator_origin_id, "automation", InstigatorType.SENSOR
        runs = [] if status is TickStatus.SUCCESS else None
        state = self.state.selector_id
        self.instance.create_tick(TickData(*ids, status, float(at_s), selector_id=state, error=told, run_ids=runs))

    def switch_off(self) -> None:
        self.instance.update_instigator_state(self.state.with_status(InstigatorStatus.STOPPED))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_sensors_have_looked_when_a_tick_began_after_the_last_change_and_it_was_quiet_since(
    instance: dg.DagsterInstance,
) -> None:
    ticks, clock = Ticks(instance), Clock()
    watching = observer(instance, since_s=1000.0, clock=clock)
    assert not watching.look().looked_since_change
    ticks.tick(TickStatus.STARTED, 1001)
    clock.now_s += 5
    assert not watching.look().looked_since_change
    ticks.tick(TickStatus.SKIPPED, 1001)
    assert watching.look().looked_since_change
    run(instance)
    clock.now_s += 20
    assert not watching.look().looked_since_change
    clock.now_s += 5
    assert not watching.look().looked_since_change
    ticks.tick(TickStatus.SKIPPED, 1027)
    assert watching.look().looked_since_change
    assert judge(watching.look()).state is State.COMPLETE


def test_a_tick_that_asks_for_a_run_while_runs_are_looked_at_has_not_found_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, clock = Ticks(instance), Clock()
    watching = observer(instance, since_s=1000.0, clock=clock)
    watching.look()
    clock.now_s += 5
    look_at_runs = watching._look_at_runs

    def just_before_a_tick_ends(now: float) -> int:
        going = look_at_runs(now)
        create_run_for_test(instance, status=dg.DagsterRunStatus.STARTING)
        ticks.tick(TickStatus.SUCCESS, 1004)
        return going

    monkeypatch.setattr(watching, "_look_at_runs", just_before_a_tick_ends)
    assert judge(watching.look()).state is State.WORKING
    monkeypatch.undo()
    assert judge(watching.look()).state is State.WORKING


def test_a_sensor_that_fails_is_told_with_its_error(instance: dg.DagsterInstance) -> None:
    ticks, clock = Ticks(instance), Clock()
    ticks.tick(TickStatus.FAILURE, 1001, error="the lake\n  is not there")
    clock.now_s += 10
    assert observer(instance, since_s=1000.0, clock=clock).look().failing_sensors == {"automation": "the lake is not there"}


def test_a_sensor_that_somebody_switched_off_is_not_waited_for(instance: dg.DagsterInstance) -> None:
    ticks, clock = Ticks(instance), Clock()
    ticks.switch_off()
    watching = observer(instance, since_s=1000.0, clock=clock)
    watching.look()
    clock.now_s += 5
    assert watching.look().looked_since_change
