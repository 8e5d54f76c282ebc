"""A query that a person types, run by BigQuery in its own SQL: dry first, so that its cost is said, then once.

Tables are named as everywhere, `schema.table` or `table`; other names are left to BigQuery. Nothing that writes is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery.catalog import Catalog
from caudal.warehouse.bigquery.costs import DryRun
from caudal.warehouse.bigquery.explained import BigQueryRefused, explained
from caudal.warehouse.bigquery.loaded import loaded_tables
from caudal.warehouse.bigquery.moment import published_moment
from caudal.warehouse.bigquery.reading import TableReader, arrow_schema
from caudal.warehouse.bigquery.views import table_of_answer

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.warehouse.bigquery.service import BigQuery


@dataclass(frozen=True)
class Typed:
    """A query that may be run.

    Attributes:
        sql: GoogleSQL with the tables' full names.
        dry: what it would read.

    """

    sql: str
    dry: DryRun


def dry_run(env: Environment, service: BigQuery, query: str) -> Typed:
    """What `query` would read. Free of charge. Until something is published, raw tables are read as they were loaded last.

    Raises:
        BigQueryRefused: it is wrong, several statements, or one that writes.

    """
    from google.cloud import bigquery

    published = published_moment(service) is not None
    names = (Catalog(service).relation, service.cloud.table) if published else loaded_tables(env, service)
    sql = with_full_names(query.strip().rstrip(";"), *names)
    config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    with explained(service.cloud, "the query"):
        job = service.client.query(sql, config, retry=service.busy)
    if job.statement_type not in ("SELECT", None):
        refused = f"{job.statement_type} is refused: published tables are read-only; expected one SELECT"
        raise BigQueryRefused(refused, "invalid")
    return Typed(sql, DryRun(int(job.total_bytes_processed or 0), len(job.referenced_tables or ()) or 1))


def answer(service: BigQuery, typed: Typed) -> pa.RecordBatchReader:
    """The rows, as they are read; not held. Refused by BigQuery if it would be billed for more than the settings allow."""
    import pyarrow as pa

    service.query(typed.sql, what="the query")
    reader = TableReader(service)
    # One stream keeps the order in which BigQuery wrote the answer.
    session = reader.begin(table_of_answer(service), (), streams=1)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for stream in session.streams:
                yield from reader.batches(session, stream.name)
        finally:
            reader.close()

    return pa.RecordBatchReader.from_batches(arrow_schema(session), batches())


def with_full_names(query: str, relation_of: Callable[[str, str], str | None], full: Callable[[str], str]) -> str:
    """`query` with each published table named in full; all else as it is typed.

    Args:
        relation_of: the relation that a schema, maybe "", and a name mean.
        full: `project.dataset.table` of a relation.

    Raises:
        BigQueryRefused: it is no GoogleSQL, or several statements.

    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        trees = [tree for tree in sqlglot.parse(query, read="bigquery") if tree is not None]
    except SqlglotError as wrong:
        raise BigQueryRefused(f"that is no query in GoogleSQL, BigQuery's own SQL: {wrong}", "invalidQuery") from None
    if len(trees) != 1:
        raise BigQueryRefused(f"found {len(trees)} statements; expected one query", "invalid")
    ctes = {cte.alias_or_name.casefold() for cte in trees[0].find_all(exp.CTE)}
    places = []
    for table in trees[0].find_all(exp.Table):
        if table.catalog or (not table.db and table.name.casefold() in ctes):
            continue
        relation = relation_of(table.db, table.name)
        parts = [part.meta for part in table.parts]
        if relation and all("start" in meta for meta in parts):
            places.append((parts[0]["start"], parts[-1]["end"] + 1, full(relation)))
    for start, end, name in sorted(places, reverse=True):
        query = f"{query[:start]}`{name}`{query[end:]}"
    return query
