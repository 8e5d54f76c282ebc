"""The catalogue made: definitions say what each table is, Dagster's records how it stands, the published file what it holds.

Nothing runs and nothing is written but the catalogue's file. Whoever shows it needs no Dagster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.contracts.masking import Names, is_masked
from caudal.serving.catalogue.relations import Relation, count_rows, first_rows, open_published, relations
from caudal.serving.catalogue.values import Catalogue, Column, Table
from caudal.warehouse import versions

if TYPE_CHECKING:
    import dagster as dg

    from caudal.contracts import Column as ContractColumn
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.transform.manifest import Manifest
    from caudal.transform.nodes import Node


_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT|DECIMAL|DOUBLE|FLOAT|BOOLEAN")


@dataclass(frozen=True)
class Declared:
    """What a contract or a model says of a relation; columns by name in small letters."""

    contract: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    hidden: Names = field(default_factory=Names)


def make_catalogue(env: Environment, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Catalogue:
    """The catalogue of the published version, as things stand now."""
    from caudal.runtime.catalogue_records import read_records
    from caudal.runtime.location import component_tree
    from caudal.warehouse.published import NothingPublished

    tree = component_tree(env)
    declared, lookups = _declared(env, tree), _lookups(tree)
    personal = Names(
        name for each in declared.values() for name, column in each.columns.items() if is_masked(column.classification)
    )

    def said_of(relation: Relation) -> Declared:
        return declared.get(relation.name, Declared())

    records = read_records(env, definitions, instance)
    version, tables = versions.current(env) or "", []
    try:
        with open_published(env) as connection:
            found = relations(connection)
            columns = {
                r.name: records.with_lineage(r.name, _columns(r, said_of(r), records.schema_of(r.name), personal))
                for r in found
            }
            columns = passed_on(columns)
            for relation in found:
                table = Table(
                    relation=relation.name,
                    kind=relation.kind,
                    contract=said_of(relation).contract,
                    columns=columns[relation.name],
                    rows=count_rows(connection, relation),
                    examples=first_rows(connection, relation, {c.name for c in columns[relation.name] if c.personal}),
                    lookup=lookups.get(relation.name),
                )
                tables.append(records.fill(table))
    except NothingPublished:
        version = ""
    return Catalogue(
        company=env.company,
        version=version,
        made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        database=f"bigquery://{env.cloud.project}/{env.cloud.datasets}" if env.cloud else str(env.published),
        dagster=env.ui_url,
        tables=tuple(tables),
    )


def refresh(env: Environment) -> Catalogue:
    """Make the catalogue anew and keep it; from definitions and Dagster's home as they are on this machine."""
    import dagster as dg

    from caudal.runtime.instance import open_instance
    from caudal.runtime.location import load_definitions
    from caudal.serving.catalogue.values import catalogue_path, write_catalogue

    definitions = load_definitions(env.company)
    with open_instance(env) as known, nullcontext(known) if known else dg.DagsterInstance.ephemeral() as instance:
        catalogue = make_catalogue(env, definitions, instance)
    write_catalogue(catalogue, catalogue_path(env))
    return catalogue


def _columns(relation: Relation, said: Declared, shown: Mapping[str, Column], personal: Names) -> tuple[Column, ...]:
    """The columns as the published file has them, with what is declared of each."""
    found = []
    for name, type_ in relation.columns:
        known = said.columns.get(name.lower()) or shown.get(name.lower()) or Column(name, type_)
        is_hidden = name in personal or name in said.hidden
        classified = known.classification if known.classification else "personal" if is_hidden else None
        found.append(replace(known, name=name, type=type_, classification=classified, personal=is_masked(classified)))
    return tuple(found)


def passed_on(columns: Mapping[str, tuple[Column, ...]]) -> dict[str, tuple[Column, ...]]:
    """The columns by relation, where what is made of personal data of the same type is personal too.

    Where column lineage is known this finds a name that was changed. Numbers are left out: a count of people is made of their
    keys, and is no personal data. Where a column is classified itself, that holds.
    """
    known = {f"{relation}.{c.name}".lower(): c for relation, each in columns.items() for c in each}

    def is_personal(column: Column, above: frozenset[str]) -> bool:
        if column.personal or column.classification or _NUMBER.match(column.type):
            return column.personal
        origins = [(name.lower(), known[name.lower()]) for name in column.made_of if name.lower() in known]
        return any(o.type == column.type and name not in above and is_personal(o, above | {name}) for name, o in origins)

    def judged(column: Column) -> Column:
        return replace(column, personal=True, classification="personal") if is_personal(column, frozenset()) else column

    return {r: tuple(c if c.personal else judged(c) for c in each) for r, each in columns.items()}


def _declared(env: Environment, tree: dg.ComponentTree) -> dict[str, Declared]:
    """By relation."""
    from caudal.lake.component import declared_datasets
    from caudal.transform.component import DbtProject

    found: dict[str, Declared] = {}
    for dataset in declared_datasets(tree):
        found |= _of_dataset(dataset)
    for project in tree.get_all_components(DbtProject):
        manifest = project.manifest(env, declared_datasets(tree))
        found |= {node.relation: _of_node(node, manifest) for node in manifest.nodes.values()}
    return found


def _of_dataset(dataset: Dataset) -> dict[str, Declared]:
    from caudal.warehouse.latest import latest_table

    contract = dataset.contract
    columns = {c.name.lower(): _of_contract(c) for c in contract.columns}
    raw = Declared(f"{contract.id} {contract.version}", columns)
    # A refused row is kept as it came, whole: it is as personal as its table.
    hidden = next((c.classification for c in columns.values() if is_masked(c.classification)), None)
    told = {
        "value": Column("value", "", "What stands there.", classification=hidden or "public"),
        "record": Column("record", "", "The whole row as it stands in the file, as JSON.", classification=hidden or "public"),
    }
    return {
        f"raw.{dataset.table}": raw,
        f"raw.{latest_table(dataset)}": raw,
        f"quarantine.{dataset.table}": Declared(raw.contract, told),
    }


def _of_contract(column: ContractColumn) -> Column:
    hidden = next((c.classification for c in column.walk() if is_masked(c.classification)), None)
    return Column(
        column.name,
        column.duckdb_type,
        column.description,
        unit=column.unit or "",
        constraints=tuple(_promises(column)),
        classification=hidden or column.classification,
    )


def _promises(column: ContractColumn) -> Iterator[str]:
    """What the contract says of the values, in words."""
    if column.primary_key:
        yield "key"
    if column.required:
        yield "never empty"
    if column.unique:
        yield "unique"
    for words, limit in (
        ("at least", column.minimum),
        ("at most", column.maximum),
        ("more than", column.exclusive_minimum),
        ("less than", column.exclusive_maximum),
        ("a multiple of", column.multiple_of),
        ("matches", column.pattern),
    ):
        if limit is not None:
            yield f"{words} {limit}"
    if column.allowed:
        more = f" and {len(column.allowed) - 8} more" if len(column.allowed) > 8 else ""
        yield f"one of {', '.join(str(value) for value in column.allowed[:8])}{more}"


#: dbt's generic tests of one column, in words.
_TESTED = {
    "not_null": "never empty",
    "unique": "unique",
    "relationships": "is in another table",
    "accepted_values": "of few values",
}


def _of_node(node: Node, manifest: Manifest) -> Declared:
    from caudal.transform.manifest import personal_columns

    tested: dict[str, list[str]] = {}
    for check in manifest.checks.values():
        words = next((told for name, told in _TESTED.items() if check.name.startswith(f"{name}_")), None)
        if check.asset == node.key and check.column and words:
            tested.setdefault(check.column.lower(), []).append(words)
    return Declared(
        hidden=personal_columns(manifest, node),
        columns={
            c.name.lower(): Column(
                c.name,
                c.data_type,
                c.description,
                unit=c.unit,
                constraints=tuple(sorted(tested.get(c.name.lower(), ()))),
                classification=c.classification,
            )
            for c in node.columns
        },
    )


def _lookups(tree: dg.ComponentTree) -> dict[str, tuple[str, str]]:
    """By relation, the name and key column by which the HTTP API answers from it; no key for the forecasts."""
    from caudal.serving.component import OnlineStore

    found: dict[str, tuple[str, str]] = {}
    for store in tree.get_all_components(OnlineStore):
        found |= {table.relation: (table.keyed.name, table.key) for table in store.tables}
        if store.forecasts:
            found[store.forecasts.relation] = ("forecasts", "")
    return found
