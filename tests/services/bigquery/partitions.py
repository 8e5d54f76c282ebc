"""What local-bigquery lacks of partitions: `table$20240101`, and their way from a table to what is made of it."""

from contextvars import ContextVar

from local_bigquery.catalog import ddl as catalog
from local_bigquery.catalog import metadata, names, tables
from local_bigquery.catalog.options import DAY_MS, Option, options
from local_bigquery.engine import database, results
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import copy, load, query, runner
from local_bigquery.models import Table
from sqlglot import exp

FORMATS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H"}

#: Of a table's metadata, what a copy of it has too.
INHERITED = (*tables.LAYOUT, "requirePartitionFilter", "schema")

EXPIRATION = {
    "partition_expiration_days": Option(
        "expirationMs", parse=lambda node, evaluate: (days := evaluate(node)) and str(int(float(days) * DAY_MS))
    )
}

#: The partition that the job of this thread writes: the table and the partition's id.
written: ContextVar[tuple[tuple[str, str, str], str] | None] = ContextVar("written", default=None)

write_table = tables.write
delete_table = tables.delete
source_of_copy = copy._source
table_of_ddl = catalog._table
alteration_of_ddl = catalog._alteration
partitioning_of_ddl = catalog._partitioning


def serve() -> None:
    tables.write = write
    tables.delete = delete
    copy._source = source
    catalog._table = table
    catalog._alteration = alteration
    catalog._partitioning = partitioning
    runner.HANDLERS |= {"load": into_partitions(load.run), "copy": into_partitions(inheriting(copy.run))}
    query.execute = query_into_partitions(query.execute)


def split(table_id: str) -> tuple[str, str | None]:
    name, decorated, partition = table_id.partition("$")
    return name, partition if decorated else None


def holds(stored: Table, partition: str) -> str:
    """Whether a row is in the partition, in DuckDB's words."""
    if stored.rangePartitioning and partition.lstrip("-").isdigit():
        column, interval = quote(stored.rangePartitioning.field), int(stored.rangePartitioning.range.interval)
        return f"({column} >= {int(partition)} AND {column} < {int(partition) + interval})"
    if not (stored.timePartitioning and stored.timePartitioning.field):
        raise BigQueryError("invalid", f"There are no partitions by a column to have ${partition}")
    column = quote(stored.timePartitioning.field)
    if partition == "__NULL__":
        return f"{column} IS NULL"
    if not partition.isdigit() or len(partition) not in FORMATS:
        raise BigQueryError("invalid", f"Invalid partition ${partition}")
    return f"strftime({column}, '{FORMATS[len(partition)]}') = '{partition}'"


def into_partitions(run):
    def run_into(cursor, config, upload):
        config, token = without_decorator(config)
        try:
            return run(cursor, config, upload)
        finally:
            written.reset(token)

    return run_into


def query_into_partitions(execute):
    def execute_into(cursor, project, job_id, config, *arguments, **named):
        config, token = without_decorator(config)
        try:
            return execute(cursor, project, job_id, config, *arguments, **named)
        finally:
            written.reset(token)

    return execute_into


def without_decorator(config):
    table = config.destinationTable
    name, partition = split(table.tableId) if table and table.tableId else ("", None)
    if partition is None:
        return config, written.set(None)
    table = table.replace(tableId=name)
    return config.replace(destinationTable=table.dump()), written.set((tables.reference(table), partition))


def write(cursor, sql, parameters, reference, config, default="WRITE_EMPTY", prefix="Invalid schema update. ", isolated=False):
    asked = written.get()
    if asked is None or asked[0] != reference:
        return write_table(cursor, sql, parameters, reference, config, default, prefix, isolated)
    partition, disposition = asked[1], config.writeDisposition or default
    relation = cursor.sql(sql, params=parameters)
    exists = tables.exists(*reference)
    inside = holds(tables.load(*reference) if exists else tables.layout(relation.columns, config, disposition), partition)
    astray = f"SELECT count(*) FROM ({sql}) WHERE ({inside}) IS NOT TRUE"
    if cursor.sql(astray, params=parameters).fetchone()[0]:
        reason = f"Some rows belong to different partitions rather than destination partition {partition}"
        raise BigQueryError("invalid", reason)
    if not exists:
        return write_table(cursor, sql, parameters, reference, config, default, prefix, isolated)
    name = tables.name(*reference)
    with database.writing(*reference), database.cursor() as writer:
        there = writer.sql(f"SELECT count(*) FROM {name} WHERE {inside}").fetchone()[0]
        if there and disposition == "WRITE_EMPTY":
            raise BigQueryError("duplicate", f"Already Exists: Table {names.label(*reference)}${partition}")
        tables.evolve(writer, reference, relation, getattr(config, "schemaUpdateOptions", None), prefix)
        writer.execute("BEGIN")
        if disposition == "WRITE_TRUNCATE":
            writer.execute(f"DELETE FROM {name} WHERE {inside}")
        results.materialise(cursor, sql, name, parameters, True, writer)
        writer.execute("COMMIT")
    return False


def delete(project, dataset, table_id):
    name, partition = split(table_id)
    if partition is None:
        delete_table(project, dataset, table_id)
        return
    reference = (project, dataset, name)
    inside = holds(tables.load(*reference), partition)
    with database.writing(*reference):
        database.execute(f"DELETE FROM {tables.name(*reference)} WHERE {inside}")


def source(reference):
    name, partition = split(reference[2])
    if partition is None:
        return source_of_copy(reference)
    reference = (*reference[:2], name)
    return f"(SELECT * FROM {source_of_copy(reference)} WHERE {holds(tables.load(*reference), partition)})"


def inherited(reference) -> dict:
    stored = metadata.load(Table, *reference)
    return stored.only(*INHERITED).dump() if stored else {}


def inheriting(run):
    def run_and_inherit(cursor, config, upload):
        destination = tables.reference(config.destinationTable)
        made = written.get() is None and (config.writeDisposition == "WRITE_TRUNCATE" or not tables.exists(*destination))
        statistics = run(cursor, config, upload)
        origin = tables.reference((config.sourceTables or [config.sourceTable])[0])
        if made and (has := inherited((*origin[:2], split(origin[2].partition("@")[0])[0]))):
            tables.annotate(destination, Table.model_validate(has))
        return statistics

    return run_and_inherit


def table(tree, reference, evaluate):
    resource = table_of_ddl(tree, reference, evaluate)
    like = tree.find(exp.LikeProperty)
    clone = tree.args.get("clone")
    if origin := (clone or like):
        resource = inherited(names.reference(origin.this, *reference[:2])) | resource
    if "timePartitioning" in resource:
        resource["timePartitioning"] |= options(tree.args.get("properties"), EXPIRATION, evaluate)
    return resource


def alteration(stored, action, reference, evaluate):
    changes = alteration_of_ddl(stored, action, reference, evaluate)
    if isinstance(action, exp.AlterSet) and (expiration := options(action, EXPIRATION, evaluate)):
        changes = changes | {"timePartitioning": expiration}
    return changes


def partitioning(node):
    """`PARTITION BY RANGE_BUCKET(...)`, which reads as a day's partitions there."""
    bucket = node.this
    if not (isinstance(bucket, exp.Anonymous) and bucket.name.endswith("range_bucket")):
        return partitioning_of_ddl(node)
    column, series = bucket.expressions
    bounds = dict(zip(("start", "end", "interval"), (bound.sql() for bound in series.expressions), strict=True))
    return {"rangePartitioning": {"field": column.name, "range": bounds}}
