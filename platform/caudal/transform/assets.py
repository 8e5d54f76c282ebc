"""One Dagster asset for each dbt node, and one check for each dbt test, all made by one step that publishes what passed."""

import logging
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import dagster as dg

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.precedence import precedence
from caudal.transform.blame import blame
from caudal.transform.budget_checks import budget_results, budget_spec, budgeted
from caudal.transform.build import build
from caudal.transform.checks import Check
from caudal.transform.columns.project import COLUMNS
from caudal.transform.columns.stored import Stored
from caudal.transform.events import (
    check_metadata,
    column_lineage,
    node_cost,
    node_metadata,
    table_schema,
)
from caudal.transform.manifest import Manifest, code_behind, hidden_in
from caudal.transform.nodes import Node
from caudal.transform.outcome import BuildResult, NodeResult
from caudal.transform.placing import Placement, place, write_down
from caudal.transform.project import Project
from caudal.transform.rules import build_with_rules
from caudal.transform.selection import what_to_run
from caudal.transform.settling import settle
from caudal.transform.spending import Allowance, OverBudget, allow, jobs_of_checks, settle_up
from caudal.warehouse.audited import observation
from caudal.warehouse.bigquery.account import accounted
from caudal.warehouse.bigquery.budgets import WITHIN_BUDGET, Budget, ignored_by
from caudal.warehouse.bigquery.costs import job_labels
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.engine import verified_extensions
from caudal.warehouse.held_back import hold, let_go
from caudal.warehouse.versions import Cause

_LOGGER = logging.getLogger(__name__)
_NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_.-]")
_SEVERITIES = {"warn": dg.AssetCheckSeverity.WARN}
_LONGEST_TAG = 63
#: An event costs Dagster milliseconds. What a model took is in its metadata, and every model is in dbt's own log.
_WORTH_TELLING_S = 1.0

Event = dg.AssetObservation | dg.MaterializeResult | dg.AssetCheckResult | dg.AssetCheckEvaluation


def dbt_assets(
    env: Environment,
    project: Project,
    manifest: Manifest,
    datasets: Sequence[Dataset],
    budgets: Mapping[str, Budget] = MappingProxyType({}),
) -> dg.AssetsDefinition:
    """The project as one subsettable asset definition.

    A run builds the selected nodes and runs the selected tests, and besides those without which something unaudited could be
    published: see `selection.what_to_run`. Selecting checks alone runs only them and publishes nothing.
    """
    for unattached in manifest.unattached.values():
        _LOGGER.warning("dbt test %s reads no model: it is no check, and is never run", ".".join(unattached))

    @dg.multi_asset(
        name=f"dbt_{manifest.project}",
        specs=[asset_spec(node, manifest) for node in manifest.nodes.values()],
        check_specs=[
            *(check_spec(check, manifest) for check in manifest.checks.values()),
            *(budget_spec(node.key, node.group, budgets[node.group]) for node in budgeted(env, manifest, budgets)),
        ],
        can_subset=True,
        op_tags=precedence("transform"),
        # Tests of sources are checks of raw tables, which another step makes.
        allow_arbitrary_check_specs=True,
    )
    def build_and_publish(context: dg.AssetExecutionContext) -> Iterator[Event]:
        nodes = [manifest.node_of[tuple(key.path)].unique_id for key in context.selected_asset_keys]
        told = {k for k in context.selected_asset_check_keys if k.name == WITHIN_BUDGET}
        asked = [manifest.check_of[tuple(k.asset_key.path), k.name].unique_id for k in context.selected_asset_check_keys - told]
        checks = what_to_run(manifest, nodes, asked)
        allowance = allow(
            env,
            manifest,
            budgets,
            (nodes, checks),
            context.run_id,
            also={manifest.node_of[tuple(k.asset_key.path)].group for k in told},
            ignored_by=ignored_by(context.run.tags),
        )
        yield from budget_results(manifest, allowance, nodes, told)
        try:
            allowance.demand()
        except OverBudget as over:
            raise dg.Failure(str(over), allow_retries=False) from None
        version = None
        placements: list[Placement] = []
        cause = Cause(by=f"dbt_{manifest.project}", run_id=context.run_id)
        labels = job_labels(f"dbt_{manifest.project}", context.run_id)
        with accounted(labels) as account, open_candidate(env, datasets) as candidate:

            def run_dbt(known: Manifest, select: Collection[str]) -> BuildResult:
                database = candidate.path or place(known, select, candidate, labels)
                if isinstance(database, Placement):
                    placements.append(database)
                return build(
                    replace(project, trusted_extensions=verified_extensions(env)),
                    known,
                    database=database,
                    select=select,
                    on_result=lambda done: _log(context, manifest, done),
                )

            def run(select: Collection[str]) -> BuildResult:
                built = build_with_rules(manifest, select, candidate, run_dbt)
                allowance.take(built)
                return built

            result = settle(run([*nodes, *checks]), {*nodes, *checks}, candidate.restore, candidate.holds, run)
            for placement in placements[:1]:  # Later ones only test again.
                write_down(candidate, placement, result)
            if result.passed:
                candidate.declare({manifest.nodes[u].relation: manifest.nodes[u].access for u in result.passed})
                version = candidate.publish([manifest.nodes[u].relation for u in result.passed], cause)
        settle_up(env, manifest, allowance, account.jobs)
        yield from _observations(context, env, result, cause)
        yield from _materializations(env, result, version, allowance)
        yield from _evaluations(env, result, asked)
        failure = _failure(result)
        if failure is not None:
            raise failure

    return build_and_publish


def asset_spec(node: Node, manifest: Manifest) -> dg.AssetSpec:
    """A node as an asset."""
    # Dagster warns of each virtual asset that they may change in a patch release.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetSpec(
            key=list(node.key),
            deps=[list(key) for key in node.deps],
            description=node.description or f"dbt {node.kind} `{node.key[-1]}`",
            metadata={
                "dagster/table_name": node.relation,
                "dagster/column_schema": table_schema([(c.name, c.data_type) for c in node.columns], node),
                "materialized": node.materialized,
            },
            skippable=True,
            group_name=node.group,
            code_version=code_behind(manifest, node),
            owners=list(node.owners),
            tags={"domain": node.key[1], **{_NOT_IN_A_TAG.sub("_", tag)[:_LONGEST_TAG]: "" for tag in node.tags}},
            kinds={"dbt", manifest.adapter or "sql", "view" if node.is_virtual else "table"},
            is_virtual=node.is_virtual,
        )


def check_spec(check: Check, manifest: Manifest) -> dg.AssetCheckSpec:
    """A test as a check.

    A source's test does not block in Dagster: it is dbt that skips, in every build, the models below a source whose test
    fails. A blocking check that is not evaluated in the run that makes its asset, since another step died, would keep
    automation from ever trying again.
    """
    is_of_node = check.attached_to in manifest.nodes
    others = {manifest.nodes[u].key for u in check.reads if u in manifest.nodes} - {check.asset}
    return dg.AssetCheckSpec(
        check.name,
        asset=list(check.asset),
        description=check.description,
        additional_deps=[list(key) for key in sorted(others)],
        blocking=check.is_blocking and is_of_node,
    )


def _materializations(env: Environment, result: BuildResult, version: str | None, allowance: Allowance) -> Iterator[Event]:
    published = [result.manifest.nodes[u] for u in result.passed]
    free = let_go(env, [node.relation for node in published])
    columns = Stored.read(result.manifest.path.with_name(COLUMNS))
    for node in published:
        done = result.results[node.unique_id]
        metadata = node_metadata(node, done, version) | column_lineage(node, columns)
        metadata |= node_cost(env.cloud, done, jobs_of_checks(result.manifest, node.unique_id, allowance.jobs))
        if node.relation in free:
            metadata["was held back"] = dg.MetadataValue.text(free[node.relation].sentence())
        yield dg.MaterializeResult(list(node.key), metadata=metadata)


def _observations(
    context: dg.AssetExecutionContext, env: Environment, result: BuildResult, cause: Cause
) -> Iterator[dg.AssetObservation]:
    """An observation on the page of each asset that is not published. It is no update: nothing is refreshed by it."""
    nodes = result.manifest.nodes
    told = {nodes[u].relation: (nodes[u], reasons) for u, reasons in blame(result).items()}
    for relation, held in hold(env, {name: reasons for name, (_, reasons) in told.items()}, cause).items():
        context.log.warning("%s is not published and stays as it was. %s", relation, held.sentence())
        yield observation(dg.AssetKey(list(told[relation][0].key)), held, relation)


def _evaluations(env: Environment, result: BuildResult, asked: Sequence[str]) -> Iterator[Event]:
    for unique_id, check in result.manifest.checks.items():
        done = result.results.get(unique_id)
        if done is None or done.status == "skipped":
            continue
        passed, severity = done.status == "pass", _SEVERITIES.get(done.status, dg.AssetCheckSeverity.ERROR)
        key, metadata = dg.AssetKey(list(check.asset)), check_metadata(done, hidden_in(result.manifest, check), env.cloud)
        if unique_id in result.retested:
            metadata["tested beside"] = dg.MetadataValue.text(result.retested[unique_id])
        if unique_id in asked:
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=check.name,
                passed=passed,
                severity=severity,
                description=done.message,
                metadata=metadata,
            )
        else:  # Dagster takes the result of a check that is no part of the run in this form.
            yield dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=check.name,
                passed=passed,
                severity=severity,
                description=done.message,
                metadata=metadata,
            )


def _failure(result: BuildResult) -> dg.Failure | None:
    """What a person must know first: which models and tests failed, in dbt's words. None if all is well."""
    manifest = result.manifest
    lines = [f"{manifest.nodes[u].relation}: {result.results[u].message}" for u in result.failed_nodes]
    for check in result.failed_checks:
        beside = f", beside {result.retested[check.unique_id]}" if check.unique_id in result.retested else ""
        lines.append(f"{'/'.join(check.asset)}, test {check.name}: {result.results[check.unique_id].message}{beside}")
    if not lines:
        return None
    kept = [manifest.nodes[u].relation for u in result.held_back]
    summary = f"Failed: {_count(len(result.failed_nodes), 'model')}, {_count(len(result.failed_checks), 'test')}."
    if kept:
        summary += f" Not published, and as they were before: {', '.join(kept)}."
    return dg.Failure("\n".join([summary, *lines]), allow_retries=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _log(context: dg.AssetExecutionContext, manifest: Manifest, done: NodeResult) -> None:
    node = manifest.nodes.get(done.unique_id)
    name = node.relation if node else done.unique_id
    if done.status in ("error", "fail"):
        context.log.error("%s: %s: %s", name, done.status, done.message)
    elif done.status == "warn":
        context.log.warning("%s: %s", name, done.message)
    elif node is not None and done.status == "success" and done.seconds >= _WORTH_TELLING_S:
        context.log.info("%s: built in %.2f s", name, done.seconds)
