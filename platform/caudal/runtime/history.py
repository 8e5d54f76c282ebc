"""What Dagster remembers, and what of it may be forgotten.

A run may be forgotten when it ended long ago and nothing that is asked of it is true of it alone. What holds the newest
event of a kind about an asset or one of its partitions, or the newest result of a check, is kept, however old: from it
Dagster knows that the asset exists, with which data version, and what automation has to do. Of such a run only that is kept,
with its beginning and end: what it logged goes.

Everything goes in changes of a fraction of a second, so that runs go on beside it. Being killed leaves nothing that the next
time does not find.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, PIPELINE_EVENTS, DagsterEventType
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable, JobTickTable
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._core.storage.tags import ROOT_RUN_ID_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG
from sqlalchemy import func, or_, select

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

#: Marks a run of which only the events that are needed are left.
TRIMMED_TAG = "caudal/trimmed"

#: Rows that go in one change; it takes some 20 ms.
BATCH_ROWS = 1000

#: Between two changes, for whoever waits for his turn.
_PAUSE_S = 0.005

_EVENTS, _CHECKS, _TICKS, _EVALUATIONS = (
    SqlEventLogStorageTable,
    AssetCheckExecutionsTable,
    JobTickTable,
    AssetDaemonAssetEvaluationsTable,
)
_KEPT_EVENTS = [kind.value for kind in (*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *PIPELINE_EVENTS, DagsterEventType.STEP_FAILURE)]
_STATUS = dg.DagsterRunStatus


@dataclass(frozen=True)
class Ages:
    """Days after which something may be forgotten, counted from its end.

    Attributes:
        success, failure, canceled: runs that ended so, with their events and what they printed.
        printed: what a run printed (its compute logs), whatever became of it.
        ticks: ticks of schedules and sensors, and evaluations of automation conditions.
        others: runs of other code locations, which have their own housekeeping unless they are gone.

    """

    success: float
    failure: float
    canceled: float
    printed: float
    ticks: float
    others: float

    def of(self, status: dg.DagsterRunStatus) -> float:
        return {_STATUS.SUCCESS: self.success, _STATUS.FAILURE: self.failure}.get(status, self.canceled)


@dataclass
class Forgotten:
    """How much was removed, in rows and runs."""

    runs: int = 0
    trimmed_runs: int = 0
    kept_runs: int = 0
    events: int = 0
    check_results: int = 0
    ticks: int = 0
    evaluations: int = 0
    printed: list[str] = field(default_factory=list)
    complete: bool = True


class History:
    """The history of one instance, with an SQL database behind it.

    Raises:
        TypeError: it has another kind of storage.

    """

    def __init__(self, instance: dg.DagsterInstance, now_s: float, until: Callable[[], bool] = lambda: False) -> None:
        """`until` says when to stop, in the middle: the rest is for the next time."""
        events, runs, ticks = instance.event_log_storage, instance.run_storage, instance.schedule_storage
        events = getattr(events, "_storage", events)
        if not (
            isinstance(events, SqlEventLogStorage) and isinstance(runs, SqlRunStorage) and isinstance(ticks, SqlScheduleStorage)
        ):
            raise TypeError(f"history is kept in {type(events).__name__}; expected one of Dagster's SQL storages")
        self.instance, self._events, self._runs, self._ticks = instance, events, runs, ticks
        self._now_s = now_s
        self._until = until

    def forget(self, location: str, ages: Ages, log: Callable[[str], None] = lambda _: None) -> Forgotten:
        """Forget what is old enough: runs of `location` and of locations that nobody tends, ticks, and what no run owns."""
        done = Forgotten()
        needed = self.needed_runs()
        log(f"{len(needed)} runs hold something that is needed")
        for run, ended_s in self._ended_runs(min(ages.success, ages.failure, ages.canceled, ages.printed)):
            if self._until():
                done.complete = False
                return done
            self._tend(run, (self._now_s - ended_s) / 86400, location, ages, needed, done)
        done.events += self._forget_orphans() + self._forget_runless(ages.failure)
        done.ticks, done.evaluations = self._forget_ticks(ages.ticks)
        return done

    def needed_runs(self) -> set[str]:
        """The runs that hold the newest event of a kind about an asset or partition, or the newest result of a check."""
        per_check = (_CHECKS.c.asset_key, _CHECKS.c.check_name, _CHECKS.c.partition, _CHECKS.c.execution_status)
        with self._events.index_connection() as connection:
            found = [
                *connection.execute(select(_EVENTS.c.run_id).distinct().where(_EVENTS.c.id.in_(_newest_events()))),
                *connection.execute(
                    select(_CHECKS.c.run_id)
                    .distinct()
                    .where(_CHECKS.c.id.in_(select(func.max(_CHECKS.c.id)).group_by(*per_check)))
                ),
                *connection.execute(select(AssetKeyTable.c.last_run_id).distinct()),
            ]
        return {row[0] for row in found if row[0]}

    # Runs

    def _ended_runs(self, days: float) -> Iterator[tuple[dg.DagsterRun, float]]:
        """Runs that ended so many days ago, the oldest first, with when."""
        after = 0
        ended = [status.value for status in (_STATUS.SUCCESS, _STATUS.FAILURE, _STATUS.CANCELED)]
        before = self._now_s - days * 86400
        # A run that never began has no end in the table, only the time of its last change.
        old = or_(RunsTable.c.end_time < before, RunsTable.c.end_time.is_(None) & (RunsTable.c.update_timestamp < _utc(before)))
        while True:
            query = select(RunsTable.c.id, RunsTable.c.run_id, RunsTable.c.end_time, RunsTable.c.update_timestamp)
            query = query.where(RunsTable.c.status.in_(ended), old, RunsTable.c.id > after).order_by(RunsTable.c.id).limit(200)
            with self._runs.connect() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            runs = {run.run_id: run for run in self.instance.get_runs(dg.RunsFilter(run_ids=[row[1] for row in page]))}
            for row_id, run_id, end_s, updated in page:
                after = row_id
                if run_id in runs:
                    yield runs[run_id], end_s if end_s is not None else updated.replace(tzinfo=UTC).timestamp()

    def _tend(self, run: dg.DagsterRun, days: float, location: str, ages: Ages, needed: set[str], done: Forgotten) -> None:
        origin = run.remote_job_origin
        if origin is not None and origin.location_name != location and days < ages.others:
            return
        if days < ages.of(run.status):
            if days >= ages.printed and TRIMMED_TAG not in run.tags:
                done.printed.append(run.run_id)
            return
        if run.run_id in needed or self._is_answered_for(run):
            done.kept_runs += 1
            if TRIMMED_TAG not in run.tags:
                done.events += self._trim(run.run_id)
                done.printed.append(run.run_id)
                self.instance.add_run_tags(run.run_id, {TRIMMED_TAG: f"{datetime.fromtimestamp(self._now_s, UTC):%Y-%m-%d}"})
                done.trimmed_runs += 1
            return
        done.printed.append(run.run_id)
        events, checks = self._forget_events(run.run_id)
        done.events += events
        done.check_results += checks
        self._runs.delete_run(run.run_id)  # last: what is left of a run whose removal was cut off is found by it
        done.runs += 1

    def _is_answered_for(self, run: dg.DagsterRun) -> bool:
        """Whether another run points at this one, or a sensor with keys of its own may ask for it again.

        The lake's sensor never asks for a key twice; what other sensors remember is not known.
        """
        if RUN_KEY_TAG in run.tags and run.tags.get(SENSOR_NAME_TAG, "lake") != "lake":
            return True
        retried = select(RunTagsTable.c.run_id).where(
            RunTagsTable.c.key == ROOT_RUN_ID_TAG, RunTagsTable.c.value == run.run_id, RunTagsTable.c.run_id != run.run_id
        )
        with self._runs.connect() as connection:
            return connection.execute(retried.limit(1)).first() is not None

    def _trim(self, run_id: str) -> int:
        unneeded = or_(_EVENTS.c.dagster_event_type.is_(None), _EVENTS.c.dagster_event_type.not_in(_KEPT_EVENTS))
        return self._remove_events(_EVENTS.c.run_id == run_id, unneeded)

    def _forget_events(self, run_id: str) -> tuple[int, int]:
        removed = self._remove_events(_EVENTS.c.run_id == run_id)
        checks = self._remove(self._events.index_connection, _CHECKS, _CHECKS.c.run_id == run_id)
        self._events.delete_events(run_id)  # and the slots that it held
        return removed, checks

    def _forget_orphans(self) -> int:
        """Events whose run was deleted, in the UI or by a housekeeping that was cut off, unless they are needed."""
        with self._events.index_connection() as connection:
            written = {row[0] for row in connection.execute(select(_EVENTS.c.run_id).distinct()) if row[0]}
        needed = self.needed_runs()
        gone = written - self.existing_runs(written) - needed
        return sum(self._forget_events(run_id)[0] for run_id in sorted(gone) if not self._until())

    def _forget_runless(self, days: float) -> int:
        """Events that were reported without a run, unless they are the newest of their kind."""
        newest = _newest_events()
        checks = select(_CHECKS.c.evaluation_event_storage_id).where(_CHECKS.c.evaluation_event_storage_id.is_not(None))
        old = (_EVENTS.c.run_id == "", _EVENTS.c.timestamp < _utc(self._now_s - days * 86400))
        return self._remove_events(*old, _EVENTS.c.id.not_in(newest), _EVENTS.c.id.not_in(checks))

    def existing_runs(self, run_ids: Iterable[str]) -> set[str]:
        """Those of them that the instance knows."""
        found: set[str] = set()
        for some in _in_batches(sorted(run_ids), 500):
            with self._runs.connect() as connection:
                found.update(
                    row[0] for row in connection.execute(select(RunsTable.c.run_id).where(RunsTable.c.run_id.in_(some)))
                )
        return found

    # Ticks

    def _forget_ticks(self, days: float) -> tuple[int, int]:
        """All but the newest tick of each schedule and sensor; those of removed ones too, which Dagster's own purge leaves."""
        before = _utc(self._now_s - days * 86400)
        newest = select(func.max(_TICKS.c.id)).group_by(_TICKS.c.selector_id, _TICKS.c.job_origin_id)
        ticks = self._remove(self._ticks.connect, _TICKS, _TICKS.c.timestamp < before, _TICKS.c.id.not_in(newest))
        evaluations = self._remove(
            self._ticks.connect,
            _EVALUATIONS,
            _EVALUATIONS.c.create_timestamp < before,
            _EVALUATIONS.c.id.not_in(select(func.max(_EVALUATIONS.c.id)).group_by(_EVALUATIONS.c.asset_key)),
        )
        return ticks, evaluations

    # Rows

    def _remove_events(self, *which: Any) -> int:
        # The newest event stays: where numbers are given again, those who read on from a number would miss an event.
        newest = select(func.max(_EVENTS.c.id)).scalar_subquery()

        def forget_tags(connection: Connection, ids: Sequence[int]) -> None:
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(ids)))

        return self._remove(self._events.index_connection, _EVENTS, *which, _EVENTS.c.id != newest, also=forget_tags)

    def _remove(
        self,
        connect: Callable[[], Any],
        table: Table,
        *which: Any,
        also: Callable[[Connection, Sequence[int]], None] | None = None,
    ) -> int:
        removed = 0
        while not self._until():
            with connect() as connection:
                ids = [row[0] for row in connection.execute(select(table.c.id).where(*which).limit(BATCH_ROWS))]
            if not ids:
                break
            with connect() as connection:
                connection.execute(table.delete().where(table.c.id.in_(ids)))
                if also is not None:
                    also(connection, ids)
            removed += len(ids)
            time.sleep(_PAUSE_S)
        return removed


def _newest_events() -> Any:
    of_assets = select(func.max(_EVENTS.c.id)).where(_EVENTS.c.asset_key.is_not(None))
    return of_assets.group_by(_EVENTS.c.asset_key, _EVENTS.c.dagster_event_type, _EVENTS.c.partition)


def _utc(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None)


def _in_batches(values: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    return (values[start : start + count] for start in range(0, len(values), count))
