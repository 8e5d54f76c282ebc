"""Exploration declared in YAML: profiles of published tables, notebooks, networks."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import dagster as dg

from caudal.contracts.masking import Names, is_masked
from caudal.environment import Environment
from caudal.explore.assets import GROUP, network_asset, notebook_asset, profile_assets
from caudal.explore.findings import TIMEOUT_S
from caudal.lake.component import declared_datasets
from caudal.lake.dataset import Dataset
from caudal.transform.component import DbtProject, hidden_anywhere
from caudal.warehouse.published import PublishedTable

ResolvedPath = Annotated[
    Path, dg.Resolver(lambda context, value: context.resolve_source_relative_path(value), model_field_type=str)
]


class Profiles(dg.Component, dg.Model, dg.Resolvable):
    """Profiles every published table of a stage: an asset `profile/<domain>/<table>` below each.

    The tables are those of the company's dbt projects: a new mart is profiled without being named here.

    Attributes:
        stage: the first part of the tables' asset keys.
        raw: profile the raw tables too, as `profile/raw/<source>/<dataset>`.
        also: other published tables, their asset keys and `schema.table`, such as
            `{explore/marketing/household_network: explore.household_network}`: `profile/explore/marketing/household_network`.
        owners: of the profiles of `raw` and `also`; a mart's profile belongs to who owns the mart.
        timeout_s: for one table. What can be left out is, when time runs out, and the page says so.

    """

    stage: str = "marts"
    raw: bool = False
    also: Mapping[str, str] = {}
    owners: Sequence[str] = ()
    timeout_s: float = TIMEOUT_S

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        env = Environment.of_module(context.defs_module_name)
        projects = context.component_tree.get_all_components(DbtProject)
        datasets = declared_datasets(context.component_tree)
        tables = [table for project in projects for table in project.published_tables(env, datasets)]
        chosen = [table for table in tables if table.key[0] == self.stage]
        owners, anywhere = tuple(self.owners), hidden_anywhere(context.component_tree, env) if self.also else Names()
        if self.raw:
            chosen += [_raw_table(dataset, owners) for dataset in datasets]
        chosen += [
            PublishedTable(tuple(key.split("/")), relation, owners=owners, personal=anywhere)
            for key, relation in self.also.items()
        ]
        return profile_assets(chosen, env, self.timeout_s, {f"raw.{dataset.table}": dataset for dataset in datasets})


def _raw_table(dataset: Dataset, owners: tuple[str, ...]) -> PublishedTable:
    key = ("raw", dataset.source, dataset.name)
    return PublishedTable(key, f"raw.{dataset.table}", owners=owners, personal=frozenset(_hidden(dataset)))


def _hidden(dataset: Dataset) -> Iterator[str]:
    """Its columns whose values are masked, as declared and in small letters."""
    for column in dataset.contract.columns:
        if is_masked(column.classification):
            yield from (column.name, column.name.lower())


class Notebook(dg.Component, dg.Model, dg.Resolvable):
    """An analyst's notebook as the asset `notebook/<domain>/<name>`: executed anew when what it reads has changed.

    It runs in a process of its own with the company's environment, so that `caudal.warehouse.published` reads what is
    published. Its texts, values and images are shown on the asset's page and kept as `.ipynb` and `.html` in the reports.

    Attributes:
        path: the `.ipynb`, or the marimo notebook `.py`, relative to the file that declares it.
        name: of the asset; the file's name without its ending if left out.
        deps: keys of the assets that it reads, such as `marts/sales/fct_baskets`.
        parameters: what replaces the values of the cell tagged `parameters` (of marimo: the one so named).
        timeout_s: for the whole notebook.

    """

    path: ResolvedPath
    name: str = ""
    domain: str
    deps: Sequence[str]
    parameters: Mapping[str, Any] = {}
    description: str = ""
    owners: Sequence[str] = ()
    timeout_s: float = 600

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Read the notebook's text, whose change is a change of the asset's code.

        Raises:
            FileNotFoundError: there is no such notebook.

        """
        return self.definitions(Environment.of_module(context.defs_module_name))

    def definitions(self, env: Environment) -> dg.Definitions:
        """The asset in `env`."""
        text = self.path.read_bytes()
        version = hashlib.sha256(text + json.dumps(dict(self.parameters), sort_keys=True, default=str).encode())
        spec = dg.AssetSpec(
            ["notebook", self.domain, self.name or self.path.stem],
            deps=[dg.AssetKey.from_user_string(key) for key in self.deps],
            description=self.description,
            group_name=GROUP,
            kinds={"marimo" if self.path.suffix == ".py" else "jupyter", "python"},
            owners=list(self.owners),
            tags={"domain": self.domain},
            code_version=version.hexdigest()[:12],
        )
        return dg.Definitions(assets=[notebook_asset(spec, self.path, env, self.parameters, self.timeout_s)])


class Network(dg.Component, dg.Model, dg.Resolvable):
    """Who matters among the nodes that have something in common, as the asset and table `explore.<name>`.

    Two nodes are linked if a value of `link` occurs with both. Their degree, PageRank and betweenness are published; the
    most important ones are on the page of the asset, `explore/<domain>/<name>`.

    Attributes:
        table: the published table, `schema.table`; `asset` is its asset key.
        node: its column of the nodes, such as `household_id`; `link` the one of what they have in common.

    """

    name: str
    domain: str
    table: str
    asset: str
    node: str
    link: str
    description: str = ""
    owners: Sequence[str] = ()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        env, tree = Environment.of_module(context.defs_module_name), context.component_tree
        return self.definitions(env, lambda: hidden_anywhere(tree, env))

    def definitions(self, env: Environment, hidden: Callable[[], Collection[str]] = tuple) -> dg.Definitions:
        """The asset in `env`; `hidden` gives the columns whose values are masked."""
        relation = f"explore.{self.name}"
        key = dg.TableColumnConstraints(nullable=False, unique=True)
        schema = dg.TableSchema(
            [
                dg.TableColumn(self.node, "any", "The node, of the type that it has in the table.", constraints=key),
                dg.TableColumn("degree", "bigint", f"How many others it has a {self.link} in common with."),
                dg.TableColumn("pagerank", "double", "The share of a random walk along the links spent on it; all sum to 1."),
                dg.TableColumn("betweenness", "double", "The share of shortest paths between two others that lead through it."),
            ]
        )
        source = dg.AssetKey.from_user_string(self.asset)
        made_of = [dg.TableColumnDep(source, self.node), dg.TableColumnDep(source, self.link)]
        measures = ("degree", "pagerank", "betweenness")
        lineage = dg.TableColumnLineage({self.node: made_of[:1], **dict.fromkeys(measures, made_of)})
        spec = dg.AssetSpec(
            ["explore", self.domain, self.name],
            deps=[source],
            description=self.description,
            group_name=GROUP,
            kinds={"python", "duckdb"},
            owners=list(self.owners),
            tags={"domain": self.domain},
            metadata={
                "dagster/relation_identifier": relation,
                "dagster/column_schema": schema,
                "dagster/column_lineage": lineage,
            },
        )
        asset = network_asset(spec, self.table, self.node, self.link, relation, env, hidden)
        return dg.Definitions(assets=[asset])
