"""The rules of tables in a warehouse file: a candidate that dbt has built, or what is published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from caudal.contracts.rules import Rule
from caudal.warehouse import published
from caudal.warehouse.connection import columns_of, search
from caudal.warehouse.quality.evaluate import evaluate
from caudal.warehouse.quality.failing import folder_of, keep
from caudal.warehouse.quality.outcome import Table
from caudal.warehouse.quality.raw import Tried
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.warehouse.connection import Connection

#: In whose schemas a rule's SQL finds a table by its name alone, in this order.
_SCHEMAS = ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine")


def try_on(
    connection: Connection,
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
    search(connection, _SCHEMAS)
    schema, _, name = relation.partition(".")
    quoted = f"{identifier(schema)}.{identifier(name)}"
    columns = columns_of(connection, quoted)
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
