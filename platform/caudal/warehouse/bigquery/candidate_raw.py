"""The raw tables of a candidate: each at one version, the newest that has passed its blocking rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from caudal.lake.evolution import as_it_is
from caudal.warehouse.bigquery import names, schema
from caudal.warehouse.bigquery.raw_tables import BigQueryRawTables, as_of
from caudal.warehouse.bigquery.tables import Tables
from caudal.warehouse.latest import has_latest, latest_query, latest_table
from caudal.warehouse.quality import judged
from caudal.warehouse.raw_tables import raw

if TYPE_CHECKING:
    from caudal.contracts.access import Access
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.bigquery.service import BigQuery
    from caudal.warehouse.versions import Version


class Building(Protocol):
    """What of a candidate raw tables are put into."""

    env: Environment
    service: BigQuery
    version: str
    before: Version | None
    holding: set[str]
    definitions: dict[str, str]
    access: dict[str, Access]

    def physical(self, relation: str, in_candidate: bool | None = None) -> tuple[str, str]: ...


_LINEAGE = ("_file", "_version", "_row", "_loaded_at")


def pin(candidate: Building, datasets: Sequence[Dataset]) -> None:
    """Clone what loaders wrote, where that is not what readers see; a table that was never written is made without rows.

    A clone costs neither time nor money for its rows. It has every column of the contract.
    """
    service, env = candidate.service, candidate.env
    written = BigQueryRawTables(service.cloud)
    seen = candidate.before.relations if candidate.before else {}
    for each in datasets:
        dataset = as_it_is(env, each)
        relation = raw(dataset)
        version = judged.version_to_read(env, dataset, written.version(relation))
        fields = schema.fields_of(dataset.contract)
        definition = (
            f"{relation} as of {version}, with {', '.join(f'{f.name} {schema.told(f)}' for f in fields)}{_guarded(dataset)}"
        )
        if relation not in seen or seen[relation].definition != definition:
            own = names.in_candidate(service.cloud, relation, candidate.version)
            if version is not None:
                source = as_of(service.cloud, relation, version)
                service.query(f"CREATE TABLE {names.quoted(own)} CLONE {source}", what=f"pin {relation}")
            Tables(service).ready(own, fields, schema.layout_of(dataset.contract))
            candidate.holding.add(relation)
            candidate.definitions[relation] = definition
            candidate.access[relation] = dataset.contract.access
        if has_latest(dataset):
            _make_latest(candidate, dataset)


def _guarded(dataset: Dataset) -> str:
    """What makes another table of it that has the same rows; nothing where nobody says who may see it."""
    access = dataset.contract.access
    return f", guarded by {access}" if access.rows or access.classified else ""


def _make_latest(candidate: Building, dataset: Dataset) -> None:
    """The view of one row a key, where it would be another one than readers see."""
    service, relation = candidate.service, f"raw.{latest_table(dataset)}"
    columns = [*dataset.contract.column_names, *_LINEAGE]
    seen = candidate.before.relations.get(relation) if candidate.before else None
    published = latest_query(dataset, names.quoted(service.cloud.table(raw(dataset))), columns, "bigquery")
    if raw(dataset) not in candidate.holding and seen is not None and seen.definition == published:
        return
    dataset_name, table = candidate.physical(raw(dataset))
    source = names.quoted(f"{service.cloud.project}.{dataset_name}.{table}")
    own = names.quoted(names.in_candidate(service.cloud, relation, candidate.version))
    query = latest_query(dataset, source, columns, "bigquery")
    service.query(f"CREATE OR REPLACE VIEW {own} AS\n{query}", what=f"make the view {relation}")
    candidate.holding.add(relation)
