"""Runs that nobody works on are ended with the reason, and only those."""

import time

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from caudal.runtime.lost_runs import fail_homeless_runs, fail_lost_runs

STATUS = dg.DagsterRunStatus
JOB = dg.GraphDefinition("nothing").to_job()


def create(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, location: str = "shop") -> str:
    target = LoadableTargetOrigin(python_file="none.py")
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name=location), "__repository__"), "nothing"
    )
    return instance.create_run_for_job(JOB, status=status, remote_job_origin=origin).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (STATUS.STARTING, STATUS.FAILURE),
        (STATUS.STARTED, STATUS.FAILURE),
        (STATUS.CANCELING, STATUS.CANCELED),
        (STATUS.QUEUED, STATUS.QUEUED),
        (STATUS.SUCCESS, STATUS.SUCCESS),
    ],
)
def test_a_run_without_a_worker_ends_and_one_that_nobody_began_waits_on(local_instance, before, after) -> None:
    run_id = create(local_instance, before)
    ended = fail_lost_runs(local_instance, "Its worker is gone.", time.time() + 1)
    assert ended == ([run_id] if before != after else [])
    assert status_of(local_instance, run_id) is after
    if ended:
        assert "Its worker is gone." in str([event.message for event in local_instance.all_logs(run_id)])


def test_a_run_whose_worker_lives_or_that_is_newer_or_of_another_location_is_left_alone(local_instance) -> None:
    living, other = create(local_instance, STATUS.STARTED), create(local_instance, STATUS.STARTED, "other")
    assert fail_lost_runs(local_instance, "gone", time.time() + 1, "shop", lambda run_id: run_id == living) == []
    assert fail_lost_runs(local_instance, "gone", time.time() - 60) == []
    assert [status_of(local_instance, run_id) for run_id in (living, other)] == [STATUS.STARTED, STATUS.STARTED]


def test_a_run_that_its_worker_ended_meanwhile_keeps_its_end(local_instance) -> None:
    run_id = create(local_instance, STATUS.STARTED)

    def ends_now(_: str) -> bool:
        local_instance.report_run_canceled(local_instance.get_run_by_id(run_id))
        return False

    assert fail_lost_runs(local_instance, "gone", time.time() + 1, is_alive=ends_now) == []
    assert status_of(local_instance, run_id) is STATUS.CANCELED


def test_a_run_that_waits_for_a_location_that_is_gone_ends_with_the_reason(local_instance) -> None:
    here, gone = create(local_instance, STATUS.QUEUED), create(local_instance, STATUS.QUEUED, "gone")
    assert fail_homeless_runs(local_instance, {"shop"}, time.time() + 1) == [gone]
    assert [status_of(local_instance, run_id) for run_id in (here, gone)] == [STATUS.QUEUED, STATUS.FAILURE]
    assert "there is no code location gone any more, only: shop" in str([e.message for e in local_instance.all_logs(gone)])
