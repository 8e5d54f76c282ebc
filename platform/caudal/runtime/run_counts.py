"""Counts runs that have ended, how long they took, and how long lake files took to reach the marts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.environment import Environment
from caudal.lake.watch import DATASETS_TAG
from caudal.runtime.tallies import Increase, Tallies
from caudal.store.sqlite import reading

if TYPE_CHECKING:
    import dagster as dg

#: Runs, and runs that loaded files, that are taken into account at one time. The next time goes on.
RUNS_AT_ONCE, LOADS_AT_ONCE, FILES_OF_A_LOAD, EVENTS_OF_A_LOAD = 100, 20, 1000, 20_000
#: How much later than its time stamp a run's end may become visible, and how long it is remembered.
OVERLAP_S, REMEMBER_S = 15.0, 600.0
#: Different jobs; further ones are counted as `other`.
MOST_JOBS = 100
#: The first word of the keys of marts.
MART = "marts"

RUN_BOUNDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
LATENCY_BOUNDS = (1.0, 2.0, 2.5, 4.0, 6.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86400.0)


def count_ended(instance: dg.DagsterInstance, env: Environment, tallies: Tallies) -> None:
    """Count the runs that ended since the last time, as many as are taken into account at one time."""
    import dagster as dg

    cursor_s, counted = tallies.place()
    status = dg.DagsterRunStatus
    ended = dg.RunsFilter(
        statuses=[status.SUCCESS, status.FAILURE, status.CANCELED],
        updated_after=datetime.fromtimestamp(max(0.0, cursor_s - OVERLAP_S), UTC),
    )
    most = RUNS_AT_ONCE + len(counted)
    found = instance.get_run_records(ended, limit=most, order_by="update_timestamp", ascending=True)
    records = [record for record in found if record.dagster_run.run_id not in counted]
    increase, new, loads = Increase(), {}, 0
    jobs = {labels[0] for labels in tallies.read(["runs"])["runs"]}
    for record in records[:RUNS_AT_ONCE]:
        run = record.dagster_run
        loads += DATASETS_TAG in run.tags
        if loads > LOADS_AT_ONCE:
            break
        cursor_s = max(cursor_s, record.update_timestamp.timestamp())
        end_s = record.end_time or record.update_timestamp.timestamp()
        if end_s < cursor_s - REMEMBER_S + OVERLAP_S and counted:  # Somebody tagged a run that was counted long ago.
            continue
        new[run.run_id] = end_s
        job = run.job_name if run.job_name in jobs or len(jobs) < MOST_JOBS else "other"
        jobs.add(job)
        increase.add("runs", (job, run.status.value.lower()))
        if record.start_time is not None:
            increase.observe("run_seconds", (job,), end_s - record.start_time, RUN_BOUNDS)
            _count_latencies(instance, env, record, end_s, increase)
    if new:
        tallies.add(new, cursor_s, REMEMBER_S, increase)


def _count_latencies(
    instance: dg.DagsterInstance, env: Environment, record: dg.RunRecord, end_s: float, increase: Increase
) -> None:
    """How long the files that the run loaded took to each mart that it made."""
    import dagster as dg

    datasets = [name for name in record.dagster_run.tags.get(DATASETS_TAG, "").split(",") if name]
    path = env.state / "ledger.db"
    if not datasets or not path.exists():
        return
    made = instance.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION, run_id=record.dagster_run.run_id, limit=EVENTS_OF_A_LOAD
    )
    marts = {"/".join(each.asset_key.path): each.timestamp for each in made if each.asset_key.path[0] == MART}
    if not marts:
        return
    between = [datetime.fromtimestamp(s, UTC).isoformat(timespec="microseconds") for s in (record.start_time or 0.0, end_s)]
    query = "SELECT seen_at FROM file WHERE dataset = ? AND state = 'loaded' AND loaded_at BETWEEN ? AND ? LIMIT ?"
    with reading(path) as db:
        rows = [row for name in datasets for row in db.execute(query, (name, *between, FILES_OF_A_LOAD))]
    seen = [datetime.fromisoformat(at).timestamp() for (at,) in rows]
    for mart, made_s in marts.items():
        for seen_s in seen:
            if made_s >= seen_s:
                increase.observe("file_to_mart", (mart,), made_s - seen_s, LATENCY_BOUNDS)
