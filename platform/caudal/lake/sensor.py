"""The lake sensor: what changed in the lake, and exactly what depends on it."""

import time
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.watch import look, request_for

#: Run tag that names the datasets whose files a run loads.
DATASETS_TAG = "caudal/datasets"


def to_materialize(
    requested: Iterable[dg.AssetKey], loaded_before: Iterable[dg.AssetKey], graph: BaseAssetGraph | None, raw: set[dg.AssetKey]
) -> list[dg.AssetKey]:
    """The requested raw tables and everything below them whose every raw table is requested or was loaded before.

    What lacks a raw table that was never loaded is left to the automation policy, which waits for it.
    """
    requested = set(requested)
    available = requested | set(loaded_before)
    if graph is None:
        return sorted(requested, key=lambda k: k.path)
    below: set[dg.AssetKey] = set()
    frontier = list(requested)
    while frontier:
        for child in graph.get(frontier.pop()).child_keys:
            if child not in below and child not in raw:
                below.add(child)
                frontier.append(child)
    wanted = {k for k in below if graph.get(k).is_materializable and (_ancestors(graph, k) & raw) <= available}
    return sorted(requested | wanted, key=lambda k: k.path)


def lake_sensor(
    env: Environment,
    datasets: Sequence[Dataset],
    raw_keys: Mapping[str, dg.AssetKey],
    extracted: Mapping[str, dg.AssetKey],
    hold_s: float = 20.0,
) -> dg.SensorDefinition:
    """A sensor that holds its tick up to `hold_s` seconds, until something in the lake has changed.

    Its cursor is the highest sequence of the ledger that it has asked a run for.

    Args:
        raw_keys: dataset id -> raw table.
        extracted: dataset id -> the lake asset that extracts it, for those that nobody drops.
    """

    @dg.sensor(
        name="lake",
        description="Looks for new, changed and deleted lake files; asks for one run of their raw tables and what is below.",
        job_name=IMPLICIT_ASSET_JOB_NAME,  # A job of its own could hold assets of one kind of partitions only.
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def lake(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        ledger = Ledger(env.state / "ledger.db")
        cursor = int(context.cursor or 0)
        deadline = time.monotonic() + hold_s
        while True:
            began = time.monotonic()
            request = request_for(datasets, look(env, ledger, datasets), cursor, extracted)
            if request or time.monotonic() >= deadline:
                break
            time.sleep(max(0.2, 10 * (time.monotonic() - began)))
        if request is None:
            return dg.SkipReason("nothing new in the lake")
        loaded = [raw_keys[d.id] for d in datasets if ledger.totals(d.id).rows_read or "loaded" in ledger.totals(d.id).files]
        graph = context.repository_def.asset_graph if context.repository_def else None
        keys = to_materialize([raw_keys[d.id] for d in request.datasets], loaded, graph, set(raw_keys.values()))
        keys += [extracted[d.id] for d in request.datasets if d.id in extracted and not ledger.files(d.id)]
        tags = {DATASETS_TAG: ",".join(d.id for d in request.datasets)[:255]}
        run = dg.RunRequest(run_key=request.run_key, asset_selection=keys, tags=tags)
        return dg.SensorResult(run_requests=[run], cursor=str(request.sequence))

    return lake


def _ancestors(graph: BaseAssetGraph, key: dg.AssetKey) -> set[dg.AssetKey]:
    found: set[dg.AssetKey] = set()
    frontier = [key]
    while frontier:
        for parent in graph.get(frontier.pop()).parent_keys:
            if parent not in found:
                found.add(parent)
                frontier.append(parent)
    return found
