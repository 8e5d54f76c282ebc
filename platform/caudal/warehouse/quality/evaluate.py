"""One rule tried on one table, through one DuckDB connection: the same for raw tables, candidates and published tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from caudal.contracts.rules import Rule
from caudal.warehouse.connection import refusals, repeats_a_value
from caudal.warehouse.quality.experience import judge_distribution, judge_freshness, judge_volume
from caudal.warehouse.quality.outcome import THIS, Outcome, Table
from caudal.warehouse.sql import identifier, one_row, text

if TYPE_CHECKING:
    from caudal.warehouse.connection import Connection


def evaluate(connection: Connection, rule: Rule, table: Table, resolve: Callable[[str], str] = lambda name: name) -> Outcome:
    """Try the rule. A rule that cannot be tried, since its SQL fails, is broken.

    Args:
        connection: private or of a candidate: a temporary view `this` of the table is made in it.
        resolve: what a FROM takes of a table that a `reference` names.

    """
    try:
        connection.execute(f"CREATE OR REPLACE TEMPORARY VIEW {THIS} AS SELECT * FROM {table.relation}")
        match rule.kind:
            case "freshness":
                return judge_freshness(connection, rule, table)
            case "volume":
                return judge_volume(connection, rule, table)
            case "distribution":
                return judge_distribution(connection, rule, table)
            case "count" | "number":
                return _number(connection, rule)
            case _:
                return _rows(connection, rule, table, resolve)
    except refusals() as failed:
        first = str(failed).strip().splitlines()[0]
        if table.hidden and repeats_a_value(failed):
            first = re.sub(r"'[^']*'", "'...'", first)
        return Outcome(rule, False, "a rule that can be tried", f"it could not be tried: {first}")


def failing_condition(rule: Rule) -> str | None:
    """SQL that is true of the rows that break a rule which looks at one row at a time; None for other rules."""
    if rule.kind == "missing":
        return f"{identifier(rule.columns[0])} IS NULL"
    if rule.kind != "invalid":
        return None
    column = identifier(rule.columns[0])
    broken = []
    if rule.minimum is not None:
        broken.append(f"{column} < {_literal(rule.minimum)}")
    if rule.maximum is not None:
        broken.append(f"{column} > {_literal(rule.maximum)}")
    if rule.allowed:
        broken.append(f"{column} NOT IN ({', '.join(_literal(v) for v in rule.allowed)})")
    if rule.pattern is not None:
        broken.append(f"NOT regexp_matches(CAST({column} AS VARCHAR), {text(rule.pattern)})")
    return f"coalesce({' OR '.join(broken)}, false)"


def _failing_rows(rule: Rule, resolve: Callable[[str], str]) -> str:
    condition = failing_condition(rule)
    if condition is not None:
        return f"SELECT * FROM {THIS} WHERE {condition}"
    if rule.kind == "rows":
        assert rule.sql is not None
        return rule.sql
    if rule.kind == "duplicate":
        listed = ", ".join(map(identifier, rule.columns))
        there = " AND ".join(f"{identifier(c)} IS NOT NULL" for c in rule.columns)
        # The hashes that occur twice are few, so that the window over whole rows is small.
        suspect = f"SELECT hash({listed}) FROM {THIS} GROUP BY ALL HAVING count(*) > 1"
        return (
            f"SELECT * FROM {THIS} WHERE {there} AND hash({listed}) IN ({suspect}) "
            f"QUALIFY count(*) OVER (PARTITION BY {listed}) > 1 ORDER BY {listed}"
        )
    assert rule.reference is not None
    other, _, key = rule.reference.rpartition(".")
    column = identifier(rule.columns[0])
    return (
        f"SELECT * FROM {THIS} WHERE {column} IS NOT NULL "
        f"AND {column} NOT IN (SELECT {identifier(key)} FROM {resolve(other)} WHERE {identifier(key)} IS NOT NULL)"
    )


def _rows(connection: Connection, rule: Rule, table: Table, resolve: Callable[[str], str]) -> Outcome:
    failing = _failing_rows(rule, resolve)
    if rule.name in table.counted:
        broken, rows = table.counted[rule.name]
    else:
        (broken,) = one_row(connection, f"SELECT count(*) FROM ({failing})")
        (rows,) = one_row(connection, f"SELECT count(*) FROM {THIS}")
    share = 100 * broken / rows if rows else 0.0
    passed = rule.bound.accepts(share if rule.bound.unit == "percent" else broken)
    words = {
        "missing": "have no value in {c}",
        "invalid": "have a value in {c} that is not meant",
        "duplicate": "share their {c} with another row",
        "reference": "have a {c} that is not in {r}",
    }.get(rule.kind, "break it")
    found = f"{broken:,} of {rows:,} rows {words.format(c=', '.join(rule.columns), r=rule.reference)}"
    numbers = {"failing rows": broken, "rows": rows}
    return Outcome(rule, passed, rule.bound.told, found, numbers, failing=failing if broken else None)


def _number(connection: Connection, rule: Rule) -> Outcome:
    (value,) = one_row(connection, rule.sql or f"SELECT count(*) FROM {THIS}")
    what = "rows" if rule.kind == "count" else "the query's number"
    if value is None:
        return Outcome(rule, False, rule.bound.told, f"{what}: none")
    number = float(value)
    return Outcome(rule, rule.bound.accepts(number), rule.bound.told, f"{what}: {number:,g}", {"number": number})


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return text(str(value))
