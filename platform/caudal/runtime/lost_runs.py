"""Runs whose workers are gone.

On one machine a run's worker is a child of its code server. When that, or everything, was killed, nobody is left to tell
Dagster that the run has ended: it would be in progress for ever, and automation waits for what is in progress. Such a run
is made a failed one, with the reason, which both the retries of runs and the automation policy take up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg


def fail_lost_runs(instance: dg.DagsterInstance, reason: str, before_s: float, location: str | None = None) -> list[str]:
    """End the runs that were starting, going on or being canceled when their workers ended; the ids of those runs.

    Call it only when it is certain that no worker is left.

    Args:
        reason: what happened, for the run's log.
        before_s: runs that were last updated later than this, in seconds since the epoch, are left alone.
        location: only runs of this code location; None for all.
    """
    import dagster as dg

    status = dg.DagsterRunStatus
    lost = dg.RunsFilter(
        statuses=[status.STARTING, status.STARTED, status.CANCELING], updated_before=datetime.fromtimestamp(before_s, UTC)
    )
    ended = []
    for record in instance.get_run_records(lost):
        run = record.dagster_run
        origin = run.remote_job_origin
        if location is not None and (origin is None or origin.location_name != location):
            continue
        if run.status == status.CANCELING:
            instance.report_run_canceled(run, message=reason)
        else:
            instance.report_run_failed(run, message=reason)
        ended.append(run.run_id)
    return ended
