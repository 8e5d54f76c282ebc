"""Statements that local-bigquery 0.4.0 does not run, or runs as BigQuery does not."""

import re
from weakref import WeakSet

import duckdb
import sqlglot
from local_bigquery.catalog.options import TABLE_OPTIONS, Option, _milliseconds, _render_timestamp
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import merge, query
from local_bigquery.sql import script
from local_bigquery.sql.dialect import BigQueryDialect
from local_bigquery.sql.rules import ddl, tables
from sqlglot import exp

CLONE_WITH_OPTIONS = re.compile(
    r"^\s*(CREATE\s.*?\sTABLE\s.+?\s(?:CLONE|COPY)\s.+?)\s+(OPTIONS\s*\(.*\))\s*;?\s*$", re.IGNORECASE | re.DOTALL
)

execute_query = query.execute
normalise_plainly = ddl.normalise
set_plainly = script.Interpreter.set
merge_plainly = merge.run
run_statement = query._statement
check_plainly = tables._check
split_plainly = ddl.split

in_transaction: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()


def serve() -> None:
    query.execute = execute
    ddl.normalise = normalise
    script.Interpreter.set = set_
    merge.run = merge_within
    query._statement = statement
    tables._check = check
    ddl.split = split
    expiration = Option("expirationTime", "TIMESTAMP", moment_or_none, _render_timestamp)
    TABLE_OPTIONS["expiration_timestamp"] = expiration


def execute(cursor, project, job_id, config, *arguments, **named):
    """A job that makes a table has that table as its destination, which dbt asks for."""
    statistics, children, destination = execute_query(cursor, project, job_id, config, *arguments, **named)
    if destination is None and job_id and not children and statistics.statementType == "CREATE_TABLE_AS_SELECT":
        destination = statistics.ddlTargetTable
    return statistics, children, destination


def set_(self, statement):
    """`SET (a) = (SELECT AS STRUCT ...)`, of dbt's incremental models."""
    for item in sqlglot.parse_one(statement.text, dialect=BigQueryDialect).expressions:
        target, value = getattr(item.this, "this", None), getattr(item.this, "expression", None)
        if isinstance(target, exp.Paren) and isinstance(value, exp.Subquery):
            if str(value.this.args.get("kind") or "").upper() == "STRUCT":
                value.this.set("kind", None)
            self.assign(self.variable(target.this.name), value)
            return None
    return set_plainly(self, statement)


def normalise(tree):
    """`CREATE [SNAPSHOT] TABLE ... CLONE ... OPTIONS(...)`."""
    found = CLONE_WITH_OPTIONS.match(tree.sql(dialect=BigQueryDialect)) if isinstance(tree, exp.Command) else None
    if not found:
        return normalise_plainly(tree)
    statement = normalise_plainly(sqlglot.parse_one(found[1], dialect=BigQueryDialect))
    options = sqlglot.parse_one(f"CREATE TABLE x (a INT64) {found[2]}", dialect=BigQueryDialect)
    statement.set("properties", options.args["properties"])
    return statement


def split(tree):
    """A clone is made by a query here, which `check` has to know."""
    made = split_plainly(tree)
    if isinstance(tree, exp.Create) and tree.args.get("clone"):
        made[0].meta["is_clone"] = True
    return made


def check(tree, table, is_target):
    """A clone reads no rows: it needs no filter over partitions."""
    try:
        check_plainly(tree, table, is_target)
    except BigQueryError as refused:
        if not (tree.meta.get("is_clone") and "without a filter" in refused.message):
            raise


def moment_or_none(node, evaluate):
    """`expiration_timestamp = NULL`."""
    return None if isinstance(node, exp.Null) else _milliseconds(node, evaluate)


class InTransaction:
    """A cursor within a transaction: to begin another fails here, and not in DuckDB, which would give up the first."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor

    def __getattr__(self, name: str):
        return getattr(self.cursor, name)

    def execute(self, sql: str, *arguments):
        if sql == "BEGIN":
            raise duckdb.TransactionException("within a transaction")
        return self.cursor.execute(sql, *arguments)


def statement(cursor, tree, *arguments):
    try:
        statistics = run_statement(cursor, tree, *arguments)
    except BigQueryError as failed:
        if isinstance(tree, exp.Commit) and "Failed to commit" in failed.message:
            raise BigQueryError("invalidQuery", "Transaction is aborted due to concurrent update.") from failed
        raise
    if isinstance(tree, exp.Transaction):
        in_transaction.add(cursor)
    elif isinstance(tree, exp.Commit | exp.Rollback):
        in_transaction.discard(cursor)
    return statistics


def merge_within(cursor, tree, context):
    return merge_plainly(InTransaction(cursor) if cursor in in_transaction else cursor, tree, context)
