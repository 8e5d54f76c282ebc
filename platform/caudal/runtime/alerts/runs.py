"""Runs that have ended since the last look: what went well in them, and why they failed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from caudal.runtime.alerts.facts import JOB, STEP, Ended, Problem, Target
from caudal.runtime.alerts.settings import LOGGER
from caudal.runtime.failures import innermost_message

#: Runs that ended this long before the first look are told of. Older ones are history.
FIRST_LOOK_S = 86400.0
#: How much later than its time stamp a run's end may become visible.
OVERLAP_S = 60.0
#: Failed runs that are read in one look; the next look takes up the rest.
FAILED_AT_ONCE = 200
#: Dagster says whether it retries a run just after its failure, and starts the retry within some seconds.
SAYS_WITHIN_S, RETRIES_WITHIN_S = 30.0, 300.0
#: Runs that ended longer ago are not looked at again when somebody tags them.
OLD_S = 6 * 86400.0
PARTITIONS_TOLD_APART = 1000
EVENTS_READ = 20_000

log = logging.getLogger(LOGGER)

_STATUS = dg.DagsterRunStatus
_EVENT = dg.DagsterEventType


@dataclass
class Look:
    """What became of runs, and where to go on."""

    ended: list[Ended] = field(default_factory=list)
    cursor: float = 0.0
    awaited: dict[str, float] = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)


def ended_runs(
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph,
    location: str | None,
    *,
    cursor: float | None,
    awaited: Mapping[str, float],
    known: Iterable[str],
    open_targets: Mapping[str, float],
    now_s: float,
) -> Look:
    """The runs of the code location that ended since `cursor`, in the order in which they ended."""
    look = Look(cursor=now_s - FIRST_LOOK_S if cursor is None else cursor)
    seen = set(known)
    failed: list[tuple[dg.RunRecord, bool]] = []
    well: list[dg.RunRecord] = []
    if awaited:
        failed += [(record, True) for record in instance.get_run_records(dg.RunsFilter(run_ids=list(awaited)))]
    ended = dg.RunsFilter(
        statuses=[_STATUS.SUCCESS, _STATUS.FAILURE, _STATUS.CANCELED],
        updated_after=datetime.fromtimestamp(look.cursor - OVERLAP_S, UTC),
    )
    for record in instance.get_run_records(ended, order_by="update_timestamp", ascending=True):
        run = record.dagster_run
        if run.run_id not in seen and run.run_id not in awaited and _is_of(run, location) and _end(record) > now_s - OLD_S:
            if len(failed) - len(awaited) >= FAILED_AT_ONCE:
                break
            if run.status == _STATUS.FAILURE:
                failed.append((record, False))
            else:
                well.append(record)
        look.cursor = max(look.cursor, record.update_timestamp.timestamp())
    told = [ended for record, waited in failed if (ended := _failure(instance, graph, record, waited, look, now_s))]
    targets = set(open_targets) | {t.name for e in told for p in e.problems for t in p.targets}
    look.ended = told
    if targets:
        steps = any(name.startswith(STEP) for name in targets)
        look.ended += [_success(instance, graph, record, steps) for record in well]
        look.ended += _reported(instance, targets, open_targets)
    look.ended.sort(key=lambda e: e.at_s)
    return look


def declared_names(graph: BaseAssetGraph, jobs: Iterable[str]) -> frozenset[str]:
    """All assets and jobs, as targets name them."""
    return frozenset(_name(key) for key in graph.get_all_asset_keys()) | {f"{JOB}{name}" for name in jobs}


# Failures -----------------------------------------------------------------------------------------------------------------


def _failure(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, record: dg.RunRecord, waited: bool, look: Look, now_s: float
) -> Ended | None:
    """Why the run failed; None if that is not to be told, or not yet, which `look` then knows."""
    run, end_s = record.dagster_run, _end(record)
    verdict = _will_retry(instance, run, end_s, now_s)
    if verdict == "wait":
        look.awaited[run.run_id] = end_s
        return None
    look.known[run.run_id] = end_s
    try:
        problems = list(_problems(instance, graph, run, end_s)) if verdict == "tell" else []
        if waited:  # Meanwhile it may have gone well.
            problems = [p for p in problems if not _superseded(instance, p)]
        return Ended(run.run_id, end_s, made=_made(instance, graph, run), problems=tuple(problems))
    except Exception as unreadable:  # One run that cannot be read must not hide the others, nor itself.
        log.exception("Alerts: the log of run %s could not be read", run.run_id)
        told = f"The run failed, and its log cannot be read ({type(unreadable).__name__})"
        return Ended(run.run_id, end_s, problems=(_About(instance, graph, run, end_s).problem("", set(), set(), told),))


def _will_retry(instance: dg.DagsterInstance, run: dg.DagsterRun, end_s: float, now_s: float) -> str:
    """`wait` for the retry, `leave` it to the retry, which has ended, or `tell`."""
    promise = run.tags.get(WILL_RETRY_TAG)
    if promise is None and instance.run_retries_enabled and now_s - end_s < SAYS_WITHIN_S:
        return "wait"
    if promise != "true":
        return "tell"
    retry_id = run.tags.get(AUTO_RETRY_RUN_ID_TAG)
    if retry_id is None:
        return "wait" if now_s - end_s < RETRIES_WITHIN_S else "tell"
    retry = instance.get_run_by_id(retry_id)
    if retry is None or retry.status == _STATUS.CANCELED:
        return "tell"
    return "leave" if retry.is_finished else "wait"


def _problems(instance: dg.DagsterInstance, graph: BaseAssetGraph, run: dg.DagsterRun, end_s: float) -> Iterable[Problem]:
    """One for each step that failed; if none did, one for the run."""
    wanted = {
        *(_EVENT.ASSET_MATERIALIZATION_PLANNED, _EVENT.ASSET_MATERIALIZATION, _EVENT.STEP_FAILURE, _EVENT.STEP_START),
        *(_EVENT.STEP_SUCCESS, _EVENT.RUN_FAILURE, _EVENT.ASSET_CHECK_EVALUATION_PLANNED),
    }
    planned: dict[str, set[dg.AssetKey]] = {}
    checks: dict[str, set[dg.AssetCheckKey]] = {}
    made: set[dg.AssetKey] = set()
    errors: dict[str, str] = {}
    started: set[str] = set()
    message = ""
    for record in instance.get_records_for_run(run.run_id, of_type=wanted, limit=EVENTS_READ).records:
        event = record.event_log_entry.get_dagster_event()
        step = event.step_key or ""
        if event.event_type == _EVENT.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
            planned.setdefault(step, set()).add(event.asset_key)
        elif event.event_type == _EVENT.ASSET_CHECK_EVALUATION_PLANNED:
            checks.setdefault(step, set()).add(event.asset_check_planned_data.asset_check_key)
        elif event.event_type == _EVENT.ASSET_MATERIALIZATION and event.asset_key:
            made.add(event.asset_key)
        elif event.event_type == _EVENT.STEP_FAILURE:
            errors[step] = innermost_message(event.step_failure_data.error) or event.message or "failed without a message"
            started.discard(step)
        elif event.event_type == _EVENT.STEP_START:
            started.add(step)
        elif event.event_type == _EVENT.STEP_SUCCESS:
            started.discard(step)
        elif event.event_type == _EVENT.RUN_FAILURE:
            data = event.event_specific_data
            message = innermost_message(getattr(data, "error", None)) or event.message or ""
    about = _About(instance, graph, run, end_s)
    for step, error in errors.items():
        keys = planned.get(step, set())
        yield about.problem(step, keys - made or keys, checks.get(step, set()), error)
    if not errors:
        keys = {k for step, of_step in planned.items() if step in started or not started for k in of_step}
        step = min(started) if len(started) == 1 else ""
        yield about.problem(step, keys - made or keys, checks.get(step, set()), message or "The run failed without a message")


@dataclass(frozen=True)
class _About:
    """A failed run, for what is said of it."""

    instance: dg.DagsterInstance
    graph: BaseAssetGraph
    run: dg.DagsterRun
    end_s: float

    def problem(self, step: str, keys: set[dg.AssetKey], checks: set[dg.AssetCheckKey], error: str) -> Problem:
        """What the step, or "" for the run, failed to do: to make the assets `keys`, or to check."""
        run = self.run
        job = "" if run.job_name == IMPLICIT_ASSET_JOB_NAME else run.job_name
        targets = [Target(_name(key), part) for key in keys for part in _parts(self.graph, self.instance, key, run)]
        if not targets:
            targets = [Target(f"{STEP}{run.job_name}/{step}" if step else f"{JOB}{run.job_name}")]
        names = sorted(_name(key) for key in keys) or sorted(f"{_name(key.asset_key)}: {key.name}" for key in checks)
        several = " / ".join(part for part in (job, step) if part)
        subject = names[0] if len(names) == 1 or (names and not several) else several or run.job_name
        about = keys | {key.asset_key for key in checks}
        owners = sorted({owner for key in about if self.graph.has(key) for owner in self.graph.get(key).owners})
        return Problem(
            "run",
            subject,
            error,
            tuple(owners[:10]),
            f"/runs/{run.run_id}",
            occurrence=run.run_id,
            at_s=self.end_s,
            targets=tuple(sorted(set(targets), key=str)),
            upstream=frozenset(_name(key) for key in about),
        )


def _parts(graph: BaseAssetGraph, instance: dg.DagsterInstance, key: dg.AssetKey, run: dg.DagsterRun) -> list[str]:
    """The partitions of the asset that the run was about; "" if it was about the asset."""
    partitions = graph.get(key).partitions_def if graph.has(key) else None
    tags = run.tags
    if partitions is None:
        return [""]
    if "dagster/partition" in tags:
        return [tags["dagster/partition"]]
    start, end = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    if start is None or end is None:
        return [""]
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        try:
            parts = partitions.get_partition_keys_in_range(dg.PartitionKeyRange(start, end))
        except (KeyError, ValueError, dg.DagsterInvalidInvocationError, dg.DagsterError):  # partitions that are gone
            return [""]
    return list(parts)[:PARTITIONS_TOLD_APART]


def _superseded(instance: dg.DagsterInstance, problem: Problem) -> bool:
    """Whether all that failed was made since."""
    for target in problem.targets:
        if target.name.startswith((JOB, STEP)):
            return False
        filters = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(target.name.split("/")),
            asset_partitions=[target.part] if target.part else None,
            after_timestamp=problem.at_s,
        )
        if not instance.fetch_materializations(filters, limit=1).records:
            return False
    return True


# Successes ----------------------------------------------------------------------------------------------------------------


def _success(instance: dg.DagsterInstance, graph: BaseAssetGraph, record: dg.RunRecord, steps: bool) -> Ended:
    run = record.dagster_run
    made = _made(instance, graph, run)
    if steps:
        for event in instance.get_records_for_run(run.run_id, of_type=_EVENT.STEP_SUCCESS, limit=EVENTS_READ).records:
            made[f"{STEP}{run.job_name}/{event.event_log_entry.step_key}"] = frozenset({""})
    return Ended(run.run_id, _end(record), run.job_name if run.status == _STATUS.SUCCESS else None, made)


def _made(instance: dg.DagsterInstance, graph: BaseAssetGraph, run: dg.DagsterRun) -> dict[str, frozenset[str]]:
    """Assets and partitions that were materialized; of a run that succeeded also those that had nothing to do."""
    wanted = {_EVENT.ASSET_MATERIALIZATION}
    if run.status == _STATUS.SUCCESS:
        wanted.add(_EVENT.ASSET_MATERIALIZATION_PLANNED)
    found = instance.event_log_storage.get_asset_partitions_for_run(run.run_id, wanted)
    of_parts = "dagster/partition" in run.tags or "dagster/asset_partition_range_start" in run.tags
    made = {}
    for key, parts in found.items():
        in_parts = of_parts and graph.has(key) and graph.get(key).is_partitioned
        # A range of partitions is planned as the asset without a partition; what was made of it says so.
        made[_name(key)] = frozenset(part or "" for part in parts if part or not in_parts)
    return made


def _reported(instance: dg.DagsterInstance, targets: set[str], open_targets: Mapping[str, float]) -> Iterable[Ended]:
    """Assets that failed before and that somebody reported as materialized since, without a run."""
    keys = [dg.AssetKey(name.split("/")) for name in targets if not name.startswith((JOB, STEP))]
    for record in instance.get_asset_records(keys) if keys else ():
        entry = record.asset_entry.last_materialization
        name = _name(record.asset_entry.asset_key)
        if entry is not None and not entry.run_id and entry.timestamp > open_targets.get(name, float("inf")):
            made = entry.asset_materialization
            yield Ended("", entry.timestamp, made={name: frozenset({(made.partition if made else None) or ""})})


def _is_of(run: dg.DagsterRun, location: str | None) -> bool:
    origin = run.remote_job_origin
    return origin is None or location is None or origin.location_name == location


def _end(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)
