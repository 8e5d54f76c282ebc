"""The rules of tables in a warehouse file: a candidate that dbt has built, or what is published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from caudal.contracts.rules import Rule
from caudal.warehouse import published
from caudal.warehouse.quality.evaluate import evaluate
from caudal.warehouse.quality.failing import folder_of, keep
from caudal.warehouse.quality.outcome import Table
from caudal.warehouse.quality.raw import Tried
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

#: In whose schemas a rule's SQL finds a table by its name alone, in this order.
_SCHEMAS = ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine")


def try_on(
    connection: duckdb.DuckDBPyConnection,
    env: Environment,
    asset: tuple[str, ...],
    relation: str,
    rules: Sequence[Rule],
    *,
    before: str | None = None,
    masked: Collection[str] = (),
    resolve: Callable[[str], str] = lambda name: name,
) -> list[Tried]:
    """Try the rules on `schema.name`.

    Args:
        before: the relation that distributions are compared with; without one there is nothing to compare.
        masked: the columns whose values are not shown, in small letters.

    """
    _search(connection)
    schema, _, name = relation.partition(".")
    quoted = f"{identifier(schema)}.{identifier(name)}"
    described = connection.execute(f"DESCRIBE {quoted}").fetchall()
    columns = {row[0]: row[1] for row in described}
    empty = f"(SELECT * FROM {quoted} WHERE false)"
    hidden = frozenset(c for c in columns if c.lower() in masked)
    table = Table(quoted, columns, dt.datetime.now(dt.UTC), before=before or empty, hidden=hidden)
    tried = []
    for rule in rules:
        outcome = evaluate(connection, rule, table, resolve)
        kept = None
        if outcome.failing and not outcome.passed:
            kept = keep(connection, outcome.failing, folder_of(env, asset, rule.name), dict.fromkeys(hidden, True))
        tried.append(Tried(outcome, kept))
    return tried


def try_published(env: Environment, asset: tuple[str, ...], rules: Sequence[Rule]) -> list[Tried]:
    """Try the rules on what is published of an asset, the table `<stage>.<name>`.

    Raises:
        caudal.warehouse.published.NothingPublished: no version has been published yet.

    """
    with published.connect(env) as connection:
        return try_on(connection, env, asset, f"{asset[0]}.{asset[-1]}", rules)


def _search(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()").fetchall()
    there = {row[0] for row in rows}
    path = [schema for schema in _SCHEMAS if schema in there]
    if path:
        connection.execute(f"SET search_path = {text(','.join(path))}")
