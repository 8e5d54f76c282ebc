"""A dbt project, declared in YAML, as assets and checks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg

from caudal.contracts.masking import Names, classified
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.transform.assets import dbt_assets
from caudal.transform.manifest import Manifest, published_tables, read_manifest
from caudal.transform.project import Project, prepare_manifest, ship_manifest
from caudal.transform.rules import with_rules
from caudal.warehouse.bigquery.component import declared_budgets
from caudal.warehouse.published import PublishedTable
from caudal.warehouse.quality.component import datasets_with_rules, declared_rules


class DbtProject(dg.Component, dg.Model, dg.Resolvable):
    """The company's dbt project: each model, seed and snapshot is an asset, each test a check.

    Models are built in a candidate of the warehouse. What passed its tests is published, in one step; what did not, and what
    is below it, keeps its last published version.

    Attributes:
        project: the project's folder, relative to the root of the checkout. It holds `profiles.yml` as well.
        target: the profile's target; if it is not said, `bigquery` in the environment `gcp`, else `local`.

    """

    project: str = "dbt"
    target: str | None = None

    def directory(self, root: Path) -> Path:
        """The project's folder."""
        return (root / self.project).resolve()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Read dbt's manifest, which is made anew if the project changed.

        Raises:
            caudal.transform.project.ProjectError: dbt refuses the project; with dbt's message.
            caudal.transform.nodes.ManifestError: two models would be the same asset.

        """
        env = Environment.of_module(context.defs_module_name)
        datasets = datasets_with_rules(context.component_tree)
        manifest = with_rules(self.manifest(env, datasets), declared_rules(context.component_tree))
        budgets = declared_budgets(context.component_tree)
        return dg.Definitions(assets=[dbt_assets(env, self.dbt_project(env), manifest, datasets, budgets)])

    def dbt_project(self, env: Environment) -> Project:
        """How the project is run in `env`."""
        return Project(
            folder=self.directory(env.root),
            state=env.state / "dbt",
            catalog=env.published.stem,
            target=self.target or ("bigquery" if env.cloud else "local"),
            cloud=env.cloud,
            extensions=env.duckdb_extensions,
            shipped=env.shipped / "dbt",
        )

    def manifest(self, env: Environment, datasets: Sequence[Dataset] = ()) -> Manifest:
        """The project's nodes and checks.

        Args:
            datasets: what their contracts classify is hidden too, whether or not the project's sources say it again.

        Raises:
            caudal.transform.project.ProjectError: dbt refuses the project; with dbt's message.

        """
        manifest = read_manifest(prepare_manifest(self.dbt_project(env)))
        return replace(manifest, personal=manifest.personal | classified(d.contract for d in datasets))

    def ship(self, env: Environment) -> Path:
        """Make the manifest that processes of an image will find, when the image is built; its path.

        Raises:
            caudal.transform.project.ProjectError: dbt refuses the project; with dbt's message.

        """
        return ship_manifest(self.dbt_project(env), env.shipped / "dbt")

    def published_tables(self, env: Environment, datasets: Sequence[Dataset] = ()) -> list[PublishedTable]:
        """The marts that hold data of their own: what profiles, notebooks, models and the API read."""
        return published_tables(self.manifest(env, datasets))


def hidden_anywhere(tree: dg.ComponentTree, env: Environment) -> Names:
    """The names of all columns that a contract or a model of the company classifies."""
    from caudal.lake.component import declared_datasets

    datasets = declared_datasets(tree)
    projects = tree.get_all_components(of_type=DbtProject)
    return Names(name for project in projects for name in project.manifest(env).personal) | classified(
        dataset.contract for dataset in datasets
    )
