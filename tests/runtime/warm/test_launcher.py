"""Runs that are forked: what they do, how they end, and what happens when they cannot be."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from caudal.forking import client
from caudal.runtime.warm import launcher as launching
from caudal.runtime.warm.launcher import WarmRunLauncher
from caudal.runtime.warm.monitor import WorkersDaemon, end_never_begun
from caudal.runtime.warm.workers import By

Bakery = Any  #: see conftest.py
STATUS = dg.DagsterRunStatus


def run_of(bakery: Bakery, run_id: str) -> dg.DagsterRun:
    run = bakery.instance.get_run_by_id(run_id)
    assert run is not None
    return run


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def monitor(bakery: Bakery) -> None:
    daemon = WorkersDaemon(1)
    daemon._first = False
    list(daemon.run_iteration(bakery.context))


def test_a_run_is_forked_from_a_parent_that_stays_for_the_next(bakery: Bakery) -> None:
    first, second = bakery.launch("loaf"), bakery.launch("loaf")
    assert bakery.ended(first) == bakery.ended(second) == STATUS.SUCCESS
    made = [bakery.made(run) for run in (first, second)]
    assert made[0]["parent"] == made[1]["parent"]
    assert made[0]["pid"] != made[1]["pid"]
    assert "Forked a worker for the run" in bakery.messages(first)
    bakery.until(lambda: not list(bakery.places.workers.claimed()))
    bakery.until(lambda: not any(exists(each["pid"]) for each in made))  # not even as zombies


def test_what_a_run_prints_is_where_dagster_shows_it(bakery: Bakery) -> None:
    run = bakery.launch("loaf")
    assert bakery.ended(run) == STATUS.SUCCESS
    (captured,) = bakery.instance.all_logs(run, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    key = captured.get_dagster_event().logs_captured_data.file_key
    data = bakery.instance.compute_log_manager.get_log_data([run, "compute_logs", key])
    assert b"the oven is hot" in (data.stdout or b"")


def test_a_run_that_fails_has_failed_and_leaves_nothing(bakery: Bakery) -> None:
    run = bakery.launch("burnt")
    assert bakery.ended(run) == STATUS.FAILURE
    assert "left in for too long" in str(
        [e.get_dagster_event().event_specific_data for e in bakery.instance.all_logs(run) if e.is_dagster_event]
    )
    bakery.until(lambda: bakery.places.workers.look(run) is None)


def test_many_launches_at_once_start_one_parent(bakery: Bakery) -> None:
    for path in bakery.parents():
        client.retire(path)
    bakery.until(lambda: not bakery.parents())
    bakery.instance.run_launcher._failed.clear()
    runs = [bakery.queue("loaf") for _ in range(6)]
    workspace = bakery.context.create_request_context()
    for run in runs:
        bakery.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_STARTING.value, job_name="__ASSET_JOB"), run_id=run
        )
    threads = [threading.Thread(target=bakery.instance.launch_run, args=(run, workspace)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {bakery.ended(run) for run in runs} == {STATUS.SUCCESS}
    assert len({bakery.made(run)["parent"] for run in runs}) == 1
    baked = (bakery.folder / "baked").read_text().split()
    assert all(baked.count(run) == 1 for run in runs)


def test_a_run_can_be_terminated(bakery: Bakery) -> None:
    run = bakery.launch("slow")
    bakery.begun("slow", run)
    assert bakery.instance.run_launcher.terminate(run)
    assert bakery.ended(run) == STATUS.CANCELED
    bakery.until(lambda: bakery.places.workers.look(run) is None)
    assert not bakery.instance.run_launcher.terminate(run)


def test_a_run_that_does_not_listen_is_killed_before_dagster_calls_it_canceled(
    bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "GRACE_S", 0.5)
    run = bakery.launch("deaf")
    bakery.begun("deaf", run)
    assert bakery.instance.run_launcher.terminate(run)
    assert bakery.status(run) == STATUS.CANCELING
    bakery.until(lambda: not bakery.places.workers.is_alive(run))
    monitor(bakery)
    assert bakery.ended(run) == STATUS.CANCELED


def test_a_run_whose_worker_was_killed_has_failed_and_says_so(bakery: Bakery) -> None:
    run = bakery.launch("slow")
    bakery.begun("slow", run)
    monitor(bakery)
    assert bakery.status(run) == STATUS.STARTED
    assert bakery.instance.run_launcher.check_run_worker_health(run_of(bakery, run)).status == WorkerStatus.RUNNING
    assert bakery.places.workers.send_signal(run, signal.SIGKILL)
    bakery.until(lambda: not bakery.places.workers.is_alive(run))
    assert bakery.instance.run_launcher.check_run_worker_health(run_of(bakery, run)).status == WorkerStatus.FAILED
    monitor(bakery)
    assert bakery.status(run) == STATUS.FAILURE
    assert "has ended without a word" in bakery.messages(run)
    assert bakery.places.workers.look(run) is None


def test_runs_go_on_when_their_parent_is_killed_and_the_next_gets_another(bakery: Bakery) -> None:
    going = bakery.launch("slow")
    bakery.begun("slow", going)
    claim = bakery.places.workers.look(going)
    assert claim is not None
    parent = int(Path(f"/proc/{claim.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    after = bakery.launch("loaf")
    assert bakery.ended(after) == STATUS.SUCCESS
    assert bakery.made(after)["parent"] != parent
    assert bakery.places.workers.is_alive(going)
    monitor(bakery)
    assert bakery.status(going) == STATUS.STARTED
    assert bakery.instance.run_launcher.terminate(going)
    assert bakery.ended(going) == STATUS.CANCELED


def test_a_run_is_started_as_dagster_does_it_when_no_parent_can_be_had(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise client.ForkingFailed("there is no yeast")

    monkeypatch.setattr(WarmRunLauncher, "parent", refuse)
    run = bakery.launch("loaf")
    assert bakery.ended(run) == STATUS.SUCCESS
    assert "No worker could be forked (there is no yeast)" in bakery.messages(run)
    claim = bakery.places.workers.look(run)
    assert claim is not None
    assert claim.by is By.STOCK
    monitor(bakery)
    assert bakery.places.workers.look(run) is None
    slow = bakery.launch("slow")
    bakery.begun("slow", slow)
    assert bakery.instance.run_launcher.check_run_worker_health(run_of(bakery, slow)).status == WorkerStatus.RUNNING
    assert bakery.instance.run_launcher.terminate(slow)
    assert bakery.ended(slow) == STATUS.CANCELED


def test_a_worker_that_comes_late_does_nothing(bakery: Bakery) -> None:
    run = bakery.queue("loaf")
    assert bakery.places.workers.claim(run, By.STOCK)
    list(bakery.daemon.run_iteration(bakery.context))  # the fork finds the claim
    bakery.until(lambda: f"Run {run} has a worker already" in bakery.places.log("bakery").read_text())
    assert bakery.status(run) == STATUS.STARTING
    assert run not in (bakery.folder / "baked").read_text()
    bakery.places.workers.forget(run)
    bakery.instance.report_run_failed(run_of(bakery, run))


def test_a_run_that_the_daemon_was_launching_when_it_died_has_failed_and_is_never_begun(bakery: Bakery) -> None:
    run = bakery.queue("loaf")
    bakery.instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_STARTING.value, job_name="__ASSET_JOB"), run_id=run
    )
    assert end_never_begun(bakery.instance, bakery.places, time.time() + 1) == [run]
    assert bakery.status(run) == STATUS.FAILURE
    assert not bakery.places.workers.claim(run)
    assert end_never_begun(bakery.instance, bakery.places, time.time() + 1) == []
    monitor(bakery)
    assert bakery.places.workers.look(run) is None


def test_a_run_that_waits_for_a_code_location_that_is_gone_has_failed(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    from caudal.runtime.warm import monitor as monitoring

    run = bakery.queue("loaf")
    monkeypatch.setattr(monitoring, "HOMELESS_EVERY_S", -60.0)  # it has waited long enough
    monitor(bakery)
    assert bakery.status(run) == STATUS.QUEUED
    monkeypatch.setattr(type(bakery.context.create_request_context()), "get_code_location_entries", lambda _: {})
    monitor(bakery)
    assert bakery.status(run) == STATUS.FAILURE
    assert "there is no code location bakery any more" in bakery.messages(run)


def test_definitions_that_are_loaded_again_get_a_parent_of_their_own_and_the_old_one_ends(bakery: Bakery) -> None:
    going = bakery.launch("slow")
    bakery.begun("slow", going)
    (before,) = bakery.parents()
    (bakery.folder / "bakery.py").write_text(
        (bakery.folder / "bakery.py").read_text().replace("the oven is hot", "the oven is new")
    )
    bakery.load_again()
    run = bakery.launch("loaf")
    assert bakery.ended(run) == STATUS.SUCCESS
    assert bakery.parents() != [before]
    assert bakery.places.workers.is_alive(going)  # with the definitions that it began with
    assert bakery.instance.run_launcher.terminate(going)
    assert bakery.ended(going) == STATUS.CANCELED
    bakery.until(lambda: not before.exists())
    (captured,) = bakery.instance.all_logs(run, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    key = captured.get_dagster_event().logs_captured_data.file_key
    assert b"the oven is new" in (bakery.instance.compute_log_manager.get_log_data([run, "compute_logs", key]).stdout or b"")


def test_a_parent_that_cannot_import_is_not_tried_again_at_once(bakery: Bakery, tmp_path: Path) -> None:
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.origin import RepositoryPythonOrigin

    launcher = bakery.instance.run_launcher
    origin = RepositoryPythonOrigin(executable_path=os.sys.executable, code_pointer=ModuleCodePointer("no_such_mill", "defs"))
    with pytest.raises(client.ForkingFailed, match=r"the parent of mill ended with status 1; see .*mill.log"):
        launcher.parent("mill", "1", origin)
    assert "no_such_mill" in bakery.places.log("mill").read_text()
    began = time.monotonic()
    with pytest.raises(client.ForkingFailed, match="could not be started a moment ago"):
        launcher.parent("mill", "1", origin)
    assert time.monotonic() - began < 1
