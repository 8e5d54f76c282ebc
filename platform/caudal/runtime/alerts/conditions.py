"""What holds at this moment: checks that fail, assets that are late, and how much is in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.freshness import CronFreshnessPolicy, FreshnessState, TimeWindowFreshnessPolicy
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus
from dagster._daemon.freshness import FreshnessDaemon
from dagster._utils.schedules import get_latest_completed_cron_tick

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.runtime.alerts.facts import Problem, Quarantined, Target
from caudal.runtime.alerts.message import moment
from caudal.runtime.freshness import Blame, blame
from caudal.warehouse.bigquery.budgets import WITHIN_BUDGET

#: The freshness daemon is taken to run if it said so within this time.
DAEMON_WITHIN_S = 120.0


def failing_checks(instance: dg.DagsterInstance, graph: BaseAssetGraph, *, warnings: bool) -> list[Problem]:
    """The checks whose last completed evaluation failed, with severity ERROR, or any with `warnings`."""
    keys = sorted(graph.asset_check_keys, key=lambda key: (key.asset_key.path, key.name))
    return [p for key, record in _last_completed(instance, keys) if (p := _failing(graph, key, record, warnings=warnings))]


def _last_completed(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Iterable[tuple[dg.AssetCheckKey, AssetCheckExecutionRecord]]:
    storage = instance.event_log_storage
    latest = dict(storage.get_latest_asset_check_execution_by_key(keys)) if keys else {}
    planned = [key for key, record in latest.items() if record.status == AssetCheckExecutionRecordStatus.PLANNED]
    for key, summary in (storage.get_asset_check_summary_records(planned) if planned else {}).items():
        completed = summary.last_completed_check_execution_record
        if completed is None:
            latest.pop(key)
        else:
            latest[key] = completed
    return latest.items()


def _failing(
    graph: BaseAssetGraph, key: dg.AssetCheckKey, record: AssetCheckExecutionRecord, *, warnings: bool
) -> Problem | None:
    evaluation = record.evaluation
    if evaluation is None or evaluation.passed:
        return None
    # A budget that somebody has ignored is money being spent: that is told whatever else is not.
    if evaluation.severity != dg.AssetCheckSeverity.ERROR and not warnings and key.name != WITHIN_BUDGET:
        return None
    asset = "/".join(key.asset_key.path)
    return Problem(
        "check",
        f"{asset}: {key.name}",
        evaluation.description or "The check does not say why.",
        _owners(graph, key.asset_key),
        f"/assets/{asset}?view=checks",
        occurrence=f"{record.run_id}/{record.id}",
        at_s=record.create_timestamp,
        cause="failed",
        targets=(Target(asset),),
        blocks=evaluation.severity == dg.AssetCheckSeverity.ERROR and _blocks(graph, key),
    )


def _blocks(graph: BaseAssetGraph, key: dg.AssetCheckKey) -> bool:
    try:
        return graph.get(key).blocking
    except KeyError:
        return False


def late_assets(instance: dg.DagsterInstance, graph: BaseAssetGraph, now_s: float) -> list[Problem]:
    """The assets that are older than their freshness policies allow.

    Dagster's freshness daemon knows; where it does not run, or has not looked yet, the policy is applied here, in the same way.
    What was never materialized is not late.
    """
    policies = {k: p for k in graph.get_all_asset_keys() if (p := graph.get(k).freshness_policy_or_from_metadata)}
    if not policies:
        return []
    states = instance.get_freshness_state_records(list(policies)) if _daemon_runs(instance, now_s) else {}
    made_s: dict[str, float | None] = {}
    late_keys = []
    for record in instance.get_asset_records(list(policies)):
        key, made = record.asset_entry.asset_key, record.asset_entry.last_materialization
        if made is None:
            continue
        state = states.get(key)
        told = state is not None and state.updated_at.timestamp() >= made.timestamp
        late = told and state is not None and state.freshness_state == FreshnessState.FAIL
        made_s["/".join(key.path)] = made.timestamp
        if late or is_late(policies[key], made.timestamp, now_s):
            late_keys.append(key)
    return _late_of(graph, policies, late_keys, made_s) if late_keys else []


def _late_of(
    graph: BaseAssetGraph,
    policies: Mapping[dg.AssetKey, dg.FreshnessPolicy],
    keys: Sequence[dg.AssetKey],
    made_s: Mapping[str, float | None],
) -> list[Problem]:
    every = graph.get_all_asset_keys()
    parents = {"/".join(k.path): {"/".join(p.path) for p in graph.get(k).parent_keys} for k in every}
    virtual = {"/".join(k.path) for k in every if graph.get(k).is_virtual}
    late = {"/".join(k.path) for k in keys}
    return [_late(graph, k, policies[k], made_s, blame("/".join(k.path), parents, made_s, late, virtual)) for k in keys]


def is_late(policy: dg.FreshnessPolicy, made_s: float, now_s: float) -> bool:
    """Whether an asset that was last materialized then fails its policy, as Dagster's evaluators have it."""
    if isinstance(policy, TimeWindowFreshnessPolicy):
        return now_s - made_s >= policy.fail_window.to_timedelta().total_seconds()
    if isinstance(policy, CronFreshnessPolicy):
        now = datetime.fromtimestamp(now_s, ZoneInfo(policy.timezone))
        deadline = get_latest_completed_cron_tick(policy.deadline_cron, now, policy.timezone)
        return deadline is not None and made_s < deadline.timestamp() - policy.lower_bound_delta.total_seconds()
    return False


def _late(
    graph: BaseAssetGraph, key: dg.AssetKey, policy: dg.FreshnessPolicy, made_s: Mapping[str, float | None], why: Blame
) -> Problem:
    name = "/".join(key.path)
    if isinstance(policy, TimeWindowFreshnessPolicy):
        expected = f"at least every {policy.fail_window.to_timedelta()} hours"
    elif isinstance(policy, CronFreshnessPolicy):
        expected = f"by `{policy.deadline_cron}` ({policy.timezone})"
    else:
        expected = "sooner"
    return Problem(
        "late",
        name,
        f"Last refreshed {moment(made_s[name] or 0.0)}; expected {expected}. {why.told}",
        _owners(graph, key),
        f"/assets/{name}",
        cause="late",
        upstream=frozenset("/".join(k.path) for k in (key, *_ancestors(graph, key))),
    )


def quarantined(env: Environment, datasets: Iterable[Dataset]) -> list[Quarantined]:
    """What the ledger has in quarantine, of each dataset that it knows. No ledger, nothing."""
    from caudal.lake.ledger import Ledger

    path = env.state / "ledger.db"
    if not path.exists():
        return []
    ledger = Ledger(path)
    known = set(ledger.dataset_ids())
    found = []
    for dataset in datasets:
        if dataset.id in known:
            totals = ledger.totals(dataset.id)
            files = totals.files.get("quarantined", 0)
            link = f"/assets/quarantine/{dataset.source}/{dataset.name}"
            found.append(Quarantined(dataset.id, totals.rows_rejected, files, totals.rows_read, tuple(dataset.owners), link))
    return found


def _daemon_runs(instance: dg.DagsterInstance, now_s: float) -> bool:
    heartbeat = instance.get_daemon_heartbeats().get(FreshnessDaemon.daemon_type())
    return heartbeat is not None and now_s - heartbeat.timestamp < DAEMON_WITHIN_S


def _owners(graph: BaseAssetGraph, key: dg.AssetKey) -> tuple[str, ...]:
    return tuple(graph.get(key).owners) if graph.has(key) else ()


def _ancestors(graph: BaseAssetGraph, key: dg.AssetKey) -> set[dg.AssetKey]:
    found: set[dg.AssetKey] = set()
    frontier = [key]
    while frontier:
        new = graph.get(frontier.pop()).parent_keys - found
        found |= new
        frontier += new
    return found
