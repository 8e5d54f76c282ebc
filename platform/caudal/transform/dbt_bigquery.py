"""What differs in dbt's process where it builds on BigQuery: where each table is, what each job is called, and what it cost.

This reaches into dbt-core 1.11 and dbt-bigquery 1.11; `tests/transform/test_dbt_private.py` says what it relies on.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import label
from caudal.warehouse.bigquery.duckdb_types import duckdb_type
from caudal.warehouse.bigquery.jobs import told_of

if TYPE_CHECKING:
    from google.cloud import bigquery

_LONGEST_VALUE = 200


def place(manifest: Any, asked: Mapping[str, Any]) -> None:
    """Have each node and source of dbt's manifest be the table that it is in this build, instead of its logical name.

    Incremental models are told which partitions to build, or to be built whole; tests, which days to look at, if not all.
    """
    for resource in (*manifest.nodes.values(), *manifest.sources.values()):
        name = getattr(resource, "alias", None) or getattr(resource, "identifier", "")
        found = asked["tables"].get(f"{resource.schema}.{name}")
        if found is None:
            continue
        resource.database, (resource.schema, table) = asked["project"], found
        if hasattr(resource, "identifier") and not hasattr(resource, "alias"):
            resource.identifier = table
        else:
            resource.alias = table
        resource.relation_name = f"`{resource.database}`.`{resource.schema}`.`{table}`"
    for unique_id, node in manifest.nodes.items():
        if node.config.materialized == "incremental":
            partitions, carried = asked["days"].get(unique_id, (None, ()))
            node.config.full_refresh = partitions is None
            node.config["partitions"], node.config["carried"] = partitions, carried
            # With another contract the digest is another one too, and the model is built whole.
            node.config.on_schema_change = "ignore"
    for unique_id, (column, days) in asked["tested"].items():
        config = manifest.nodes[unique_id].config
        # Each generic test reads its model through `where`.
        config.where = f"({config.where}) and {_on(column, days)}" if config.where else _on(column, days)
        config["tested_days"] = days


def _on(column: str, days: Sequence[str]) -> str:
    """The rows that a test looks at: a row of no day is of none that was tested before."""
    return f"(`{column}` in ({', '.join(days)}) or `{column}` is null)"


def guarded_clients(asked: Mapping[str, Any]) -> None:
    """In the environment of a branch, have dbt's clients change nothing that is production's, as long as this process lives."""
    if not (branch := asked["branch"]):
        return
    from dbt.adapters.bigquery import clients
    from google.cloud.bigquery import Client

    from caudal.google_cloud import GoogleCloud
    from caudal.warehouse.bigquery.guard import guarded

    production = GoogleCloud(asked["project"], "", branch["bucket"], branch["datasets"])
    clients.BigQueryClient = guarded(Client, production.of_branch(branch["short"]))  # ty: ignore[invalid-assignment]


class Jobs:
    """The jobs of one invocation, as dbt asks for them.

    Attributes:
        ended: those that ended well, by the unique id of the node that they were for, as `Job`s in JSON.

    """

    def __init__(self, asked: Mapping[str, Any], emit: Callable[..., None]) -> None:
        self._labels: Mapping[str, str] = asked["labels"]
        self._of_node: Mapping[str, Mapping[str, str]] = asked["of_node"]
        self._maximum_bytes: Mapping[str, int] = asked["maximum_bytes"]
        self._emit = emit
        self.ended: dict[str, list[dict[str, Any]]] = {}

    def labels(self, unique_id: str) -> dict[str, str]:
        """Of the jobs of a node: asset and owner, and of all of them: environment and run."""
        told = {**self._labels, **self._of_node.get(unique_id, {}), "node": unique_id.rpartition(".")[2]}
        return {key: label(value) for key, value in told.items() if value}

    def parameters(self, unique_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Of a job, with the node's own limit of what it may be billed for, if it has one."""
        limit = self._maximum_bytes.get(unique_id)
        return {**parameters, **({"maximum_bytes_billed": limit} if limit else {})}

    def starting(self, job_id: str, location: str | None) -> None:
        """Told before it starts: if this process dies, whoever asked for the build ends it."""
        self._emit("job", id=job_id, location=location)

    def done(self, unique_id: str, job: Any) -> None:
        self.ended.setdefault(unique_id, []).append(dataclasses.asdict(told_of(job)))


@contextmanager
def noted(jobs: Jobs) -> Generator[None]:
    """Within, dbt's jobs have labels, and are noted."""
    from dbt.adapters.bigquery.connections import BigQueryConnectionManager as Connections
    from dbt_common.events.contextvars import get_node_info

    before = {name: vars(Connections)[name] for name in ("get_labels_from_query_comment", "_query_and_results")}

    def running() -> str:
        return get_node_info().get("unique_id") or ""

    def labels(_: Connections) -> dict[str, str]:
        return jobs.labels(running())

    def query_and_results(self: Connections, conn: Any, sql: str, job_params: Any, job_id: str, **options: Any) -> Any:
        jobs.starting(job_id, conn.credentials.location)
        job_params = jobs.parameters(running(), job_params)
        job, rows = before["_query_and_results"](self, conn, sql, job_params, job_id, **options)
        jobs.done(running(), job)
        return job, rows

    Connections.get_labels_from_query_comment = labels  # ty: ignore[invalid-assignment]
    Connections._query_and_results = query_and_results  # noqa: SLF001  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(Connections, name, function)


def look_closer(request: Mapping[str, Any], results: list[Any], jobs: Jobs, emit: Callable[..., None]) -> None:
    """Describe what was built by what BigQuery knows of it, which is free, and sample the rows for which tests failed."""
    built = [r for r in results if str(r.status) == "success" and r.node.unique_id in request["relations"]]
    failed = [r for r in results if str(r.status) in ("fail", "warn") and r.node.unique_id in request["tests"]]
    if not built and not failed:
        return
    from dbt.adapters.bigquery.clients import create_bigquery_client
    from dbt.adapters.factory import FACTORY

    adapter: Any = FACTORY.adapters["bigquery"]
    credentials: Any = adapter.config.credentials
    client = create_bigquery_client(credentials)
    try:
        for result in built:
            _describe(client, result.node, emit)
        for result in failed:
            sql, days = request["tests"][result.node.unique_id], request["bigquery"]["tested"].get(result.node.unique_id)
            sql = (f"{sql} and {_on(*days)}" if days else sql) if sql else result.node.compiled_code
            _sample(client, credentials, result.node.unique_id, sql, request["sample_rows"], jobs, emit)
    finally:
        client.close()


def _describe(client: bigquery.Client, node: Any, emit: Callable[..., None]) -> None:
    from google.api_core.exceptions import GoogleAPICallError

    try:
        table = client.get_table(f"{node.database}.{node.schema}.{node.alias}")
    except GoogleAPICallError as problem:
        sys.stderr.write(f"{node.relation_name} was built, and cannot be read: {problem}\n")
        return
    columns = [(field.name, duckdb_type(field)) for field in table.schema]
    rows = None if table.table_type == "VIEW" else table.num_rows
    emit("described", unique_id=node.unique_id, rows=rows, columns=columns)


def _sample(
    client: bigquery.Client,
    credentials: Any,
    unique_id: str,
    sql: str,
    rows: int,
    jobs: Jobs,
    emit: Callable[..., None],
) -> None:
    """A test selects again what it counted: BigQuery bills that once more, and never above the limit."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery import QueryJobConfig

    config = QueryJobConfig(labels=jobs.labels(unique_id))
    if credentials.maximum_bytes_billed:
        config.maximum_bytes_billed = credentials.maximum_bytes_billed
    try:
        job = client.query(f"SELECT * FROM (\n{sql}\n) LIMIT {rows}", config)
        found = job.result()
        columns = [field.name for field in found.schema]
        values = [[None if v is None else str(v)[:_LONGEST_VALUE] for v in row.values()] for row in found]
    except GoogleAPICallError as problem:
        sys.stderr.write(f"The rows that failed {unique_id} cannot be sampled: {problem}\n")
        return
    jobs.done(unique_id, job)
    emit("sampled", unique_id=unique_id, columns=columns, rows=values)
