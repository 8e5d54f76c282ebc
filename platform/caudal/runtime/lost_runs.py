"""Runs whose workers are gone.

When everything was killed, nobody is left to tell Dagster that a run has ended: it would be in progress for ever, and
automation waits for what is in progress. Such a run is made a failed one, with the reason, and Dagster's retries of runs
take it up.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg


def fail_lost_runs(
    instance: dg.DagsterInstance,
    reason: str,
    before_s: float,
    location: str | None = None,
    is_alive: Callable[[str], bool] = lambda _: False,
) -> list[str]:
    """End the runs that were starting, going on or being canceled and have no worker any more; the ids of those runs.

    Args:
        reason: what happened, for the run's log.
        before_s: runs that were last updated later than this, in seconds since the epoch, are left alone.
        location: only runs of this code location; None for all.
        is_alive: whether the run of that id has a worker. Without it no run has one: say so only when that is certain.
    """
    import dagster as dg

    status = dg.DagsterRunStatus
    ended = []
    for run in _runs(instance, before_s, [status.STARTING, status.STARTED, status.CANCELING]):
        if (location is not None and _location(run) != location) or is_alive(run.run_id):
            continue
        now = instance.get_run_by_id(run.run_id)  # its worker may have ended it before it was found dead
        if now is None or now.is_finished:
            continue
        end_lost_run(instance, now, reason)
        ended.append(run.run_id)
    return ended


def end_lost_run(instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str) -> None:
    """Make a run that nobody works on a failed one, or a canceled one if that was asked for."""
    import dagster as dg

    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message=reason)
    else:
        instance.report_run_failed(run, message=reason)


def fail_homeless_runs(instance: dg.DagsterInstance, locations: Collection[str], before_s: float) -> list[str]:
    """End the runs that wait in the queue for a code location that there is no longer; the ids of those runs.

    Args:
        locations: the names of those that there are, loaded or not: one that is broken now may be repaired.
        before_s: runs that were last updated later than this, in seconds since the epoch, are left alone.
    """
    import dagster as dg

    ended = []
    for run in _runs(instance, before_s, [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]):
        name = _location(run)
        if name is None or name in locations:
            continue
        there_are = ", ".join(sorted(locations)) or "none"
        instance.report_run_failed(
            run, message=f"Nobody can execute this run: there is no code location {name} any more, only: {there_are}."
        )
        ended.append(run.run_id)
    return ended


def _runs(instance: dg.DagsterInstance, before_s: float, statuses: list[dg.DagsterRunStatus]) -> list[dg.DagsterRun]:
    import dagster as dg

    wanted = dg.RunsFilter(statuses=statuses, updated_before=datetime.fromtimestamp(before_s, UTC))
    return [record.dagster_run for record in instance.get_run_records(wanted)]


def _location(run: dg.DagsterRun) -> str | None:
    return run.remote_job_origin.location_name if run.remote_job_origin else None


def main() -> int:
    """End the runs whose workers `caudal up` has just killed; the exit status."""
    import dagster as dg

    from caudal.runtime.warm.queue import places_of

    with dg.DagsterInstance.get() as instance:
        workers = places_of(instance).workers
        deadline = time.monotonic() + 10
        while any(workers.is_alive(run_id) for run_id in workers.claimed()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for run_id in fail_lost_runs(instance, "The platform was stopped while this run was going on.", time.time()):
            workers.forget(run_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
