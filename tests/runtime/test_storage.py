"""Storage on one machine: several processes write at once and nothing is lost, a fork carries no connection over."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry

from caudal.runtime.storage import databases

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def home(local_home: Path) -> Path:
    return local_home


@pytest.fixture
def instance(local_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    return local_instance


def in_processes(count: int, work: Callable[[int], None], timeout_s: float = 60) -> None:
    """`work` in so many forked processes at once; all of them must end well."""
    started = [FORK.Process(target=work, args=(number,)) for number in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in started] == [0] * count


def message(run_id: str, text: str) -> EventLogEntry:
    return EventLogEntry(error_info=None, level=10, user_message=text, run_id=run_id, timestamp=time.time(), dagster_event=None)


def materialized(run_id: str, asset: str, **more: Any) -> EventLogEntry:
    from dagster._core.events import StepMaterializationData

    event = DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value,
        "job",
        event_specific_data=StepMaterializationData(dg.AssetMaterialization(asset, **more), []),
    )
    return EventLogEntry(error_info=None, level=10, user_message="", run_id=run_id, timestamp=time.time(), dagster_event=event)


def test_eight_processes_that_store_at_once_lose_nothing_while_another_reads(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.store_event(message("first", "the parent has a connection of its own"))
    problems: list[Exception] = []
    seen: list[int] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                seen.append(len(storage.get_logs_for_run("run-0")))
            except Exception as problem:  # noqa: BLE001
                problems.append(problem)
            ended.wait(0.01)

    def store(number: int) -> None:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            for each in range(200):
                mine.event_log_storage.store_event(
                    materialized(f"run-{number}", "shared", metadata={"n": each})
                    if each % 2
                    else message(f"run-{number}", str(each))
                )

    reader = threading.Thread(target=read)
    reader.start()
    try:
        in_processes(8, store)
    finally:
        ended.set()
        reader.join()
    assert problems == []
    assert seen == sorted(seen)
    for number in range(8):
        stored = storage.get_logs_for_run(f"run-{number}")
        assert [e.user_message for e in stored if e.dagster_event is None] == [str(n) for n in range(0, 200, 2)]
        told = [e.dagster_event.step_materialization_data.materialization for e in stored if e.dagster_event]
        assert [each.metadata["n"].value for each in told] == list(range(1, 200, 2))
    newest = storage.get_maximum_record_id()
    last = next(r.storage_id for r in instance.fetch_materializations(dg.AssetKey("shared"), limit=1).records)
    assert last <= newest
    assert instance.get_latest_materialization_event(dg.AssetKey("shared")) is not None
    assert instance.get_asset_records([dg.AssetKey("shared")])[0].asset_entry.last_materialization_storage_id == last


def test_processes_that_make_the_databases_at_once_end_with_one_of_each(tmp_path: Path, empty_home: Path) -> None:
    shutil.copy(empty_home / "dagster.yaml", tmp_path)

    def make(number: int) -> None:
        with dg.DagsterInstance.from_config(str(tmp_path)) as mine:
            mine.event_log_storage.store_event(message(f"run-{number}", "here"))
            mine.run_storage.set_cursor_values({str(number): "here"})

    in_processes(3, make)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        for number in range(3):
            assert [e.user_message for e in instance.event_log_storage.get_logs_for_run(f"run-{number}")] == ["here"]
        assert set(instance.run_storage.get_cursor_values({"0", "1", "2"})) == {"0", "1", "2"}
        current, newest = instance.run_storage.alembic_version()
        assert current == newest
    # Nothing half made is left; the last to close a file has taken its write-ahead log with it.
    assert sorted(path.name for path in (tmp_path / "database").iterdir()) == ["event_log.db", "runs.db"]


def test_a_database_is_in_write_ahead_mode_and_can_shrink(home: Path) -> None:
    for name in ("runs.db", "event_log.db", "schedules.db"):
        with sqlite3.connect(home / "database" / name) as opened:
            assert opened.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert opened.execute("PRAGMA auto_vacuum").fetchone() == (2,)
            assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        opened.close()


def test_tags_that_several_processes_add_to_a_run_are_all_kept(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(dg.GraphDefinition("nothing").to_job())

    def tag(number: int) -> None:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            for each in range(20):
                mine.add_run_tags(run.run_id, {f"{number}-{each}": "yes"})

    in_processes(4, tag)
    kept = instance.get_run_by_id(run.run_id)
    assert kept is not None
    assert {f"{n}-{e}" for n in range(4) for e in range(20)} <= set(kept.tags)


def test_a_slot_of_a_pool_is_claimed_by_one_process_only(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    for attempt in range(5):
        instance.event_log_storage.set_concurrency_slots(f"pool-{attempt}", 1)
    claims = tmp_path / "claims"

    def claim(number: int) -> None:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            for attempt in range(5):
                status = mine.event_log_storage.claim_concurrency_slot(f"pool-{attempt}", f"run-{number}", "step")
                if status.is_claimed:
                    with claims.open("a") as told:
                        told.write(f"pool-{attempt}\n")

    in_processes(6, claim)
    assert sorted(claims.read_text().split()) == [f"pool-{attempt}" for attempt in range(5)]


def test_who_watches_a_run_sees_what_another_process_stores_within_a_second(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.store_event(message("watched", "before"))
    seen: list[tuple[str, float]] = []
    all_seen = threading.Event()

    def told(event: EventLogEntry, _cursor: str) -> None:
        seen.append((event.user_message, time.time() - event.timestamp))
        if event.user_message == "2.4":
            all_seen.set()

    storage.watch("watched", None, told)

    def store(turn: int) -> None:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            for each in range(5):
                mine.event_log_storage.store_event(message("unwatched", "not for you"))
                mine.event_log_storage.store_event(message("watched", f"{turn}.{each}"))

    turns = range(3)
    for turn in turns:
        in_processes(1, lambda _, turn=turn: store(turn))
    assert all_seen.wait(60)
    assert [text for text, _ in seen] == ["before", *(f"{turn}.{each}" for turn in turns for each in range(5))]
    # A machine that is busy with something else may hold up one of them.
    assert min(max(late for text, late in seen if text.startswith(f"{turn}.")) for turn in turns) < 1
    storage.end_watch("watched", told)
    assert storage.watched == {}
    storage.store_event(message("watched", "nobody looks"))
    assert len(seen) == 16


def test_a_watcher_that_starts_with_a_cursor_is_told_only_what_is_newer(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    for each in range(3):
        storage.store_event(message("watched", str(each)))
    cursor = storage.get_records_for_run("watched", limit=2).cursor
    seen: list[str] = []
    done = threading.Event()

    def told(event: EventLogEntry, _cursor: str) -> None:
        seen.append(event.user_message)
        done.set()

    storage.watch("watched", cursor, told)
    assert done.wait(60)
    assert seen == ["2"]


def test_instances_that_come_and_go_leave_no_descriptor_and_no_thread_behind(home: Path) -> None:
    def once() -> None:
        with dg.DagsterInstance.from_config(str(home)) as opened:
            opened.event_log_storage.store_event(message("run", "here"))
            opened.get_runs(limit=1)
            opened.schedule_storage.get_ticks("none", "none")

    once()
    descriptors, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(100):
        once()
    # Those that nobody closes are closed when they are collected.
    for _ in range(3):
        dg.DagsterInstance.from_config(str(home)).get_runs(limit=1)
    import gc

    gc.collect()
    assert (len(os.listdir("/dev/fd")), threading.active_count()) == (descriptors, threads)


def test_a_forked_process_has_none_of_its_parents_connections(instance: dg.DagsterInstance) -> None:
    """While other threads of the parent are in the middle of changes, which is when a carried lock would do harm."""
    storage = instance.event_log_storage
    ended = threading.Event()

    def keep_storing() -> None:
        while not ended.is_set():
            storage.store_event(message("parent", "busy"))

    threads = [threading.Thread(target=keep_storing) for _ in range(3)]
    for each in threads:
        each.start()

    def child(number: int) -> None:
        opened = [os.readlink(f"/dev/fd/{name}") for name in os.listdir("/dev/fd") if os.path.islink(f"/dev/fd/{name}")]
        assert not [path for path in opened if "event_log" in path]
        for each in range(20):
            storage.store_event(message(f"child-{number}", str(each)))

    try:
        for round_ in range(5):
            in_processes(2, lambda number, round_=round_: child(10 * round_ + number))
    finally:
        ended.set()
        for each in threads:
            each.join()
    for round_ in range(5):
        for number in range(2):
            assert len(storage.get_logs_for_run(f"child-{10 * round_ + number}")) == 20
    with storage.database.connection() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_process_that_is_killed_while_it_stores_leaves_whole_batches_and_a_sound_file(instance: dg.DagsterInstance) -> None:
    def store(_: int) -> None:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            for each in range(10_000):
                mine.event_log_storage.store_event_batch([message("killed", f"{each}-{n}") for n in range(10)])

    for _ in range(3):
        before = instance.event_log_storage.get_maximum_record_id() or 0
        process = FORK.Process(target=store, args=(0,))
        process.start()
        deadline = time.monotonic() + 60
        while (instance.event_log_storage.get_maximum_record_id() or 0) < before + 50 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        stored = instance.event_log_storage.get_logs_for_run("killed")
        assert len(stored) > 0
        assert len(stored) % 10 == 0
    with instance.event_log_storage.database.connection() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_change_that_fails_is_undone_and_the_connection_is_good_for_the_next(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    with pytest.raises(RuntimeError, match="in the middle"), storage.database.transaction():
        storage.store_event(message("undone", "never"))
        raise RuntimeError("in the middle")
    assert storage.get_logs_for_run("undone") == []
    storage.store_event(message("undone", "later"))
    assert len(storage.get_logs_for_run("undone")) == 1


def test_what_is_stored_is_what_dagsters_own_storage_stores(home: Path) -> None:
    """The same runs on both, compared by what Dagster asks of them."""

    @dg.asset(code_version="1", check_specs=[dg.AssetCheckSpec("good", asset="one")])
    def one() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            metadata={"rows": 1},
            tags={"a": "b"},
            data_version=dg.DataVersion("7"),
            check_results=[dg.AssetCheckResult(passed=True, check_name="good")],
        )

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["x", "y"]), deps=[one])
    def two(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.AssetObservation("one", metadata={"seen": True}))

    @dg.asset
    def broken() -> None:
        raise ValueError("no")

    def told(instance: dg.DagsterInstance) -> list[object]:
        keys = [dg.AssetKey(name) for name in ("one", "two", "broken")]
        ran = [
            dg.materialize([one], instance=instance),
            dg.materialize([one, two], selection=[two], partition_key="y", instance=instance),
            dg.materialize([broken], instance=instance, raise_on_error=False),
            dg.materialize([one], instance=instance),
        ]
        instance.wipe_assets([keys[1]])
        records = {r.asset_entry.asset_key: r.asset_entry for r in instance.get_asset_records(keys)}
        check = instance.event_log_storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(keys[0], "good")])
        runs = [result.run_id for result in ran]
        return [
            [[e.dagster_event_type for e in instance.all_logs(run)] for run in runs],
            [(run.status, sorted(run.tags)) for run in reversed(instance.get_runs())],
            {key: runs.index(entry.last_run_id) if entry.last_run_id else None for key, entry in records.items()},
            {key: entry.last_materialization and entry.last_materialization.tags for key, entry in records.items()},
            {key: entry.asset_details is not None for key, entry in records.items()},
            instance.event_log_storage.get_event_tags_for_asset(keys[0]),
            [(key, record.status) for key, record in check.items()],
            instance.get_materialized_partitions(keys[1]),
            [len(instance.fetch_observations(keys[0], limit=5).records)],
            [instance.get_run_stats(run).steps_failed for run in runs],
            instance.all_asset_keys() and sorted(map(str, instance.all_asset_keys())),
        ]

    with dg.instance_for_test() as dagsters, dg.DagsterInstance.from_config(str(home)) as ours:
        expected, got = told(dagsters), told(ours)
    assert got == expected


def test_a_thousand_partitions_of_a_run_are_one_transaction(instance: dg.DagsterInstance, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    partitions = dg.StaticPartitionsDefinition([str(number) for number in range(300)])

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def many() -> None: ...

    opened = 0
    transaction = databases.Database.transaction

    def counted(self: databases.Database):
        nonlocal opened
        opened += 1
        return transaction(self)

    monkeypatch.setattr(databases.Database, "transaction", counted)
    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "299"}
    assert dg.materialize([many], instance=instance, tags=tags).success
    assert instance.get_materialized_partitions(dg.AssetKey("many")) == {str(number) for number in range(300)}
    assert opened < 60
    newest = instance.fetch_materializations(dg.AssetKey("many"), limit=1).records[0].storage_id
    assert instance.get_asset_records([dg.AssetKey("many")])[0].asset_entry.last_materialization_storage_id == newest


def test_what_a_step_prints_is_captured_without_another_process(instance: dg.DagsterInstance, monkeypatch) -> None:
    import subprocess

    started: list[object] = []
    popen = subprocess.Popen.__init__
    monkeypatch.setattr(
        subprocess.Popen, "__init__", lambda self, *args, **more: (started.append(args), popen(self, *args, **more))[1]
    )

    @dg.asset
    def talkative() -> None:
        print("said")
        print("complained", file=sys.stderr)

    ran = dg.materialize([talkative], instance=instance)
    (captured,) = [e for e in instance.all_logs(ran.run_id) if e.dagster_event_type == DagsterEventType.LOGS_CAPTURED]
    key = [ran.run_id, "compute_logs", captured.dagster_event.logs_captured_data.file_key]
    logs = instance.compute_log_manager.get_log_data(key)
    assert b"said\n" in logs.stdout
    assert b"complained\n" in logs.stderr
    assert instance.compute_log_manager.is_capture_complete(key)
    assert started == []


def test_dagsters_own_commands_work_on_it(instance: dg.DagsterInstance) -> None:
    """`dagster instance info`, `migrate`, `reindex` and the wiping of everything."""
    assert "RunStorage" in instance.info_str()
    instance.upgrade()
    instance.reindex()
    instance.event_log_storage.store_event(message("run", "here"))
    instance.wipe()
    assert instance.event_log_storage.get_logs_for_run("run") == []


def test_a_storage_may_be_elsewhere_than_dagsters_home(tmp_path: Path, empty_home: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(empty_home / "database", elsewhere / "database")
    config = "storage: {custom: {module: caudal.runtime.storage, class: LocalStorage, config: {base_dir: {env: ELSEWHERE}}}}\n"
    (tmp_path / "dagster.yaml").write_text(config)
    os.environ["ELSEWHERE"] = str(elsewhere)
    try:
        with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
            opened.event_log_storage.store_event(message("run", "here"))
            opened.get_runs(limit=1)
            assert str(opened.event_log_storage.database.path) == str(elsewhere / "database" / "event_log.db")
    finally:
        del os.environ["ELSEWHERE"]
    assert not (tmp_path / "database").exists()


def test_an_instance_is_open_within_milliseconds_of_a_fork(instance: dg.DagsterInstance) -> None:
    instance.get_runs(limit=1)
    instance.event_log_storage.get_maximum_record_id()

    def open_it(_: int) -> None:
        started = time.process_time()
        with dg.DagsterInstance.from_ref(instance.get_ref()) as mine:
            mine.get_runs(limit=1)
            mine.event_log_storage.get_maximum_record_id()
        assert time.process_time() - started < 0.1  # 0.012 on two quiet cores; Dagster's own takes 0.2

    in_processes(1, open_it)


def test_more_partitions_than_a_query_takes_parameters_are_added_at_once_and_again(instance: dg.DagsterInstance) -> None:
    keys = [str(number) for number in range(40_000)]
    for _ in range(2):
        instance.add_dynamic_partitions("files", keys)
    assert instance.event_log_storage.get_dynamic_partitions("files") == keys
