"""Which tables and columns identify people: as contracts and dbt declare, and as column lineage finds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.contracts.masking import Names
from caudal.runtime.asset_metadata import relation_of
from caudal.warehouse import versions

if TYPE_CHECKING:
    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: What a column's `meta` says in dbt, as `subjectKey` in a contract.
META = "subject_key"

#: Published as they are loaded: who is gone there is gone here with the next version.
_COPIES_OF_RAW = ("raw", "quarantine")


class UnknownSubject(LookupError):
    """No contract declares who is asked for. The message says what there is."""


@dataclass(frozen=True)
class Where:
    """The tables that hold values which identify one kind of person.

    Attributes:
        subject: the kind, as `subjectKey` says.
        datasets: those of the company with such columns.
        published: by `schema.name`, the columns of a published table, each with DuckDB's type.

    """

    subject: str
    datasets: tuple[Dataset, ...]
    published: Mapping[str, Mapping[str, str]]

    def columns(self, dataset: Dataset) -> list[Column]:
        """The dataset's columns that identify such a person."""
        return [column for column in dataset.contract.columns if column.subject == self.subject]

    @property
    def names(self) -> Names:
        """What such columns are called in raw tables."""
        return Names(column.name for dataset in self.datasets for column in self.columns(dataset))


def where(env: Environment, key: str, datasets: Iterable[Dataset], declared: Mapping[str, Collection[str]]) -> Where:
    """The tables that hold values of `key`, a `subjectKey` or the name of a column that has one.

    Args:
        declared: columns of published tables that lineage or dbt says are such, by `schema.name`. Columns that are called as
            in a raw table are looked at besides: few pass a column on and say so.

    Raises:
        UnknownSubject: no contract has it.

    """
    having = [(d, c) for d in datasets for c in d.contract.columns if c.subject]
    subjects = {c.subject for _, c in having}
    meant = {key} & subjects or {c.subject for _, c in having if c.name == key}
    if len(meant) != 1:
        known = (
            ", ".join(sorted(f"`{s}`" for s in subjects if s)) or "none: say `subjectKey` of the columns that identify people"
        )
        raise UnknownSubject(
            f"no contract has the subject key `{key}`, nor a column of that name with one. Declared are {known}"
        )
    (subject,) = meant
    found = Where(subject or "", tuple({d.id: d for d, c in having if c.subject == subject}.values()), {})
    current = versions.current(env)
    record = versions.named(env, current) if current else None
    published = {}
    for relation, told in record.relations.items() if record else ():
        also = Names(declared.get(relation, ()))
        columns = {name: kind for name, kind in told.columns.items() if name in found.names or name in also}
        if told.kind == "TABLE" and columns and relation.split(".", 1)[0] not in _COPIES_OF_RAW:
            published[relation] = columns
    return Where(found.subject, found.datasets, published)


def datasets_of(env: Environment) -> list[Dataset]:
    """The company's datasets, with the columns that their files have brought."""
    from caudal.lake.component import declared_datasets
    from caudal.lake.evolution import as_it_is
    from caudal.runtime.location import component_tree

    return [as_it_is(env, dataset) for dataset in declared_datasets(component_tree(env))]


def declared_columns(env: Environment, key: str, datasets: Sequence[Dataset]) -> dict[str, set[str]]:
    """By `schema.name`, columns that are copies of columns with the subject key, or say so themselves in dbt."""
    from caudal.runtime.column_graph import column_graph, manifests
    from caudal.runtime.location import load_definitions
    from caudal.transform.columns.walk import walk

    graph = column_graph(env)
    by_asset: dict[str, set[str]] = {}
    for dataset in datasets:
        for column in dataset.contract.columns:
            if column.subject and key in (column.subject, column.name):
                walked = walk(graph, (f"raw/{dataset.id}", column.name.lower()), "down")
                reached = {(f"raw/{dataset.id}", column.name.lower())}
                for _, edge in walked.edges:
                    if edge.kind == "copied" and edge.source in reached:
                        reached.add(edge.target)
                        by_asset.setdefault(edge.target[0], set()).add(edge.target[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        specs = load_definitions(env.company).resolve_all_asset_specs()
    found: dict[str, set[str]] = {}
    for spec in specs:
        relation = relation_of(spec.metadata)
        if relation and (columns := by_asset.get("/".join(spec.key.path))):
            found.setdefault(relation, set()).update(columns)
    for manifest in manifests(env):
        document = json.loads(manifest.path.read_text(encoding="utf-8"))
        for unique_id, node in manifest.nodes.items():
            told = document["nodes"].get(unique_id, {}).get("columns", {})
            said = {name for name, c in told.items() if META in c.get("meta", {}) and c["meta"][META] == key}
            if said:
                found.setdefault(node.relation, set()).update(said)
    return found
