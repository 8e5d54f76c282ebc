"""Looks at Dagster's instance and the ledger, and tells what is there as an `Observation`.

Cheap enough to repeat every second: runs that have ended are read once, assets only while something may have changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.runtime.failures import innermost_message
from caudal.runtime.progress import AssetSeen, CheckSeen, FailedRun, FilesSeen, Observation, stage_of

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

ROW_COUNT = "dagster/row_count"
#: Metadata with which an asset sums itself up in a sentence, such as a model's error beside its baseline's.
HEADLINE = "verdict"
#: How long nothing must change before what the sensors saw counts.
QUIET_S = 4.0
#: A failed run that Dagster is going to retry is in progress, but not for longer than this.
RETRY_WITHIN_S = 60.0
#: Assets are read this often while a run goes on, and when none does, for what was materialized without a run.
ASSETS_EVERY_S, IDLE_ASSETS_EVERY_S = 2.0, 10.0
FAILED_RUNS_CONSIDERED = 200
#: Assets that only a schedule asks for: nobody waits for them. Told by the first word of their keys.
NOT_AWAITED = frozenset({"upkeep"})
#: Sensors that only tell of what happened, and ask for no run.
NOT_ASKING = frozenset({"alerts"})


@dataclass(frozen=True)
class Subject:
    """What is looked at: the assets, checks and sensors of one code location.

    Attributes:
        location: the name of the code location.
        automation_sensors: those among `sensors` that evaluate automation conditions.
    """

    location: str
    assets: tuple[dg.AssetKey, ...]
    checks: tuple[dg.AssetCheckKey, ...]
    sensors: frozenset[str]
    automation_sensors: frozenset[str]

    @classmethod
    def of(cls, definitions: dg.Definitions, location: str) -> Subject:
        """The materializable assets that are awaited, the checks, and the sensors that run by default and ask for runs."""
        import dagster as dg

        repository = definitions.get_repository_def()
        graph = repository.asset_graph
        running = [s for s in repository.sensor_defs if s.default_status == dg.DefaultSensorStatus.RUNNING]
        sensors = [s for s in running if s.name not in NOT_ASKING]
        return cls(
            location,
            tuple(sorted((k for k in graph.materializable_asset_keys if k.path[0] not in NOT_AWAITED), key=lambda k: k.path)),
            tuple(sorted(graph.asset_check_keys, key=lambda key: (key.asset_key.path, key.name))),
            frozenset(sensor.name for sensor in sensors),
            frozenset(s.name for s in sensors if isinstance(s, dg.AutomationConditionSensorDefinition)),
        )


@dataclass
class Observer:
    """Looks again and again. Not for several threads.

    Attributes:
        files: the ledger's account at this moment, one entry a dataset.
        since_s: when the platform was started, in seconds since the epoch; earlier ticks and steps do not count.
    """

    instance: dg.DagsterInstance
    subject: Subject
    files: Callable[[], Iterable[FilesSeen]]
    since_s: float
    clock: Callable[[], float] = time.time
    _last: Observation = field(default_factory=Observation)
    _changed_s: float = 0.0
    _assets_read_s: float = 0.0
    _failed: dict[str, FailedRun] = field(default_factory=dict)
    _steps: dict[str, tuple[tuple[str, float, float], ...]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def look(self) -> Observation:
        """What is there now."""
        now = self.clock()
        # Before the runs, so that those which a sensor asked for are among them: its tick is not one that found nothing.
        looked, failing = self._look_at_sensors()
        going = self._look_at_runs(now)
        seen = replace(
            self._last,
            files=tuple(self.files()),
            failed_runs=tuple(self._failed.values()),
            runs_in_progress=going,
            steps=tuple(step for steps in self._steps.values() for step in steps),
        )
        every_s = ASSETS_EVERY_S if going else IDLE_ASSETS_EVERY_S
        if going < self._last.runs_in_progress or now - self._assets_read_s >= every_s:
            seen = replace(seen, assets=tuple(self._look_at_assets()), checks=tuple(self._look_at_checks()))
            self._assets_read_s = now
        # The sensors' part is not itself a change that the sensors should see.
        if seen != replace(self._last, looked_since_change=seen.looked_since_change):
            self._changed_s, looked = self.clock(), False
        quiet = now - self._changed_s >= QUIET_S
        self._last = replace(seen, looked_since_change=looked and quiet, failing_sensors=failing)
        return self._last

    def _look_at_runs(self, now: float) -> int:
        import dagster as dg
        from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

        status = dg.DagsterRunStatus
        unfinished = [status.QUEUED, status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING]
        going = self.instance.get_run_records(dg.RunsFilter(statuses=unfinished))
        for record in going:
            if record.start_time:
                self._steps[record.dagster_run.run_id] = tuple(self._steps_of(record.dagster_run.run_id))
        recent = dg.RunsFilter(statuses=[status.SUCCESS], updated_after=datetime.fromtimestamp(self.since_s, UTC))
        for record in self.instance.get_run_records(recent):
            self._note_end(record)
        to_be_retried = 0
        broken = dg.RunsFilter(statuses=[status.FAILURE, status.CANCELED])
        for record in self.instance.get_run_records(broken, limit=FAILED_RUNS_CONSIDERED):
            self._note_end(record)
            to_be_retried += _awaits_retry(record, now)
        backfills = self.instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
        return len(going) + to_be_retried + len(backfills)

    def _note_end(self, record: dg.RunRecord) -> None:
        run = record.dagster_run
        if run.run_id in self._ended:
            return
        self._ended.add(run.run_id)
        if (record.end_time or 0.0) >= self.since_s:
            self._steps[run.run_id] = tuple(self._steps_of(run.run_id))
        if not run.is_success:
            self._failed[run.run_id] = self._failure(record)

    def _steps_of(self, run_id: str) -> Iterable[tuple[str, float, float]]:
        for step in self.instance.get_run_step_stats(run_id):
            if step.start_time is None:
                continue
            end = step.end_time or self.clock()
            made = (entry.get_dagster_event().asset_key for entry in step.materialization_events)
            for stage in sorted({stage_of(tuple(key.path)) for key in made if key is not None}):
                yield stage, max(step.start_time, self.since_s), end

    def _failure(self, record: dg.RunRecord) -> FailedRun:
        import dagster as dg

        planned, made = set(), set()
        causes: dict[str, str] = {}
        run = record.dagster_run
        wanted = {
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            dg.DagsterEventType.STEP_FAILURE,
            dg.DagsterEventType.RUN_FAILURE,
        }
        message = "it was canceled" if run.status == dg.DagsterRunStatus.CANCELED else ""
        for entry in self.instance.all_logs(run.run_id, of_type=wanted):
            event = entry.get_dagster_event()
            if event.is_step_failure:
                error = event.step_failure_data.error
                causes[event.step_key or "a step"] = innermost_message(error) or event.message or "without a message"
            elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
                message = event.message or ""
            elif event.asset_key is not None and event.asset_key.path[0] not in NOT_AWAITED:
                of_type = dg.DagsterEventType.ASSET_MATERIALIZATION
                (made if event.event_type == of_type else planned).add(tuple(event.asset_key.path))
        if not causes and message:
            causes[f"run {run.run_id[:8]}"] = message
        return FailedRun(run.run_id, record.end_time or 0.0, tuple(sorted(causes.items())), frozenset(planned - made))

    def _look_at_assets(self) -> Iterable[AssetSeen]:
        records = {record.asset_entry.asset_key: record for record in self.instance.get_asset_records(self.subject.assets)}
        for key in self.subject.assets:
            record = records.get(key)
            entry = record.asset_entry.last_materialization if record else None
            made = entry.asset_materialization if entry else None
            if entry is None or made is None:
                yield AssetSeen(tuple(key.path))
                continue
            rows, headline = (made.metadata.get(name) for name in (ROW_COUNT, HEADLINE))
            yield AssetSeen(
                tuple(key.path),
                entry.timestamp,
                rows.value if rows is not None and isinstance(rows.value, int) else None,
                str(headline.value) if headline is not None else None,
            )

    def _look_at_checks(self) -> Iterable[CheckSeen]:
        import dagster as dg

        storage = self.instance.event_log_storage
        records = storage.get_latest_asset_check_execution_by_key(self.subject.checks) if self.subject.checks else {}
        before = {(check.asset, check.name): check for check in self._last.checks}
        for key in self.subject.checks:
            record = records.get(key)
            evaluation = record.evaluation if record and record.status.value != "PLANNED" else None
            asset = tuple(key.asset_key.path)
            if record is None or evaluation is None:  # one that is about to be executed keeps its last result
                yield before.get((asset, key.name), CheckSeen(asset, key.name))
                continue
            error = evaluation.severity == dg.AssetCheckSeverity.ERROR
            yield CheckSeen(asset, key.name, evaluation.passed, error, record.run_id)

    def _look_at_sensors(self) -> tuple[bool, dict[str, str]]:
        """Whether every running sensor has looked since the last change, and the newest errors."""
        from dagster._core.definitions.run_request import InstigatorType
        from dagster._core.scheduler.instigation import TickStatus

        waiting = set(self.subject.sensors)
        failing = {}
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
            if state.repository_selector.location_name != self.subject.location or state.name not in waiting:
                continue
            if not state.is_running:
                waiting.discard(state.name)
                continue
            ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, after=self.since_s, limit=2)
            ended = [tick for tick in ticks if tick.status != TickStatus.STARTED]
            if ended and ended[0].status == TickStatus.FAILURE:
                failing[state.name] = innermost_message(ended[0].error) or "without a message"
            if state.name in self.subject.automation_sensors:
                looked = any(tick.timestamp >= self._changed_s for tick in ended)
            else:
                looked = bool(ticks)  # it may hold its tick, and look all the time
            if looked:
                waiting.discard(state.name)
        return not waiting, failing


def ledger_files(path: Path) -> Callable[[], Iterable[FilesSeen]]:
    """The account of the ledger at `path`, at each call. No ledger, no files."""

    def account() -> Iterable[FilesSeen]:
        from caudal.lake.ledger import Ledger

        if not path.exists():
            return
        ledger = Ledger(path)
        for dataset in ledger.dataset_ids():
            totals = ledger.totals(dataset)
            yield FilesSeen(dataset, dict(totals.files), totals.rows_loaded, totals.rows_rejected)

    return account


def _awaits_retry(record: dg.RunRecord, now: float) -> bool:
    from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

    tags = record.dagster_run.tags
    will = tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in tags
    return will and now - (record.end_time or 0.0) < RETRY_WITHIN_S
