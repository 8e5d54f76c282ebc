"""Which columns of a table are masked wherever a person without a right to the table itself may look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.contracts.masking import Names, classified
from caudal.lake.component import declared_datasets
from caudal.runtime.location import component_tree
from caudal.transform.component import DbtProject, hidden_anywhere
from caudal.transform.manifest import personal_columns

if TYPE_CHECKING:
    from caudal.environment import Environment


def hidden_columns(env: Environment, relation: str) -> Names:
    """Those of `schema.name`: as its contract or model says, and for what neither declares, by their names elsewhere."""
    tree = component_tree(env)
    datasets = declared_datasets(tree)
    schema, _, name = relation.partition(".")
    for dataset in datasets:
        hidden = classified([dataset.contract])
        if schema == "quarantine" and name == dataset.table:
            return Names(("value", "record")) if hidden else Names()
        if schema == "raw" and name in (dataset.table, f"{dataset.table}__latest"):
            return hidden
    for project in tree.get_all_components(of_type=DbtProject):
        manifest = project.manifest(env, datasets)
        for node in manifest.nodes.values():
            if node.relation == relation:
                return personal_columns(manifest, node)
    return hidden_anywhere(tree, env)
