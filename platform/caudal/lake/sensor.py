"""The lake sensor: what changed in the lake, and exactly what depends on it."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.watch import DATASETS_TAG, WHOLE_TAG, Asked, LakeWatch, request_for

#: So often it is asked whether the run has ended that waiting files wait for.
RUN_ENDS_S = 0.1

_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Refresh:
    """What one run materializes. `whole` if that is everything below the raw tables that it loads."""

    keys: tuple[dg.AssetKey, ...]
    whole: bool


def to_refresh(
    requested: Iterable[dg.AssetKey], loaded_before: Iterable[dg.AssetKey], graph: BaseAssetGraph, raw: set[dg.AssetKey]
) -> Refresh:
    """The requested raw tables and everything below them whose every raw table is requested or was loaded before.

    What lacks a raw table that was never loaded is left to the automation policy, which waits for it.
    """
    requested = set(requested)
    available = requested | set(loaded_before)
    below = {k for k in _reachable(requested, lambda k: graph.get(k).child_keys - raw) if graph.get(k).is_materializable}
    wanted = {k for k in below if _reachable({k}, lambda k: graph.get(k).parent_keys) & raw <= available}
    return Refresh(tuple(sorted(requested | wanted, key=lambda k: k.path)), whole=wanted == below)


def lake_sensor(
    env: Environment,
    datasets: Sequence[Dataset],
    raw_keys: Mapping[str, dg.AssetKey],
    lake_keys: Mapping[str, dg.AssetKey],
    rejects_keys: Mapping[str, dg.AssetKey],
    extracted: AbstractSet[str],
    hold_s: float = 20.0,
) -> dg.SensorDefinition:
    """A sensor that holds its tick up to `hold_s` seconds, until something in the lake has changed.

    Its cursor is a small JSON object: for each dataset the sequence of the ledger that it last asked a run for, and how often.

    Args:
        raw_keys, lake_keys, rejects_keys: of each dataset, by its id.
        extracted: ids of the datasets that an extractor lands. The lake assets of the others are made by the step that loads
            them.
    """
    watch = LakeWatch(env, datasets)
    begins = iter((True,))

    @dg.sensor(
        name="lake",
        description="Looks for new, changed and deleted lake files; asks for one run of their raw tables and what is below.",
        job_name=IMPLICIT_ASSET_JOB_NAME,  # A job of its own could hold assets of one kind of partitions only.
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def lake(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        ledger = Ledger(env.state / "ledger.db")
        asked = _asked(context.cursor)
        deadline = time.monotonic() + hold_s
        untold: set[str] = set()
        if next(begins, False) or not asked:  # What could not be extracted is tried again when the platform starts.
            to_extract = {i: lake_keys[i] for i in extracted}
            untold = _untold(context.instance, ledger, {} if asked else raw_keys, to_extract)
        watch.wait(0.0)  # of files that are landing right now, those that come together are asked for together
        while True:
            seen = watch.look(ledger)
            busy = _busy(context.instance, raw_keys) if untold or any(s.pending for s in seen.values()) else set()
            request = request_for(datasets, seen, asked, untold, busy)
            left_s = deadline - time.monotonic()
            if request or left_s <= 0:
                break
            waits_for_run = any(seen[name].pending for name in busy)
            watch.wait(min(left_s, RUN_ENDS_S) if waits_for_run else left_s)
        if request is None:
            return dg.SkipReason("nothing new in the lake")
        assert context.repository_def is not None
        loaded = [raw_keys[i] for i in ledger.loaded_ids(raw_keys)]
        requested = [raw_keys[d.id] for d in request.datasets]
        refresh = to_refresh(requested, loaded, context.repository_def.asset_graph, set(raw_keys.values()))
        first = [lake_keys[d.id] for d in request.datasets if d.id not in extracted or d.id in untold]
        first += [rejects_keys[d.id] for d in request.datasets]
        tags = {DATASETS_TAG: ",".join(d.id for d in request.datasets)}
        if refresh.whole:
            tags[WHOLE_TAG] = "true"
        run = dg.RunRequest(run_key=request.run_key, asset_selection=[*first, *refresh.keys], tags=tags)
        return dg.SensorResult(run_requests=[run], cursor=json.dumps(request.asked))

    return lake


def _asked(cursor: str | None) -> Asked:
    """The cursor's content. One that a person has reset or misspelled is empty: run keys keep runs from starting twice."""
    try:
        return {name: (int(sequence), int(times)) for name, (sequence, times) in json.loads(cursor or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _untold(
    instance: dg.DagsterInstance, ledger: Ledger, raw_keys: Mapping[str, dg.AssetKey], extracted: Mapping[str, dg.AssetKey]
) -> set[str]:
    """The datasets that are to be extracted, or were loaded, and of which Dagster knows no materialization."""
    keys = {**{name: raw_keys[name] for name in ledger.loaded_ids(raw_keys)}, **extracted}
    known = instance.get_latest_materialization_events(list(keys.values()))
    return {name for name, key in keys.items() if known.get(key) is None}


def _busy(instance: dg.DagsterInstance, raw_keys: Mapping[str, dg.AssetKey]) -> set[str]:
    """The datasets that an unfinished run loads, whoever asked for it."""
    unfinished = instance.get_runs(dg.RunsFilter(statuses=[s for s in dg.DagsterRunStatus if s not in _FINISHED]))
    asked_here = {name for run in unfinished for name in run.tags.get(DATASETS_TAG, "").split(",")}
    selected = {key for run in unfinished for key in run.asset_selection or ()}
    return {name for name, key in raw_keys.items() if name in asked_here or key in selected}


def _reachable(start: set[dg.AssetKey], step: Callable[[dg.AssetKey], AbstractSet[dg.AssetKey]]) -> set[dg.AssetKey]:
    """Everything that `step` leads to from `start`, which is not in it unless it leads back."""
    found: set[dg.AssetKey] = set()
    frontier = list(start)
    while frontier:
        new = step(frontier.pop()) - found
        found |= new
        frontier += new
    return found
