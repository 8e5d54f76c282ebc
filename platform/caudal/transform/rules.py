"""Rules of models, declared in YAML, beside dbt's tests: tried in the candidate once dbt has built it.

To everything else a rule is one more check of the manifest: it is selected like one, a blocking one that breaks holds its model
and what is below it back, and it is tried again beside what was restored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from caudal.contracts.rules import Rule
from caudal.transform.checks import Check
from caudal.transform.manifest import Manifest, personal_columns
from caudal.transform.nodes import Node
from caudal.transform.outcome import BuildResult, FailingRows, NodeResult, hold_back
from caudal.warehouse import relations
from caudal.warehouse.bigquery.account import current
from caudal.warehouse.connection import kind_of, quoted
from caudal.warehouse.quality.published import try_on

if TYPE_CHECKING:
    from caudal.transform.lineage import Key
    from caudal.warehouse.candidate import Candidate
    from caudal.warehouse.quality.raw import Tried

_PREFIX = "rule."


def with_rules(manifest: Manifest, rules: Mapping[Key, Sequence[Rule]]) -> Manifest:
    """The manifest with a check for each rule of one of its nodes.

    Raises:
        ValueError: a rule has the name of a dbt test of the same model.

    """
    checks = dict(manifest.checks)
    for key, declared in rules.items():
        node = manifest.node_of.get(key)
        if node is None:
            continue
        for rule in declared:
            if (key, rule.name) in manifest.check_of:
                raise ValueError(f"{'/'.join(key)} has a dbt test called `{rule.name}`; give the rule another name")
            unique_id = f"{_PREFIX}{'/'.join(key)}.{rule.name}"
            checks[unique_id] = Check(
                unique_id=unique_id,
                fqn=(unique_id,),
                asset=key,
                attached_to=node.unique_id,
                name=rule.name,
                reads=_reads(manifest, node, rule),
                is_blocking=rule.blocks,
                description=rule.description or f"Rule `{rule.name}`" + (f": {rule.sql}" if rule.sql else ""),
                rule=rule,
            )
    return replace(manifest, checks=checks) if len(checks) > len(manifest.checks) else manifest


def build_with_rules(
    manifest: Manifest,
    select: Collection[str],
    candidate: Candidate,
    build: Callable[[Manifest, Collection[str]], BuildResult],
) -> BuildResult:
    """Have dbt build and test what is its own of `select`, then try the rules among them.

    Args:
        build: what dbt does, by its own manifest and the unique ids that it knows.

    """
    wanted = [manifest.checks[u] for u in select if u in manifest.checks and manifest.checks[u].rule is not None]
    if not wanted:
        return build(_of_dbt(manifest), select)
    ruled = {check.unique_id for check in wanted}
    built = build(_of_dbt(manifest), [u for u in select if u not in ruled])
    started = time.monotonic()
    results = {**built.results, **_try(wanted, built, manifest, candidate)}
    held_back = hold_back(manifest, select, results)
    return replace(
        built, manifest=manifest, results=results, held_back=held_back, seconds=built.seconds + time.monotonic() - started
    )


def _of_dbt(manifest: Manifest) -> Manifest:
    own = {u: check for u, check in manifest.checks.items() if check.rule is None}
    return manifest if len(own) == len(manifest.checks) else replace(manifest, checks=own)


def _try(wanted: Iterable[Check], built: BuildResult, manifest: Manifest, candidate: Candidate) -> dict[str, NodeResult]:
    """The results of rules, by unique id; none for those of nodes that were not built as they should be."""
    results: dict[str, NodeResult] = {}
    by_node: dict[str, list[Check]] = {}
    for check in wanted:
        done = built.results.get(check.attached_to)
        if done is None or done.status in ("success", "no-op"):
            by_node.setdefault(check.attached_to, []).append(check)
    if not by_node:
        return results
    env = candidate.env
    compares = any(check.rule and check.rule.kind == "distribution" for checks in by_node.values() for check in checks)
    with (
        candidate.connect() as connection,
        relations.last_good(connection, env) if compares else nullcontext(False) as is_published,
    ):
        for unique_id, checks in by_node.items():
            node = manifest.nodes[unique_id]
            if kind_of(connection, node.relation) is None:
                continue
            before = None
            if is_published and kind_of(connection, node.relation, "last_good"):
                before = f"last_good.{quoted(node.relation)}"
            started, asked = time.monotonic(), len(current().jobs)
            tried = try_on(
                connection,
                env,
                node.key,
                node.relation,
                [check.rule for check in checks if check.rule is not None],
                before=before,
                masked=personal_columns(manifest, node),
                resolve=lambda name: _relation(manifest, name),
            )
            seconds = (time.monotonic() - started) / len(checks)
            of_rules = {c.unique_id: _result(c, one, seconds) for c, one in zip(checks, tried, strict=True)}
            # Some rules share a query: all are told of with the first.
            first = checks[0].unique_id
            results |= of_rules | {first: replace(of_rules[first], jobs=tuple(current().jobs[asked:]))}
    return results


def _result(check: Check, tried: Tried, seconds: float) -> NodeResult:
    outcome = tried.outcome
    failures = outcome.numbers.get("failing rows")
    sample = FailingRows(tried.kept.columns, tried.kept.sample) if tried.kept else None
    return NodeResult(
        check.unique_id,
        "pass" if outcome.passed else "fail" if check.is_blocking else "warn",
        seconds=seconds,
        message=outcome.told,
        failures=int(failures) if failures is not None else 0 if outcome.passed else 1,
        failing_rows=sample,
        tried=tried,
    )


def _reads(manifest: Manifest, node: Node, rule: Rule) -> tuple[str, ...]:
    """The nodes that a rule reads, its own first: those whose table its SQL or its reference names."""
    told = f"{rule.sql or ''} {(rule.reference or '').rpartition('.')[0]}"
    words = set(re.findall(r"\w+", told))
    named = [u for u, other in manifest.nodes.items() if other.relation.rpartition(".")[2] in words]
    return tuple(dict.fromkeys((node.unique_id, *named)))


def _relation(manifest: Manifest, name: str) -> str:
    """What a FROM takes of a table that a reference names: an asset key, a dataset, or `schema.table`."""
    key = tuple(name.split("/"))
    if key in manifest.node_of:
        return quoted(manifest.node_of[key].relation)
    return quoted(f"raw.{'__'.join(key)}") if len(key) == 2 else quoted(name)
