"""Each step that asks BigQuery for something is one account: labels of its jobs, its budget, and what it was billed for.

What dbt builds is left out: its step asks for dry runs first, and tells each model its own jobs (`caudal.transform.spending`).
A step of Python cannot be estimated. It does not start once its group's budget is used up, and no query of it may be billed for
more than is left of that.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.runtime.around import Around, surround
from caudal.warehouse.bigquery.account import Account, working_for
from caudal.warehouse.bigquery.budgets import BUDGET_TAG, IGNORE, Budget
from caudal.warehouse.bigquery.costs import cost_metadata, job_labels
from caudal.warehouse.bigquery.spending import Spending, Spent

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud

_ACCOUNTED = "_caudal_accounted"
#: Stages of which no asset is a table that somebody pays for reading.
_BESIDES = ("lake", "quarantine")


@dataclass(frozen=True)
class Purpose:
    """For what a step asks BigQuery."""

    asset: str
    group: str
    owner: str


def keep_accounts(definitions: dg.Definitions, env: Environment, budgets: Mapping[str, Budget]) -> dg.Definitions:
    """The same, with an account kept of each step, in place; nothing is done where nothing costs money."""
    cloud = env.cloud
    if cloud is None:
        return definitions
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}
    for step in (*(definitions.assets or ()), *(definitions.asset_checks or ())):
        if isinstance(step, dg.AssetsDefinition) and not any("dbt" in spec.kinds for spec in step.specs):
            surround(step, functools.partial(_accounted, env, cloud, budgets, _purpose(step, specs)), _ACCOUNTED)
    return definitions


def _purpose(step: dg.AssetsDefinition, specs: Mapping[dg.AssetKey, dg.AssetSpec]) -> Purpose:
    keys = sorted({*step.keys, *(spec.asset_key for spec in step.check_specs)}, key=lambda key: key.path)
    key = next((key for key in keys if key.path[0] not in _BESIDES), keys[0])
    spec = specs.get(key)
    owner = next(iter(spec.owners), "") if spec else ""
    return Purpose(key.to_user_string(), (spec.group_name if spec else None) or "default", owner)


@contextmanager
def _accounted(
    env: Environment,
    cloud: GoogleCloud,
    budgets: Mapping[str, Budget],
    purpose: Purpose,
    context: dg.OpExecutionContext,
) -> Generator[Around]:
    """The account of one step, each of whose materializations says what was billed since the last one."""
    with _account(env, cloud, budgets, purpose, context) as account:
        told = 0

        def with_cost(event: Any) -> Any:
            nonlocal told
            if not isinstance(event, dg.MaterializeResult) or _path(event, purpose)[0] in _BESIDES:
                return event
            costly, told = _with_cost(event, cloud, account, told), len(account.jobs)
            return costly

        yield Around(lambda: working_for(account), told=with_cost)


@contextmanager
def _account(
    env: Environment,
    cloud: GoogleCloud,
    budgets: Mapping[str, Budget],
    purpose: Purpose,
    context: dg.OpExecutionContext,
) -> Generator[Account]:
    """The account of one step, whose jobs are counted when it ends, well or not.

    Raises:
        dg.Failure: the group's budget is used up.

    """
    account = Account(job_labels(purpose.asset, context.run_id, purpose.owner))
    reserved = None
    if purpose.group in budgets:
        ignored = context.run.tags.get(BUDGET_TAG) == IGNORE
        reserved = Spending.of(env).reserve(context.run_id, {purpose.group: 0.0}, budgets, ignored=ignored)
        if reserved.refused:
            raise dg.Failure(reserved.refused[0].sentence(), allow_retries=False)
        left = reserved.verdicts[0].left_usd
        if left is not None and not ignored:
            account.maximum_bytes = _at_most(cloud, left)
    try:
        yield account
    finally:
        spent = [
            Spent(job.id, purpose.group, purpose.asset, job.bytes_billed, cloud.usd(job.bytes_billed)) for job in account.jobs
        ]
        if reserved is not None:
            Spending.of(env).settle(reserved, spent)
        elif spent:
            Spending.of(env).count(context.run_id, spent)


def _at_most(cloud: GoogleCloud, usd: float) -> int | None:
    """The bytes that so much money pays for, within the settings' own limit; at least 1, for BigQuery takes 0 as no limit."""
    if not cloud.usd_per_tib:
        return cloud.maximum_bytes
    paid = max(1, int(usd / cloud.usd_per_tib * 2**40))
    return paid if cloud.maximum_bytes is None else min(paid, cloud.maximum_bytes)


def _with_cost(event: dg.MaterializeResult, cloud: GoogleCloud, account: Account, told: int) -> dg.MaterializeResult:
    """With the figures of the jobs since the last event; what the step says itself stays."""
    cost = cost_metadata(cloud, account.jobs[told:])
    return event._replace(metadata={**cost, **(event.metadata or {})}) if cost else event


def _path(event: dg.MaterializeResult, purpose: Purpose) -> list[str]:
    key = event.asset_key
    return list(dg.AssetKey.from_coercible(key).path) if key is not None else purpose.asset.split("/")
