"""Bytes that a statement reads: local-bigquery says 0 of all. By BigQuery's sizes of types, columns read, and partitions.

What it leaves out: a column counts when a column of its name is named anywhere in the statement, and all of a table do that a
star is directly of.
Partitions are left out by conditions on the partitioning column itself, also through views that pass it on as it is, and in
the WHEN clauses of a MERGE. https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables#pruning_partitions
"""

from collections import Counter

import sqlglot
from local_bigquery.catalog import names, tables
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import query, runner
from local_bigquery.sql.dialect import DuckDBDialect
from local_bigquery.sql.rules import information_schema
from local_bigquery.sql.translate import Context, parse, translate
from sqlglot import exp

SIZES = {"BOOLEAN": "1", "NUMERIC": "16", "BIGNUMERIC": "32", "BYTES": "2 + octet_length({})"}
SIZES |= dict.fromkeys(("INTEGER", "FLOAT", "DATE", "DATETIME", "TIME", "TIMESTAMP"), "8")
OTHER_SIZE = "2 + strlen({}::VARCHAR)"

MEGABYTE = 1024**2
LEAST_OF_A_TABLE = 10 * MEGABYTE

MORE_OF_JOBS = """
    CAST(resource ->> '$.statistics.query.totalBytesProcessed' AS BIGINT) AS total_bytes_processed,
    CAST(resource ->> '$.statistics.query.totalBytesBilled' AS BIGINT) AS total_bytes_billed,
    make_timestamp(CAST(resource ->> '$.statistics.startTime' AS BIGINT) * 1000) AS start_time,
    make_timestamp(CAST(resource ->> '$.statistics.endTime' AS BIGINT) * 1000) AS end_time,
    parent_job_id,
"""

finish = runner._done


def serve() -> None:
    query._statement = costed(query._statement)
    query.execute = summed(query.execute)
    runner._done = done
    information_schema.JOBS = information_schema.JOBS.replace("    parent_job_id,\n", MORE_OF_JOBS.lstrip("\n"))


def costed(run_statement):
    def run_and_cost(cursor, tree, context, destination, config, dry_run, isolated):
        read = Counter()
        for table, scanned_bytes in [] if reads_nothing(tree) else scans(cursor, tree, context):
            read[table] += scanned_bytes
        billed = sum(max(LEAST_OF_A_TABLE, -(-each // MEGABYTE) * MEGABYTE) for each in read.values())
        most = config.maximumBytesBilled
        if not dry_run and most and billed > int(most):
            reason = f"Query exceeded limit for bytes billed: {most}. {billed} or higher required."
            raise BigQueryError("bytesBilledLimitExceeded", reason)
        statistics = run_statement(cursor, tree, context, destination, config, dry_run, isolated)
        billed = 0 if dry_run else billed
        return statistics.replace(totalBytesProcessed=str(read.total()), totalBytesBilled=str(billed))

    return run_and_cost


def summed(execute):
    def execute_and_sum(*arguments, **named):
        statistics, children, destination = execute(*arguments, **named)
        for key in ("totalBytesProcessed", "totalBytesBilled") if children else ():
            total = sum(int(getattr(child, key) or 0) for child in children)
            statistics = statistics.replace(**{key: str(total)})
        return statistics, children, destination

    return execute_and_sum


def done(job, statistics, error=None):
    job = finish(job, statistics, error)
    if job.statistics.query and (total := job.statistics.query.totalBytesProcessed):
        job = job.replace(statistics=job.statistics.replace(totalBytesProcessed=total))
    return job


def reads_nothing(tree) -> bool:
    """What makes a view, and a query of no row, by which dbt asks for columns."""
    if isinstance(tree, exp.Create):
        return tree.kind == "VIEW"
    return isinstance(tree, exp.Select) and any(part == exp.false() for part in conditions_of(tree.args.get("where")))


def scans(cursor, tree, context):
    """Each table that is read, and the bytes of it; as often as it is named."""
    within = {cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)}
    target = names.target(tree)
    for table in tree.find_all(exp.Table):
        if table is target and not isinstance(tree, exp.Update | exp.Delete | exp.Merge):
            continue
        if not isinstance(table.this, exp.Identifier) or (
            not table.db and (table.name.casefold() in within or not context.dataset_id)
        ):
            continue
        reference = names.reference(table, context.project_id, context.dataset_id)
        try:
            stored = tables.load(*reference)
        except BigQueryError:
            continue  # the statement itself says so, or it is no table
        if stored.view:
            yield from scans(cursor, narrowed(parse(stored.view.query)[0], tree, table), Context(*reference[:2]))
        elif stored.schema_ and stored.schema_.fields:
            yield tuple(reference), scanned(cursor, tree, context, table, reference, stored)


def narrowed(view, tree, table):
    """A view's query with what of it the statement that names it as `table` asks for."""
    if not isinstance(view, exp.Select) or view.args.get("group") or view.args.get("distinct"):
        return view
    view, every, named = view.copy(), *columns_of(tree, table)
    passed = {each.alias_or_name.casefold(): each.unalias() for each in view.expressions}
    for condition in conditions(tree, table):
        columns = list(condition.find_all(exp.Column))
        ours = all(isinstance(passed.get(c.name.casefold()), exp.Column) and is_of(c, table) for c in columns)
        if columns and ours and not condition.find(exp.Select):
            inside = condition.transform(
                lambda node: passed[node.name.casefold()].copy() if isinstance(node, exp.Column) else node
            )
            view = view.where(inside)
    if not every:
        view.set("expressions", [each for each in view.expressions if each.alias_or_name.casefold() in named])
    return view


def columns_of(tree, table) -> tuple[bool, set[str]]:
    """Whether every column of the table is asked for, and the names of those that are."""
    named = {part.casefold() for column in tree.find_all(exp.Column) for part in (column.name, column.table)}
    every = any(is_star_of(star, table) for star in tree.find_all(exp.Star))
    return every or isinstance(tree, exp.Delete) or tree.args.get("clone") is not None, named


def is_star_of(star, table) -> bool:
    """A star of a subquery asks for what that one selects, which is named there."""
    if isinstance(star.parent, exp.Count) or star.find_ancestor(exp.Select) is not table.find_ancestor(exp.Select):
        return False
    return not isinstance(star.parent, exp.Column) or is_of(star.parent, table)


def is_of(column, table) -> bool:
    return column.table.casefold() in ("", table.alias_or_name.casefold())


def conditions(tree, table):
    """The parts that have to be true of the WHERE clauses that the table stands under: not those of the other half of a UNION."""
    for where in tree.find_all(exp.Where):
        above = table.parent
        while above is not None and above is not where.parent:
            above = above.parent
        if above is not None:
            yield from conditions_of(where)


def conditions_of(where):
    if where is not None:
        yield from where.this.flatten() if isinstance(where.this, exp.And) else [where.this]


def scanned(cursor, tree, context, table, reference, stored) -> int:
    every, named = columns_of(tree, table)
    read = [field for field in stored.schema_.fields if every or field.name.casefold() in named]
    sizes = [f"CASE WHEN {quote(field.name)} IS NULL THEN 0 ELSE {size(field)} END" for field in read]
    source, where, bound = tables.name(*reference), *pruned(tree, context, table, stored)
    sql = f"SELECT coalesce(sum({' + '.join(sizes) or '0'}), 0)::BIGINT FROM {source}"
    if where:
        partition = part_of(stored)
        sql += f" WHERE {partition} IN (SELECT DISTINCT {partition} FROM {source} WHERE {where})"
    return cursor.execute(sql, bound or None).fetchone()[0]


def size(field) -> str:
    kind = SIZES.get(field.type, OTHER_SIZE) if field.mode != "REPEATED" else OTHER_SIZE
    return kind.format(quote(field.name))


def part_of(stored) -> str:
    if stored.rangePartitioning:
        given = stored.rangePartitioning
        return f"floor(({quote(given.field)} - {given.range.start}) / {given.range.interval})"
    return f"date_trunc('{stored.timePartitioning.type or 'DAY'}', {quote(stored.timePartitioning.field)})"


def pruned(tree, context, table, stored) -> tuple[str, dict]:
    """The conditions of the statement that are about nothing but the partitioning column of the table, in DuckDB's words."""
    by = stored.timePartitioning or stored.rangePartitioning
    if not (by and by.field):
        return "", {}
    said = []
    for condition in [*conditions(tree, table), *overwritten(tree, table)]:
        columns = list(condition.find_all(exp.Column))
        ours = all(c.name.casefold() == by.field.casefold() and is_of(c, table) for c in columns)
        if columns and ours and not condition.find(exp.Select):
            said.append(condition.copy())
    if not said:
        return "", {}
    alone = exp.select("1").where(*said)
    for column in alone.find_all(exp.Column):
        column.set("table", None)
    sql, bound = translate(alone, context)
    return sqlglot.parse_one(sql, dialect=DuckDBDialect).args["where"].this.sql(dialect=DuckDBDialect), bound


def overwritten(tree, table):
    """What is true of the rows that a MERGE ON FALSE looks at in its target."""
    if isinstance(tree, exp.Merge) and tree.this is table and tree.args["on"] == exp.false():
        whens = [each for each in tree.find_all(exp.When) if each.args.get("source")]
        if len(whens) == 1 and whens[0].args.get("condition"):
            yield whens[0].args["condition"]
