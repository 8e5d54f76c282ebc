"""Which published tables there are in BigQuery, and their columns. Only what is asked for is looked up, once, for free."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import label
from caudal.warehouse.bigquery.explained import explained

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.service import BigQuery

#: Where a table is looked for that is named without its schema, in this order.
SEARCHED = ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine")

#: Schemas that readers have no business with.
_OUR_OWN = ("caudal", "loading", "versions")
_CANDIDATE = "candidate_"

#: Tables described at a time when all are asked for.
_TOGETHER = 8


@dataclass(frozen=True)
class Described:
    """A published table or view.

    Attributes:
        relation: `schema.table`, as it is spelled there.
        is_view: its rows are the answer of a query.
        rows: by BigQuery's own count; None for a view.
        fields: `bigquery.SchemaField` by name.
        partition_filter: the column that every read must restrict, or "".

    """

    relation: str
    is_view: bool
    rows: int | None
    fields: Mapping[str, Any]
    partition_filter: str = ""


class Catalog:
    """The tables of one environment, as they are called in SQL: `schema.table`, in any case.

    Args:
        places: the only schemas that there are, and the one whose dataset holds each; without it those that are published.

    """

    def __init__(self, service: BigQuery, places: Mapping[str, str] | None = None) -> None:
        self._service = service
        self._places = places
        self._listed: dict[str, dict[str, str]] = {}
        self._described: dict[str, Described] = {}

    def relation(self, schema: str, name: str) -> str | None:
        """The relation that a name in SQL means; `schema` may be "". None where there is none."""
        for each in (schema.lower(),) if schema else SEARCHED:
            found = self._names(each).get(name.casefold())
            if found:
                return f"{each}.{found}"
        return None

    def place(self, relation: str) -> str:
        """`project.dataset.table` of a relation that `relation()` told."""
        schema, _, name = relation.partition(".")
        return self._service.cloud.table(f"{(self._places or {}).get(schema, schema)}.{name}")

    def describe(self, relation: str) -> Described:
        """The columns of a relation that `relation()` told."""
        if relation not in self._described:
            table = self.place(relation)
            with explained(self._service.cloud, f"look up the columns of {table}"):
                found = self._service.client.get_table(table, retry=self._service.busy)
            is_view = found.table_type in ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL")
            demanding = found.time_partitioning if found.require_partition_filter else None
            self._described[relation] = Described(
                relation,
                is_view,
                None if is_view else int(found.num_rows or 0),
                {field.name: field for field in found.schema},
                (demanding.field or "") if demanding else "",
            )
        return self._described[relation]

    def describe_all(self) -> list[Described]:
        """Every table and view that readers may query."""
        found = [f"{schema}.{name}" for schema in self.schemas() for name in self._names(schema).values()]
        with ThreadPoolExecutor(_TOGETHER) as threads:
            return list(threads.map(self.describe, found))

    def schemas(self) -> list[str]:
        """The schemas of published tables that exist."""
        if self._places is not None:
            return sorted(self._places)
        cloud = self._service.cloud
        with explained(cloud, f"list the datasets of {cloud.project}"):
            datasets = list(self._service.client.list_datasets(cloud.project, retry=self._service.busy))
        own = label(cloud.datasets.strip("_"))
        names = (
            each.dataset_id.removeprefix(cloud.datasets)
            for each in datasets
            if each.dataset_id.startswith(cloud.datasets) and (each.labels or {}).get("caudal", own) == own
        )
        return sorted(name for name in names if name not in _OUR_OWN and not name.startswith(_CANDIDATE))

    def _names(self, schema: str) -> Mapping[str, str]:
        """Table names by themselves in small letters."""
        if self._places is not None and schema not in self._places:
            return {}
        if schema not in self._listed:
            from google.api_core import exceptions

            cloud = self._service.cloud
            dataset = f"{cloud.project}.{cloud.dataset((self._places or {}).get(schema, schema))}"
            with explained(cloud, f"list the tables of {dataset}"):
                try:
                    tables = list(self._service.client.list_tables(dataset, retry=self._service.busy))
                except exceptions.NotFound:
                    tables = []
            self._listed[schema] = {table.table_id.casefold(): table.table_id for table in tables}
        return self._listed[schema]
