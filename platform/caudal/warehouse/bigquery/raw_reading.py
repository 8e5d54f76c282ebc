"""Raw tables as rules and counts read them: through DuckDB's SQL, by the platform's names, or in one statement of GoogleSQL."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.conditions import any_partition
from caudal.warehouse.bigquery.connection import BigQueryConnection
from caudal.warehouse.bigquery.raw_tables import physical
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    from caudal.contracts import Layout
    from caudal.google_cloud import GoogleCloud
    from caudal.lake.dataset import Dataset


@contextmanager
def connect_raw(cloud: GoogleCloud) -> Generator[BigQueryConnection]:
    """A connection in which `raw.<source>__<dataset>` is the table that loaders write."""
    connection = BigQueryConnection(BigQuery(cloud), lambda relation, _: cloud.table(physical(relation)))
    try:
        yield connection
    finally:
        connection.close()


def whole(relation: str, layout: Layout) -> str:
    """What DuckDB's FROM takes of all rows of a relation."""
    schema, _, name = relation.partition(".")
    quoted = f"{schema}.{identifier(name)}"
    if layout.partition_by is None or not layout.require_partition_filter:
        return quoted
    column = identifier(layout.partition_by)
    return f"(SELECT * FROM {quoted} WHERE {column} IS NULL OR {column} IS NOT NULL)"


def standing_in_several(
    cloud: GoogleCloud, dataset: Dataset, columns: Mapping[str, bool], *, shown: int, samples: int, most_files: int
) -> Mapping[str, Any]:
    """What stands in more than one lake file, counted in one statement.

    Args:
        columns: that are compared, each with whether its values may be shown.
        shown, samples: how many pairs of files and how many values are told.
        most_files: what stands in more files than this is counted, but not for each pair of them.

    Returns:
        `rows`, `beyond_first`, `shared_rows`, `shared`; `pairs` of (`one`, `other`, `n`); `samples` of (`told`, `files`).

    """
    layout = dataset.contract.layout
    everywhere = f"WHERE {any_partition(layout.partition_by)}" if layout.partition_by else ""
    value = ", ".join(f"`{name}`" for name in columns)
    told = ", ".join(f"`{name}`" if may else f"'not shown' AS `{name}`" for name, may in columns.items())
    sql = f"""
        WITH standing AS (
            SELECT TO_JSON_STRING(STRUCT({value})) AS value, TO_JSON_STRING(STRUCT({told})) AS told,
                _file AS file, COUNT(*) AS n
            FROM `{cloud.table(physical(f"raw.{dataset.table}"))}` {everywhere} GROUP BY 1, 2, 3
        ), several AS (
            SELECT value, told, COUNT(*) AS files, SUM(n) AS n FROM standing GROUP BY 1, 2 HAVING SUM(n) > 1
        ), few AS (
            SELECT standing.value, standing.file FROM standing JOIN several ON standing.value = several.value
            WHERE several.files BETWEEN 2 AND {most_files}
        ), pairs AS (
            SELECT one.file AS one, other.file AS other, COUNT(*) AS n
            FROM few AS one JOIN few AS other ON one.value = other.value AND one.file < other.file
            GROUP BY 1, 2 ORDER BY n DESC, one, other LIMIT {shown}
        ), first AS (
            SELECT value, told FROM several WHERE files > 1 ORDER BY value LIMIT {samples}
        ), samples AS (
            SELECT first.value, first.told, ARRAY_AGG(standing.file ORDER BY standing.file LIMIT {samples}) AS files
            FROM first JOIN standing ON first.value = standing.value GROUP BY 1, 2
        )
        SELECT
            (SELECT COALESCE(SUM(n), 0) FROM standing) AS row_count,
            (SELECT COALESCE(SUM(n - 1), 0) FROM several) AS beyond_first,
            (SELECT COALESCE(SUM(n), 0) FROM several WHERE files > 1) AS shared_rows,
            (SELECT COUNT(*) FROM several WHERE files > 1) AS shared,
            ARRAY(SELECT AS STRUCT one, other, n FROM pairs ORDER BY n DESC, one, other) AS pairs,
            ARRAY(SELECT AS STRUCT told, files FROM samples ORDER BY value) AS samples
    """
    (row,) = BigQuery(cloud).query(sql, what=f"count what stands in several files of {dataset.id}")
    return dict(row.items())
