"""Each step that asks BigQuery for something is one account: labels of its jobs, its budget, and what it was billed for.

What dbt builds is left out: its step asks for dry runs first, and tells each model its own jobs (`caudal.transform.spending`).
A step of Python sets aside what reading the tables above its assets costs, or does not start, which the check `within_budget`
of its assets tells. What it spends beyond that is asked for before each query and read (`caudal.warehouse.bigquery.purse`).
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._record import replace

from caudal.runtime.around import Around, can_surround, surround
from caudal.runtime.asset_metadata import relation_of
from caudal.transform.budget_checks import budget_result, budget_spec
from caudal.warehouse.bigquery.account import Account, working_for
from caudal.warehouse.bigquery.budgets import WITHIN_BUDGET, Budget, Verdict, ignored_by
from caudal.warehouse.bigquery.costs import cost_metadata, job_labels, usd_of
from caudal.warehouse.bigquery.purse import BudgetUsedUp, StepPurse
from caudal.warehouse.bigquery.spending import Spending, Spent

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud

_ACCOUNTED = "_caudal_accounted"
_HOW = "Python: at most all columns of the tables above it, read; its queries are asked for one by one"
#: Stages of which no asset is a table that somebody pays for reading.
_BESIDES = ("lake", "quarantine")


@dataclass(frozen=True)
class Purpose:
    """For what a step asks BigQuery.

    Attributes:
        reads: the tables above its assets.
        checks: those that tell of the budget of its assets' group, if it has one.

    """

    asset: str
    group: str
    owner: str
    reads: tuple[str, ...] = ()
    checks: tuple[dg.AssetCheckKey, ...] = ()


def keep_accounts(definitions: dg.Definitions, env: Environment, budgets: Mapping[str, Budget]) -> dg.Definitions:
    """The same, with an account kept of each step, and a check of its budget; nothing is done where nothing costs money."""
    cloud = env.cloud
    if cloud is None:
        return definitions
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}

    def accounted(step: Any) -> Any:
        if not can_surround(step, _ACCOUNTED) or any("dbt" in spec.kinds for spec in step.specs):
            return step
        purpose = _purpose(step, specs, budgets)
        enter = functools.partial(_accounted, env, cloud, budgets, purpose)
        surround(step, enter, _ACCOUNTED, step.op.output_defs if purpose.checks else ())
        told = [budget_spec(key.asset_key.path, purpose.group, budgets[purpose.group]) for key in purpose.checks]
        return with_checks(step, told) if told else step

    return replace(
        definitions,
        assets=[accounted(step) for step in definitions.assets or ()],
        asset_checks=[accounted(step) for step in definitions.asset_checks or ()],
    )


def with_checks(step: dg.AssetsDefinition, checks: Sequence[dg.AssetCheckSpec]) -> dg.AssetsDefinition:
    """The same step, which tells the results of these checks too."""
    named = {check.get_python_identifier(): check for check in checks}
    outs = {name: dg.Out(dg.Nothing, is_required=not step.can_subset) for name in named}
    op = step.op.with_replaced_properties(step.op.name, outs={**step.op.outs, **outs})
    told = {**step.node_check_specs_by_output_name, **named}
    keys = {*step.check_keys, *(check.key for check in checks)}
    attributes: dict[str, Any] = {"node_def": op, "check_specs_by_output_name": told, "selected_asset_check_keys": keys}
    return dg.AssetsDefinition.dagster_internal_init(**{**step.get_attributes_dict(), **attributes})


def _purpose(step: dg.AssetsDefinition, specs: Mapping[dg.AssetKey, dg.AssetSpec], budgets: Mapping[str, Budget]) -> Purpose:
    keys = sorted({*step.keys, *(spec.asset_key for spec in step.check_specs)}, key=lambda key: key.path)
    key = next((key for key in keys if key.path[0] not in _BESIDES), keys[0])
    spec = specs.get(key)
    owner = next(iter(spec.owners), "") if spec else ""
    group = (spec.group_name if spec else None) or "default"
    above = sorted(set(step.dependency_keys) - set(keys))
    reads = tuple(name for key in above if key in specs and (name := relation_of(specs[key].metadata)))
    made = [key for key in keys if key in step.keys and key.path[0] not in _BESIDES and specs[key].group_name == group]
    checks = [dg.AssetCheckKey(key, WITHIN_BUDGET) for key in made if group in budgets]
    return Purpose(key.to_user_string(), group, owner, reads if made else (), tuple(checks))


@contextmanager
def _accounted(
    env: Environment,
    cloud: GoogleCloud,
    budgets: Mapping[str, Budget],
    purpose: Purpose,
    context: dg.OpExecutionContext,
) -> Generator[Around]:
    """The account of one step, each of whose materializations says what was billed since the last one."""
    with _account(env, cloud, budgets, purpose, context) as (account, verdict):
        told = 0

        def asked_for() -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
            if verdict is None:
                return
            for key in purpose.checks:
                is_asked = key in context.selected_asset_check_keys
                if is_asked or key.asset_key in context.selected_asset_keys:
                    yield budget_result(key, verdict, {"how estimated": _HOW}, is_asked=is_asked)
            if not verdict.may_start:
                raise dg.Failure(verdict.sentence(), allow_retries=False)

        def failed(error: Exception) -> None:
            if isinstance(error, BudgetUsedUp):
                raise dg.Failure(str(error), allow_retries=False) from error

        def with_cost(event: Any) -> Any:
            nonlocal told
            if not isinstance(event, dg.MaterializeResult) or _path(event, purpose)[0] in _BESIDES:
                return event
            costly, told = _with_cost(event, cloud, account, told), len(account.jobs)
            return costly

        yield Around(asked_for, lambda: working_for(account), failed, with_cost)


@contextmanager
def _account(
    env: Environment,
    cloud: GoogleCloud,
    budgets: Mapping[str, Budget],
    purpose: Purpose,
    context: dg.OpExecutionContext,
) -> Generator[tuple[Account, Verdict | None]]:
    """The account of one step, whose jobs are counted when it ends, well or not; and what its group's budget says of it."""
    account = Account(job_labels(purpose.asset, context.run_id, purpose.owner))
    reserved = None
    if purpose.group in budgets:
        spending, budget, ignored = Spending.of(env), budgets[purpose.group], ignored_by(context.run.tags)
        estimate = cloud.usd_of_reading(_bytes_of(cloud, purpose.reads))
        reserved = spending.reserve(context.run_id, {purpose.group: estimate}, budgets, ignored_by=ignored)
        if not ignored:
            account.purse = StepPurse(cloud, spending, reserved, account, purpose.group, budget, estimate)
    try:
        yield account, reserved.verdicts[0] if reserved else None
    finally:
        spent = [Spent(job.id, purpose.group, purpose.asset, job.bytes_billed, usd_of(cloud, [job])) for job in account.jobs]
        if reserved is not None:
            Spending.of(env).settle(reserved, spent)
        elif spent:
            Spending.of(env).count(context.run_id, spent)


def _bytes_of(cloud: GoogleCloud, relations: Sequence[str]) -> int:
    """The bytes of all columns of published tables. Those that are not there yet have none."""
    from caudal.warehouse.bigquery.service import BigQuery
    from caudal.warehouse.bigquery.sizes import Sizes

    sizes = Sizes(BigQuery(cloud))
    return sum(sizes.size(relation) or 0 for relation in relations)


def _with_cost(event: dg.MaterializeResult, cloud: GoogleCloud, account: Account, told: int) -> dg.MaterializeResult:
    """With the figures of the jobs since the last event; what the step says itself stays."""
    cost = cost_metadata(cloud, account.jobs[told:])
    return event._replace(metadata={**cost, **(event.metadata or {})}) if cost else event


def _path(event: dg.MaterializeResult, purpose: Purpose) -> list[str]:
    key = event.asset_key
    return list(dg.AssetKey.from_coercible(key).path) if key is not None else purpose.asset.split("/")
