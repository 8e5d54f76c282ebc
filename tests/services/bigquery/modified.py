"""When rows of a table and of its partitions were last changed, which local-bigquery 0.4.0 does not tell: it is in its storage's snapshots."""

from collections import defaultdict
from contextlib import suppress

import duckdb
from local_bigquery.catalog import tables
from local_bigquery.engine import database
from local_bigquery.sql.rules import information_schema

NEWEST = """
SELECT epoch_ms(max(snapshot_time)) FROM {metadata}.ducklake_snapshot WHERE snapshot_id IN (
    SELECT unnest([files.begin_snapshot, files.end_snapshot]) FROM (
        SELECT table_id, begin_snapshot, end_snapshot FROM {metadata}.ducklake_data_file
        UNION ALL SELECT table_id, begin_snapshot, end_snapshot FROM {metadata}.ducklake_delete_file
    ) AS files
    JOIN {metadata}.ducklake_table AS found ON found.table_id = files.table_id AND found.end_snapshot IS NULL
    JOIN {metadata}.ducklake_schema AS place ON place.schema_id = found.schema_id
    WHERE place.schema_name = $1 AND found.table_name = $2
)
"""

BETWEEN = """
SELECT min(found.begin_snapshot), (SELECT max(snapshot_id) FROM {metadata}.ducklake_snapshot)
FROM {metadata}.ducklake_table AS found
JOIN {metadata}.ducklake_schema AS place ON place.schema_id = found.schema_id
WHERE place.schema_name = $1 AND found.table_name = $2 AND found.end_snapshot IS NULL
"""

CHANGES = """
SELECT coalesce(strftime(changes.{column}, '{form}'), '__NULL__'), epoch_ms(max(snapshots.snapshot_time))
FROM ducklake_table_changes($1, $2, $3, $4, $5) AS changes
JOIN {metadata}.ducklake_snapshot AS snapshots USING (snapshot_id) GROUP BY 1
"""

load_plainly = tables.load


def serve() -> None:
    tables.load = load
    information_schema.VIEWS["PARTITIONS"] = partitions


def partitions(project_id: str, dataset_id: str | None):
    """With `last_modified_time`."""
    columns, rows = information_schema.partitions(project_id, dataset_id)
    times = {name: partition_times(*name) for name in {tuple(row[:3]) for row in rows}}
    told = [[*row, information_schema._timestamp(str(times[tuple(row[:3])][row[3]]))] for row in rows]
    return [*columns, "last_modified_time TIMESTAMP"], told


def partition_times(project_id: str, dataset_id: str, table_id: str):
    """By partition; of a table without them, and of what is not known, that of the table, which is not earlier."""
    stored = tables.load(project_id, dataset_id, table_id)
    times = defaultdict(lambda: int(stored.lastModifiedTime))
    by = stored.timePartitioning
    if not (by and by.field):
        return times
    metadata = database.quote(f"__ducklake_metadata_{project_id}")
    ((first, last),) = database.fetch(BETWEEN.format(metadata=metadata), [dataset_id, table_id])
    form = information_schema.PARTITION_FORMATS.get(by.type or "DAY", "%Y%m%d")
    changes = CHANGES.format(metadata=metadata, column=database.quote(by.field), form=form)
    times.update(database.fetch(changes, [project_id, dataset_id, table_id, first, last]))
    return times


def load(project_id: str, dataset_id: str, table_id: str):
    resource = load_plainly(project_id, dataset_id, table_id)
    metadata = database.quote(f"__ducklake_metadata_{project_id}")
    with suppress(duckdb.Error):
        ((newest,),) = database.fetch(NEWEST.format(metadata=metadata), [dataset_id, table_id])
        if newest is not None and newest > int(resource.lastModifiedTime or 0):
            return resource.replace(lastModifiedTime=str(newest))
    return resource
