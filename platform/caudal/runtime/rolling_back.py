"""Rolling back with what the company declares: its tests look at the candidate, and Dagster is told, as of an update."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import dagster as dg

from caudal.environment import Environment
from caudal.runtime.asset_metadata import relation_of
from caudal.runtime.instance import open_instance
from caudal.runtime.location import component_tree, load_definitions
from caudal.transform.build import build
from caudal.transform.component import DbtProject
from caudal.transform.keys import declared_keys
from caudal.transform.manifest import Manifest
from caudal.transform.placing import place
from caudal.transform.project import prepare_manifest
from caudal.warehouse.held_back import held
from caudal.warehouse.rollback import RolledBack, rollback

if TYPE_CHECKING:
    from caudal.warehouse.candidate import Candidate


def roll_back(env: Environment, relation: str | None, to: str, by: str, *, force: bool = False) -> tuple[RolledBack, list[str]]:
    """Roll back, and report a materialization of each asset that is another one now; what was done, and those assets.

    What is below these assets is refreshed, as after any update of them. The assets themselves are built again when what they
    read is updated: what is wrong with them must be corrected until then.

    Args:
        relation: `schema.name`, or None for everything.
        force: publish although tests fail beside what is published now.

    Raises:
        caudal.warehouse.rollback.RefusedRollback: nothing was published, and why.
        caudal.warehouse.versions.NoSuchVersion: that version is not kept.

    """
    audit = tests_of(env, relation) if relation and not force else None
    done = rollback(env, relation, to, by, audit)
    return done, report(env, done, by)


def tests_of(env: Environment, relation: str) -> Callable[[Candidate], list[str]]:
    """Runs the dbt tests that read the relation, itself or through views, on a candidate; the failures in words."""
    projects = component_tree(env).get_all_components(DbtProject)

    def run(candidate: Candidate) -> list[str]:
        problems = []
        for project in projects:
            manifest = project.manifest(env)
            tests = _reading(manifest, relation)
            if tests:
                result = build(
                    project.dbt_project(env),
                    manifest,
                    database=candidate.path or place(manifest, tests, candidate, {}),
                    select=tests,
                )
                failed = result.failed_checks
                problems += [f"{'/'.join(c.asset)}, test {c.name}: {result.results[c.unique_id].message}" for c in failed]
        return problems

    return run


def report(env: Environment, done: RolledBack, by: str) -> list[str]:
    """Tell Dagster; the assets of which it was told. None if there is no instance, as before the first `caudal up`."""
    with open_instance(env) as instance:
        if instance is None:
            return []
        keys = _assets(env, done.changed)
        waiting = held(env)
        for relation, key in keys.items():
            metadata = {
                "rolled back to": done.to,
                "rolled back from": done.before,
                "published version": done.version,
                "by": by,
                "what changed": done.changed[relation],
            }
            if relation in waiting:
                metadata["held back"] = waiting[relation].sentence()
            text = f"Rolled back to {done.to} by {by}; `caudal rollback {relation} --to {done.before}` returns."
            event = dg.AssetMaterialization(
                key, description=text, metadata={name: dg.MetadataValue.text(value) for name, value in metadata.items()}
            )
            instance.report_runless_asset_event(event)
    return [key.to_user_string() for key in keys.values()]


def key_of(env: Environment, relation: str) -> tuple[str, ...]:
    """The columns that identify a row of the relation, as dbt's tests declare; none if they do not."""
    for project in component_tree(env).get_all_components(DbtProject):
        document = json.loads(prepare_manifest(project.dbt_project(env)).read_text(encoding="utf-8"))
        if relation in (keys := declared_keys(document)):
            return keys[relation]
    return ()


def _assets(env: Environment, relations: Iterable[str]) -> dict[str, dg.AssetKey]:
    wanted = {name for name in relations if name.split(".", 1)[0] not in ("raw", "quarantine")}
    found = {}
    for spec in load_definitions(env.company).resolve_all_asset_specs():
        name = relation_of(spec.metadata)
        # What is derived from a table, such as its profile, names it as well.
        if name in wanted and spec.key.path[0] != "profile":
            found[name] = spec.key
    return found


def _reading(manifest: Manifest, relation: str) -> list[str]:
    reach = {u for u, node in manifest.nodes.items() if node.relation == relation}
    for unique_id, node in manifest.nodes.items():  # Parents come first.
        if node.is_virtual and reach.intersection(node.parents):
            reach.add(unique_id)
    return [u for u, check in manifest.checks.items() if check.has_rows and reach.intersection(check.reads)]
