"""The columns of all of a company's assets: of its dbt models, its raw tables, and of what declares it in Python."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from caudal.contracts import LINEAGE_COLUMNS
from caudal.lake.component import declared_datasets
from caudal.transform.columns.project import COLUMNS
from caudal.transform.columns.stored import Stored, StoredTable
from caudal.transform.columns.values import Column
from caudal.transform.columns.walk import Graph
from caudal.transform.component import DbtProject

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.transform.manifest import Manifest

LINEAGE = "dagster/column_lineage"
SCHEMA = "dagster/column_schema"


def column_graph(env: Environment) -> Graph:
    """All columns of the company's assets, and what they are made of. Runs nothing, and opens no database."""
    # Dagster warns of what may change in a patch release, many times, to whoever only asks for a column.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _graph(env)


def manifests(env: Environment) -> list[Manifest]:
    """Those of the company's dbt projects."""
    from caudal.runtime.location import component_tree

    return [component.manifest(env) for component in component_tree(env).get_all_components(of_type=DbtProject)]


def _graph(env: Environment) -> Graph:
    from caudal.runtime.location import component_tree, load_definitions

    tree = component_tree(env)
    tables: dict[str, StoredTable] = {}
    for component in tree.get_all_components(of_type=DbtProject):
        tables |= Stored.read(component.manifest(env).path.with_name(COLUMNS)).tables
    for dataset in declared_datasets(tree):
        key, lake = f"raw/{dataset.id}", f"lake/{dataset.id}"
        declared = [column.name for column in dataset.contract.columns]
        tables[lake] = StoredTable({name.lower(): Column(name) for name in declared}, is_open=True)
        columns = {name.lower(): Column(name, {(lake, name.lower()): True}) for name in declared}
        columns |= {name: Column(name) for name in LINEAGE_COLUMNS}
        tables[key] = StoredTable(columns, is_open=True, rest=lake if dataset.contract.drift == "evolve" else None)
    specs = list(load_definitions(env.company).resolve_all_asset_specs())
    tables |= {"/".join(spec.key.path): declared_table(spec) for spec in specs if LINEAGE in spec.metadata}
    reads = {"/".join(spec.key.path): ["/".join(dep.asset_key.path) for dep in spec.deps] for spec in specs}
    return Graph(tables, reads)


def declared_table(spec: dg.AssetSpec) -> StoredTable:
    """A table whose declaration says what its columns are made of."""
    lineage = getattr(spec.metadata[LINEAGE], "value", spec.metadata[LINEAGE])
    by_column: Mapping[str, Sequence[dg.TableColumnDep]] = lineage.deps_by_column
    schema = spec.metadata.get(SCHEMA)
    names: Iterable[str] = [column.name for column in getattr(schema, "value", schema).columns] if schema else ()
    columns = {name.lower(): Column(name) for name in names}
    for name, deps in by_column.items():
        origins = {("/".join(dep.asset_key.path), dep.column_name.lower()): False for dep in deps}
        columns[name.lower()] = Column(name, origins)
    return StoredTable(columns, is_declared=True)
