"""One dbt project built in DuckDB and in BigQuery from the same raw rows, and the two compared value by value."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from caudal.contracts import LINEAGE_COLUMNS, Contract
from caudal.google_cloud import GoogleCloud
from caudal.transform.build import build
from caudal.transform.incremental import Days, days_to_build
from caudal.transform.manifest import Manifest, read_manifest
from caudal.transform.outcome import BuildResult
from caudal.transform.placing import Placement, incremental, views_read
from caudal.transform.project import Project, prepare_manifest
from caudal.transform.selection import resolve
from caudal.transform.tested_days import days_to_test, passing
from caudal.warehouse.bigquery.service import BigQuery
from tests.services.cloud import BigQuery as Server

if TYPE_CHECKING:
    import pyarrow as pa

_LINEAGE = {"VARCHAR": "STRING", "BIGINT": "INT64", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP"}


@dataclass(frozen=True)
class Engines:
    """One project on both engines. Its models are built in one candidate, a dataset; nothing of this publishes."""

    cloud: GoogleCloud
    local: Project
    there: Project
    database: Path
    candidate: str = "candidate_1"
    #: What versions write down of the tables: what each was built of.
    noted: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> BigQuery:
        return BigQuery(self.cloud)

    @property
    def manifests(self) -> tuple[Manifest, Manifest]:
        """DuckDB's and BigQuery's."""
        return read_manifest(prepare_manifest(self.local)), read_manifest(prepare_manifest(self.there))

    def placement(self, manifest: Manifest, selected: Iterable[str] | None = None) -> Placement:
        """All models in the candidate, raw tables in their dataset."""
        chosen = {*manifest.nodes, *manifest.checks} if selected is None else set(selected)
        candidate = self.cloud.dataset(self.candidate)
        tables = {n.relation: (candidate, n.relation.replace(".", "__")) for n in manifest.nodes.values()}
        for relation in manifest.sources.values():
            tables[relation] = self.cloud.dataset("loading"), relation.removeprefix("raw.")
        return Placement(self.cloud, tables, views_read(manifest, chosen), labels={"run": "run-1"})

    def build_locally(self) -> BuildResult:
        return build(self.local, self.manifests[0], database=self.database)

    def build_there(self, select: Iterable[str] | None = None, **placed: Any) -> BuildResult:
        """Args: placed: attributes of the placement."""
        manifest = self.manifests[1]
        chosen = None if select is None else list(select)
        tested = days_to_test(manifest, resolve(manifest, chosen), placed.get("days", {}), self.noted)
        placement = replace(self.placement(manifest, chosen), **{"tested": tested, **placed})
        return build(self.there, manifest, database=placement, select=chosen)

    def table(self, relation: str) -> str:
        """Where a model is in the candidate, as GoogleSQL names it."""
        return f"`{self.cloud.project}.{self.cloud.dataset(self.candidate)}.{relation.replace('.', '__')}`"

    def rows_there(self, relation: str, server: Server) -> "pa.Table":
        """Through the Storage Read API."""
        table = self.table(relation).strip("`")
        return self.service.client.list_rows(table).to_arrow(bqstorage_client=server.reader())

    def differences(self, relation: str, server: Server) -> tuple[int, int, list[tuple[Any, ...]]]:
        """How many rows there are here and there, and some of those that only one of them has, or has more often.

        Rows are compared in DuckDB, by value: of two decimals, dates or times both become the type that holds either exactly.
        """
        there = self.rows_there(relation, server)
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("there", there)
            here = f"SELECT * FROM {relation}"
            only = "SELECT '{}' AS only, * FROM ({} EXCEPT ALL {}) LIMIT 5"
            found = connection.execute(only.format("local", here, "SELECT * FROM there")).fetchall()
            found += connection.execute(only.format("bigquery", "SELECT * FROM there", here)).fetchall()
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
        return rows, there.num_rows, found

    def types(self, relation: str) -> tuple[dict[str, str], dict[str, str]]:
        """The columns here and there, in order, with their types in DuckDB's words."""
        from caudal.warehouse.bigquery.duckdb_types import duckdb_type

        with duckdb.connect(str(self.database)) as connection:
            here = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {relation}").fetchall()}
        fields = self.service.client.get_table(self.table(relation).strip("`")).schema
        return here, {field.name: duckdb_type(field) for field in fields}


def make_datasets(engines: Engines, *schemas: str) -> None:
    for schema in schemas:
        engines.service.client.create_dataset(engines.cloud.dataset(schema), exists_ok=True)


def load_parquet(
    engines: Engines, server: Server, table: str, schema: list[Any], body: str, *, replace: bool = True, **properties: Any
) -> None:
    """The rows of a query of the DuckDB file, as a part in the bucket, loaded by a job as loaders do."""
    part = engines.database.parent / f"{table}.parquet"
    with duckdb.connect(str(engines.database)) as connection:
        connection.execute(f"COPY ({body}) TO '{part}' (FORMAT parquet)")
    uri = f"gs://lakes/{engines.cloud.datasets}/{uuid.uuid4().hex}/{part.name}"
    server.storage.put(uri, part.read_bytes())
    there = engines.cloud.table(f"loading.{table}")
    engines.service.load([uri], there, job_id=f"load-{uuid.uuid4().hex}", schema=schema, replace=replace, **properties)


def raw_fields(contract: Contract) -> list[Any]:
    """The columns of a raw table."""
    from google.cloud import bigquery

    fields = [bigquery.SchemaField.from_api_repr(column.bigquery_field) for column in contract.columns]
    return [*fields, *(bigquery.SchemaField(name, _LINEAGE[kind]) for name, kind in LINEAGE_COLUMNS.items())]


def load_contracts(engines: Engines, server: Server, contracts: Mapping[str, Contract]) -> None:
    """What the DuckDB file has in `raw`, in BigQuery too, with the types of the contracts."""
    from google.cloud import bigquery

    for table, contract in contracts.items():
        fields = raw_fields(contract)
        partitioned = {}
        if table == "pos__transactions":
            partitioned = {"time_partitioning": bigquery.TimePartitioning(field="transaction_timestamp")}
        load_parquet(engines, server, table, fields, f"SELECT * FROM raw.{table}", **partitioned)


def days(engines: Engines, noted: Mapping[str, str]) -> dict[str, Days]:
    """What is to be built of each incremental model, by what loaders changed since what is `noted` of each relation."""
    manifest = engines.manifests[1]
    client, loading = engines.service.client, engines.cloud.dataset("loading")
    changed = {each.table_id: client.get_table(each).to_api_repr()["lastModifiedTime"] for each in client.list_tables(loading)}
    versions = {f"raw.{name}": f"raw.{name} as of {at_ms}, with its columns" for name, at_ms in changed.items()}
    models = incremental(manifest, manifest.nodes)
    tables = {manifest.nodes[u].relation: engines.table(manifest.nodes[u].relation).strip("`") for u in models}
    return days_to_build(engines.service, manifest, models, manifest.nodes, tables, {**noted, **versions})


def written_down(engines: Engines, built: Mapping[str, Days], result: BuildResult) -> dict[str, str]:
    """What a version would say of the tables once these days are built, with this result."""
    return passing(result, {unique_id: each.until for unique_id, each in built.items()}, engines.noted)
