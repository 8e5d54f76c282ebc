"""Housekeeping: what is old goes, what is needed stays however old, beside runs that go on."""

import multiprocessing
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from caudal.runtime import history as history_of
from caudal.runtime.housekeeping import Housekeeping, housekeeping_definitions, sweep
from caudal.runtime.observation import NOT_AWAITED

DAY_S = 86400
PARTS = dg.DynamicPartitionsDefinition(name="files")
CHECK = dg.AssetCheckKey(dg.AssetKey("table"), "good")


@dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="table")])
def table() -> dg.MaterializeResult:
    print("a line of the table")
    return dg.MaterializeResult(metadata={"rows": 1}, check_results=[dg.AssetCheckResult(passed=True, check_name="good")])


@dg.asset(partitions_def=PARTS)
def files() -> None: ...


@dg.asset
def broken() -> None:
    raise ValueError("no")


@pytest.fixture
def instance(local_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    return local_instance


def materialize(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, **more: object) -> str:
    return dg.materialize([asset], instance=instance, raise_on_error=False, **more).run_id  # ty: ignore[invalid-argument-type]


def swept(instance: dg.DagsterInstance, env, days: float, **settings: float):
    """Housekeeping as it would be `days` from now."""
    return sweep(instance, env, Housekeeping(**settings), now_s=time.time() + days * DAY_S)


def runs_of(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_old_runs_go_and_the_newest_materialization_of_each_asset_and_partition_stays(instance, env) -> None:
    instance.add_dynamic_partitions("files", ["a", "b"])
    old = [materialize(instance, table), materialize(instance, files, partition_key="a"), materialize(instance, broken)]
    newest = [
        materialize(instance, table),
        materialize(instance, files, partition_key="a"),
        materialize(instance, files, partition_key="b"),
        materialize(instance, broken),
    ]
    before = instance.get_asset_records([dg.AssetKey("table"), dg.AssetKey("files")])
    check_before = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])

    done = swept(instance, env, 91)

    assert runs_of(instance) == set(newest)
    assert (done.rows.runs, done.rows.trimmed_runs, done.rows.complete) == (3, 4, True)
    assert instance.get_asset_records([dg.AssetKey("table"), dg.AssetKey("files")]) == before
    assert instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK]) == check_before
    assert instance.get_materialized_partitions(dg.AssetKey("files")) == {"a", "b"}
    for run_id in old:
        assert instance.all_logs(run_id) == []
    kinds = [e.dagster_event_type.value for e in instance.all_logs(newest[0])]
    assert kinds[-1] == "PIPELINE_SUCCESS"
    assert {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "PIPELINE_START"} <= set(kinds)
    assert "STEP_START" not in kinds
    assert [e.dagster_event_type.value for e in instance.all_logs(newest[3])].count("STEP_FAILURE") == 1
    checks = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=10)
    assert [each.run_id for each in checks] == [newest[0]]


def test_what_was_trimmed_is_not_trimmed_again_and_goes_when_it_is_no_longer_the_newest(instance, env) -> None:
    first = materialize(instance, table)
    assert swept(instance, env, 91).rows.trimmed_runs == 1
    again = swept(instance, env, 92)
    assert (again.rows.trimmed_runs, again.rows.kept_runs, again.rows.events) == (0, 1, 0)
    materialize(instance, table)
    assert swept(instance, env, 93).rows.runs == 1
    assert first not in runs_of(instance)


def test_automation_sees_no_news_after_housekeeping(instance, env) -> None:
    """Nothing is asked for again because a run is gone, and what fails later is still noticed."""
    upstream = dg.asset(name="upstream")(lambda: None)
    condition = dg.AutomationCondition.eager() | dg.AutomationCondition.execution_failed().newly_true()
    downstream = dg.asset(name="downstream", deps=["upstream"], automation_condition=condition)(lambda: None)
    definitions = dg.Definitions(assets=[upstream, downstream])
    for _ in range(2):
        dg.materialize([upstream, downstream], instance=instance)
    evaluated = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
    assert swept(instance, env, 91).rows.runs == 1
    evaluated = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=evaluated.cursor)
    assert evaluated.total_requested == 0
    dg.materialize([upstream], instance=instance)
    evaluated = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=evaluated.cursor)
    assert evaluated.total_requested == 1


def test_ages_are_those_of_how_a_run_ended_and_runs_that_go_on_are_left_alone(instance, env) -> None:
    succeeded, failed = materialize(instance, table), materialize(instance, broken)
    going = instance.create_run_for_job(dg.GraphDefinition("nothing").to_job(), status=dg.DagsterRunStatus.STARTED)
    materialize(instance, table)
    materialize(instance, broken)
    swept(instance, env, 31)
    assert succeeded not in runs_of(instance)
    assert failed in runs_of(instance)
    swept(instance, env, 91)
    assert failed not in runs_of(instance)
    assert going.run_id in runs_of(instance)


def of_location(location: str) -> RemoteJobOrigin:
    target = LoadableTargetOrigin(python_file="none.py")
    return RemoteJobOrigin(
        RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name=location), "__repository__"), "job"
    )


def test_each_company_tends_its_own_runs_and_those_of_a_removed_one_go_in_the_end(instance, env) -> None:
    job = dg.GraphDefinition("nothing").to_job()
    runs = {
        name: instance.create_run_for_job(job, status=dg.DagsterRunStatus.CANCELED, remote_job_origin=of_location(name)).run_id
        for name in (env.company, "another")
    }
    swept(instance, env, 31)
    assert runs_of(instance) == {runs["another"]}
    swept(instance, env, 401)
    assert runs_of(instance) == set()


def test_a_run_that_was_retried_stays_as_long_as_its_retries(instance, env) -> None:
    job = dg.GraphDefinition("nothing").to_job()
    first = instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    tags = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id}
    retry = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags=tags, root_run_id=first.run_id, parent_run_id=first.run_id
    )
    swept(instance, env, 91)
    assert runs_of(instance) == {first.run_id, retry.run_id}
    instance.delete_run(retry.run_id)
    swept(instance, env, 91)
    assert runs_of(instance) == set()


def test_a_key_that_a_sensor_may_ask_for_again_is_remembered(instance, env) -> None:
    job = dg.GraphDefinition("nothing").to_job()
    for sensor in ("lake", "own"):
        tags = {"dagster/run_key": f"{sensor}:1", "dagster/sensor_name": sensor}
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
    swept(instance, env, 91)
    assert [run.tags["dagster/run_key"] for run in instance.get_runs()] == ["own:1"]


def test_what_steps_printed_goes_before_their_runs_and_without_them(instance, env) -> None:
    printed = Path(instance.root_directory) / "storage"
    materialize(instance, table)
    kept = materialize(instance, table)
    gone = str(uuid.uuid4())
    for path in (printed / gone / "compute_logs" / "a.out", printed / "table" / "an asset's data"):
        path.parent.mkdir(parents=True)
        path.write_text("x" * 100)
    assert swept(instance, env, 13).printed_bytes == 100  # the orphan's
    assert not (printed / gone).exists()
    done = swept(instance, env, 15)
    assert done.printed_bytes > 0
    assert [path.name for path in printed.iterdir()] == ["table"]
    assert kept in runs_of(instance)


def test_the_newest_tick_of_each_sensor_stays_also_of_one_that_is_gone(instance, env) -> None:
    for sensor in ("living", "gone"):
        for at_s in (time.time() - 3 * DAY_S, time.time() - 2 * DAY_S):
            instance.create_tick(TickData(sensor, sensor, InstigatorType.SENSOR, TickStatus.SKIPPED, at_s, selector_id=sensor))
    assert swept(instance, env, 91).rows.ticks == 2
    for sensor in ("living", "gone"):
        (tick,) = instance.get_ticks(sensor, sensor)
        assert tick.timestamp == pytest.approx(time.time() - 2 * DAY_S, abs=60)


def test_the_database_shrinks_and_no_event_gets_a_number_twice(instance, env) -> None:
    for _ in range(3):
        materialize(instance, table)
    storage = instance.event_log_storage

    @dg.op
    def chatty(context: dg.OpExecutionContext) -> None:
        with storage.database.transaction():
            for _ in range(3000):
                context.log.info("x" * 200)

    @dg.job
    def talk() -> None:
        chatty()

    talk.execute_in_process(instance=instance)
    newest = storage.get_maximum_record_id()
    file = Path(instance.root_directory) / "database" / "event_log.db"
    with storage.database.connection() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    before = file.stat().st_size
    done = swept(instance, env, 91)
    assert done.rows.events > 3000
    assert done.database_bytes > 500_000
    assert file.stat().st_size < before / 2
    run = materialize(instance, table)
    assert all(record.storage_id > newest for record in storage.get_records_for_run(run).records)


def test_housekeeping_that_was_cut_off_is_finished_the_next_time(instance, env, monkeypatch) -> None:
    materialize(instance, table)
    materialize(instance, table)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(instance.run_storage), "delete_run", killed)
        swept(instance, env, 91)
    assert len(runs_of(instance)) == 2
    assert swept(instance, env, 91).rows.runs == 1
    assert len(runs_of(instance)) == 1


def test_events_of_a_run_that_is_gone_go_too(instance, env) -> None:
    from dagster._core.events.log import EventLogEntry

    lost = EventLogEntry(error_info=None, level=10, user_message="lost", run_id="gone", timestamp=1.0, dagster_event=None)
    instance.event_log_storage.store_event(lost)
    materialize(instance, table)
    assert swept(instance, env, 1).rows.events == 1
    assert instance.all_logs("gone") == []


def test_what_takes_too_long_is_left_for_the_next_time(instance, env) -> None:
    for _ in range(3):
        materialize(instance, table)
    done = sweep(instance, env, Housekeeping(), now_s=time.time() + 91 * DAY_S, longest_s=-1)
    assert (done.rows.runs, done.rows.complete) == (0, False)


def test_runs_go_on_beside_housekeeping(instance, env, monkeypatch) -> None:
    monkeypatch.setattr(history_of, "BATCH_ROWS", 50)
    for _ in range(12):
        materialize(instance, table)

    def keep_running(ref) -> None:
        with dg.DagsterInstance.from_ref(ref) as mine:
            for _ in range(3):
                assert dg.materialize([table], instance=mine).success

    beside = multiprocessing.get_context("fork").Process(target=keep_running, args=(instance.get_ref(),))
    beside.start()
    longest = [0.0]
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            started = time.monotonic()
            instance.run_storage.set_cursor_values({"any": str(started)})
            longest[0] = max(longest[0], time.monotonic() - started)
            ended.wait(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    began = time.monotonic()
    try:
        done = swept(instance, env, 91)
        swept_s = time.monotonic() - began
    finally:
        ended.set()
        writer.join()
        beside.join(120)
    assert beside.exitcode == 0
    assert done.rows.runs >= 11
    assert longest[0] < max(1, swept_s / 2)  # on a busy machine everything takes longer
    assert len(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))) >= 1
    assert instance.get_latest_materialization_event(dg.AssetKey("table")) is not None


def test_the_asset_says_what_it_removed_and_is_awaited_by_nobody(instance, env) -> None:
    definitions = housekeeping_definitions(env, Housekeeping())
    result = definitions.resolve_job_def("history_job").execute_in_process(instance=instance)
    assert result.success
    key = dg.AssetKey(["upkeep", env.company, "history"])
    metadata = instance.get_latest_materialization_event(key).asset_materialization.metadata
    assert metadata["runs removed"].value == 0
    assert metadata["all of it"].value is True
    assert key.path[0] in NOT_AWAITED
    (schedule,) = definitions.schedules
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_setting_that_would_remove_todays_runs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"success_days is 0\.5; expected at least 1"):
        _ = Housekeeping(success_days=0.5).ages


def test_a_run_that_never_began_is_old_by_its_last_change(instance, env) -> None:
    job = dg.GraphDefinition("nothing").to_job()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.CANCELED)
    assert datetime.now(UTC).timestamp() - instance.get_run_record_by_id(run.run_id).update_timestamp.timestamp() < 60
    swept(instance, env, 29)
    assert runs_of(instance) == {run.run_id}
    swept(instance, env, 31)
    assert runs_of(instance) == set()
