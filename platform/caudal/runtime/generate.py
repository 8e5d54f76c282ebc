"""Files made from contracts. They are committed, so that people and tools read them; a test fails when they are stale."""

from __future__ import annotations

from pathlib import Path

from caudal.environment import Environment
from caudal.lake.component import declared_datasets
from caudal.runtime.location import component_tree
from caudal.store import write_atomically
from caudal.transform.component import DbtProject
from caudal.transform.sources import sources_yaml


def generate(env: Environment, *, check: bool) -> list[Path]:
    """Write dbt's sources of the company from its contracts; the files that were stale. With `check`, write nothing."""
    tree = component_tree(env)
    datasets = declared_datasets(tree)
    stale = []
    for project in tree.get_all_components(DbtProject):
        path = project.directory(env.root) / "models" / "sources.yml"
        text = sources_yaml(datasets)
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(path)
        if not check:
            with write_atomically(path) as temporary:
                temporary.write_text(text)
    return stale
