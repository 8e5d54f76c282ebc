"""The check `within_budget` of each asset of a group that has a budget: told before the step that makes the asset spends."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from caudal.environment import Environment
from caudal.transform.estimating import Estimate
from caudal.transform.events import figures
from caudal.transform.manifest import Manifest
from caudal.transform.nodes import Node
from caudal.transform.spending import Allowance
from caudal.warehouse.bigquery.budgets import WITHIN_BUDGET, Budget, Verdict
from caudal.warehouse.bigquery.costs import Figure


def budgeted(env: Environment, manifest: Manifest, budgets: Mapping[str, Budget]) -> list[Node]:
    """The nodes whose groups have a budget; none where nothing costs money."""
    return [node for node in manifest.nodes.values() if node.group in budgets] if env.cloud else []


def budget_spec(key: Sequence[str], group: str, budget: Budget) -> dg.AssetCheckSpec:
    """That what the asset's group spends in BigQuery is within its budget."""
    limits = {"a day": budget.usd_per_day, "a run": budget.usd_per_run}
    told = " and ".join(f"{limit:,.2f} USD {of}" for of, limit in limits.items() if limit is not None)
    return dg.AssetCheckSpec(
        WITHIN_BUDGET, asset=list(key), blocking=True, description=f"The group `{group}` may spend {told}."
    )


def budget_results(
    manifest: Manifest, allowance: Allowance, nodes: Collection[str], told: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """The results for each of `nodes`, by unique id, and for the checks `told`, which the run was asked for."""
    verdicts = {verdict.group: verdict for verdict in allowance.verdicts}
    for unique_id, node in manifest.nodes.items():
        key = dg.AssetCheckKey(dg.AssetKey(list(node.key)), WITHIN_BUDGET)
        verdict = verdicts.get(node.group)
        if verdict is None or (unique_id not in nodes and key not in told):
            continue
        one = next((each for each in allowance.estimates if each.asset == "/".join(node.key)), None)
        yield budget_result(key, verdict, _of_node(one) if one else {}, is_asked=key in told)


def budget_result(
    key: dg.AssetCheckKey, verdict: Verdict, more: Mapping[str, Figure], *, is_asked: bool
) -> dg.AssetCheckResult | dg.AssetCheckEvaluation:
    """What a verdict says, as the result of a check, which a run is asked for, or is not."""
    # Dagster takes the result of a check that is no part of the run as an evaluation.
    result = dg.AssetCheckResult if is_asked else dg.AssetCheckEvaluation
    return result(
        asset_key=key.asset_key,
        check_name=WITHIN_BUDGET,
        passed=verdict.fits,
        severity=dg.AssetCheckSeverity.WARN if verdict.may_start else dg.AssetCheckSeverity.ERROR,
        description=verdict.sentence(),
        metadata=figures({**_of_verdict(verdict), **more}),
    )


def _of_node(estimate: Estimate) -> dict[str, Figure]:
    told: dict[str, Figure] = {
        "estimated bytes billed": estimate.bytes_billed,
        "estimated bytes billed by checks": estimate.tests_bytes_billed,
    }
    return {**told, "how estimated": estimate.note} if estimate.note else told


def _of_verdict(verdict: Verdict) -> dict[str, Figure]:
    told: dict[str, Figure] = {
        "estimated USD of the step": round(verdict.estimated_usd, 6),
        "billed today USD": round(verdict.billed_today_usd, 6),
        "set aside USD": round(verdict.reserved_usd, 6),
    }
    limits = {"budget USD a day": verdict.budget.usd_per_day, "budget USD a run": verdict.budget.usd_per_run}
    told |= {name: limit for name, limit in limits.items() if limit is not None}
    if verdict.ignored_by:
        told["ignored by"] = verdict.ignored_by
    return told
