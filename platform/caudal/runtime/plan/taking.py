"""A snapshot of the definitions that this process can load. Opens no connection; dbt runs only if its project is new."""

from __future__ import annotations

import inspect
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg

from caudal.environment import Environment
from caudal.lake.component import declared_datasets, lake_key
from caudal.lake.dataset import Dataset
from caudal.runtime.asset_metadata import relation_of
from caudal.runtime.location import component_tree, load_definitions
from caudal.runtime.plan import declared
from caudal.runtime.plan.snapshot import Asset, DeclaredColumn, Snapshot
from caudal.transform.component import DbtProject
from caudal.transform.lineage import Key, Lineage, Resource
from caudal.warehouse.component import raw_key

#: Kinds of components whose settings are told piece by piece, and not as one.
_TOLD_APART = ("Datasets", "DbtProject")


@dataclass(frozen=True)
class Taken:
    """A snapshot, and what it was taken from.

    Attributes:
        datasets: as declared.
        projects: dbt projects, each with the path of its manifest.

    """

    snapshot: Snapshot
    datasets: tuple[Dataset, ...] = ()
    projects: tuple[tuple[DbtProject, Path], ...] = field(default=())


def take(env: Environment, name: str) -> Taken:
    """The definitions of `env.company` as they can be loaded now.

    Raises:
        Exception: they cannot be loaded; whatever the definitions raise.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        definitions = load_definitions(env.company)
        tree = component_tree(env)
        datasets = declared_datasets(tree)
        projects = tuple((project, project.manifest(env).path) for project in tree.get_all_components(DbtProject))
        graph = definitions.resolve_asset_graph()
        specs = list(definitions.resolve_all_asset_specs())
        assets = {asset.key: asset for spec in specs for asset in [_asset(spec, definitions, graph, env.root)]}
    for dataset in datasets:
        _add_dataset(assets, dataset)
    for _, manifest in projects:
        _add_nodes(assets, json.loads(manifest.read_text(encoding="utf-8")))
    return Taken(Snapshot(name, env.company, assets, dict(_timetable(definitions))), datasets, projects)


def _asset(spec: dg.AssetSpec, definitions: dg.Definitions, graph: Any, root: Path) -> Asset:
    schema = spec.metadata.get("dagster/column_schema")
    table = getattr(schema, "schema", schema)
    columns = tuple(_column(column) for column in table.columns) if isinstance(table, dg.TableSchema) else ()
    settings = {"group": spec.group_name or "", "tags": ", ".join(sorted(t for t in spec.tags if not t.startswith("dagster/")))}
    if spec.partitions_def is not None:
        settings["partitions"] = _partitions(spec.partitions_def)
    if spec.automation_condition is not None:
        settings["refreshed"] = spec.automation_condition.get_label() or type(spec.automation_condition).__name__
    if spec.freshness_policy is not None:
        settings["freshness"] = f"{spec.freshness_policy}"
    settings |= _component_settings(spec)
    return Asset(
        key=spec.key.to_user_string(),
        deps=tuple(sorted(dep.asset_key.to_user_string() for dep in spec.deps)),
        columns=columns,
        code=_code(spec, definitions, root),
        settings={name: value.replace(f"{root}{os.sep}", "") for name, value in settings.items() if value},
        checks={each.name: _check(graph.get_check_spec(each)) for each in graph.get(spec.key).check_keys},
        owners=tuple(sorted(spec.owners)),
        description=spec.description or "",
        relation=relation_of(spec.metadata),
        is_virtual=spec.is_virtual,
        is_automated=spec.automation_condition is not None,
    )


def _column(column: dg.TableColumn) -> DeclaredColumn:
    constraints = column.constraints
    return DeclaredColumn(
        column.name,
        "" if column.type == "?" else column.type.upper(),
        column.description or "",
        required=not constraints.nullable,
        unique=constraints.unique,
        classification=(column.tags or {}).get("classification", ""),
    )


def _check(spec: dg.AssetCheckSpec) -> str:
    return "blocks" if spec.blocking else "tells"


def _partitions(definition: dg.PartitionsDefinition) -> str:
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return f"dynamic, {definition.name}"
    return f"{definition}"


def _code(spec: dg.AssetSpec, definitions: dg.Definitions, root: Path) -> dict[str, str]:
    """Its code version, or else a fingerprint of the company's module that makes it. The platform's own code is not told."""
    if spec.code_version is not None:
        return {"code version": spec.code_version}
    made_by = definitions.resolve_assets_def(spec.key)
    node = made_by.node_def if made_by.is_executable else None
    function = getattr(getattr(node, "compute_fn", None), "decorated_fn", None)
    if function is None:
        return {}
    module = sys.modules.get(inspect.unwrap(function).__module__)
    path = getattr(module, "__file__", None)
    if module is None or path is None or module.__name__.partition(".")[0] == "caudal":
        return {}
    try:
        told = Path(path).resolve().relative_to(root).as_posix()
    except ValueError:
        told = module.__name__
    return {f"Python code {told}": declared.fingerprint(Path(path).read_bytes())}


def _component_settings(spec: dg.AssetSpec) -> dict[str, str]:
    """What YAML says of the component that made it, but for components of which each asset has a part only."""
    origin = getattr(spec.metadata.get("dagster/component_origin"), "instance", None)
    if not isinstance(origin, dg.Model) or type(origin).__name__ in _TOLD_APART:
        return {}
    given = origin.model_dump(mode="python", exclude_defaults=True, exclude={"description", "owners"})
    return {name: f"{value}" for name, value in given.items()}


def _add_dataset(assets: dict[str, Asset], dataset: Dataset) -> None:
    """Its contract and its settings, on the raw table. The lake asset's own facts tell the same once more, and are left out."""
    raw, lake = raw_key(dataset).to_user_string(), lake_key(dataset).to_user_string()
    found = assets[raw]
    assets[raw] = replace(
        found,
        columns=declared.contract_columns(dataset.contract),
        settings={**found.settings, **declared.dataset_settings(dataset)},
        description=dataset.contract.description,
        is_delivered=True,
    )
    if not assets[lake].deps:
        assets[lake] = replace(assets[lake], description="", settings={})


def _add_nodes(assets: dict[str, Asset], document: Resource) -> None:
    lineage = Lineage(document)
    tests: dict[str, dict[str, list[Resource]]] = {}
    for test in document["nodes"].values():
        blocks = (test.get("config") or {}).get("severity", "error").lower() == "error"
        if test["resource_type"] == "test" and test.get("test_metadata") and test.get("column_name") and blocks:
            of_node = tests.setdefault(test.get("attached_node") or "", {})
            of_node.setdefault(test["column_name"].lower(), []).append(test)
    for unique_id, resource in lineage.assets.items():
        key = _name(lineage.key(unique_id))
        found = assets[key]
        assets[key] = replace(
            found,
            columns=declared.node_columns(resource, tests.get(unique_id, {})),
            code=declared.node_code(resource, lineage),
            settings={**found.settings, **declared.node_settings(resource)},
        )


def _name(key: Key) -> str:
    return "/".join(key)


def _timetable(definitions: dg.Definitions) -> Iterator[tuple[str, str]]:
    for schedule in definitions.schedules or ():
        cron: Any = getattr(schedule, "cron_schedule", None)
        zone = getattr(schedule, "execution_timezone", None) or "UTC"
        yield f"schedule {schedule.name}", f"{cron} ({zone})"
    for sensor in definitions.sensors or ():
        yield f"sensor {sensor.name}", f"every {sensor.minimum_interval_seconds or 30} s"
