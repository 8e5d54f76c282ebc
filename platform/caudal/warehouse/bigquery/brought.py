"""A table of a kept version brought into a DuckDB database, to be compared there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.warehouse.bigquery import names
from caudal.warehouse.bigquery.explained import explained
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.connection import quoted
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.warehouse.versions import Kept


def bring_kept(env: Environment, connection: duckdb.DuckDBPyConnection, kept: Kept, relation: str, database: str) -> None:
    """Attach a new database, in memory, that has the relation as it is in the version, if it is there.

    All its rows come, into memory, over REST and free of charge.
    """
    assert env.cloud is not None
    connection.execute(f"ATTACH ':memory:' AS {identifier(database)}")
    known = kept.record.relations.get(relation) if kept.record else None
    if known is None:
        return
    there = f"{identifier(database)}.{quoted(relation)}"
    connection.execute(f"CREATE SCHEMA {identifier(database)}.{identifier(relation.split('.', 1)[0])}")
    if known.kind == "VIEW":
        connection.execute(f"CREATE VIEW {there} AS SELECT NULL AS definition")
        return
    service, snapshot = BigQuery(env.cloud), names.snapshot(env.cloud, relation, known.since)
    with explained(env.cloud, f"read {relation} of version {kept.name}, from {snapshot}"):
        rows = service.client.list_rows(snapshot, retry=service.busy).to_arrow(create_bqstorage_client=False)
    connection.register("brought", rows)
    connection.execute(f"CREATE TABLE {there} AS SELECT * FROM brought")
    connection.unregister("brought")
