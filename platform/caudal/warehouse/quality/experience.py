"""Rules that compare a table with the clock, with the periods before and with the loads before."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from caudal.contracts.rules import Rule
from caudal.warehouse.quality import distribution, volume
from caudal.warehouse.quality.outcome import THIS, Outcome, Table
from caudal.warehouse.sql import identifier, one_row, text

if TYPE_CHECKING:
    from caudal.warehouse.connection import Connection

_HOUR_S = 3600
#: Of more rows than this, before or in the load, a sample of so many is compared: quantiles need all values at once.
_SAMPLED_ROWS = 200_000
#: Clocks differ, and days begin at different times: a newest value up to this far ahead is none of the future.
_AHEAD_HOURS = 24


def judge_freshness(connection: Connection, rule: Rule, table: Table) -> Outcome:
    assert rule.within_hours is not None
    name = rule.columns[0]
    (newest,) = one_row(connection, f"SELECT max({identifier(name)}) FROM {THIS}")
    expected = f"a newest {name} of the last {rule.within_hours:g} hours"
    if newest is None:
        return Outcome(rule, False, expected, f"no row has a {name}")
    if isinstance(newest, dt.datetime):
        moment = newest if newest.tzinfo else newest.replace(tzinfo=dt.UTC)
    else:  # A day is as new as its end.
        moment = dt.datetime.combine(newest, dt.time(), dt.UTC) + dt.timedelta(days=1)
    hours = (table.now - moment).total_seconds() / _HOUR_S
    if hours < -_AHEAD_HOURS:
        limit = _like(newest, table.now + dt.timedelta(hours=_AHEAD_HOURS))
        failing = f"SELECT * FROM {THIS} WHERE {identifier(name)} > {limit}"
        return Outcome(
            rule, False, expected, f"the newest {name} is {newest}, in the future", {"hours": hours}, failing=failing
        )
    return Outcome(
        rule,
        hours <= rule.within_hours,
        expected,
        f"the newest {name} is {newest}, {max(hours, 0):.1f} hours ago",
        {"hours": hours},
    )


def _like(value: dt.date, moment: dt.datetime) -> str:
    """The moment as SQL, of the type that `value` has."""
    if not isinstance(value, dt.datetime):
        return f"CAST({text(moment.date().isoformat())} AS DATE)"
    if value.tzinfo is None:
        return f"CAST({text(moment.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S'))} AS TIMESTAMP)"
    return f"CAST({text(moment.isoformat(' ', 'seconds'))} AS TIMESTAMPTZ)"


def judge_volume(connection: Connection, rule: Rule, table: Table) -> Outcome:
    settings = rule.volume
    periods = _days(connection, settings.by, table, settings) if settings.by else list(table.periods or ())
    judged = volume.judge(periods, settings)
    known = [j for j in judged if j.expected is not None]
    bad = [j for j in judged if not j.passed]
    unit = "days" if settings.by else "files"
    expected = "as many rows as there usually are"
    if not known:
        found = f"{len(periods)} {unit}, too few to judge by (at least {settings.least_history} before one)"
        return Outcome(rule, True, expected, found)
    worst = max(bad or known, key=lambda j: abs(j.period.rows - (j.expected or 0)) / max(j.expected or 0, 1))
    shown = worst if bad else known[-1]
    found = f"{shown.period.label} has {shown.period.rows:,} rows" + (
        f", and {len(bad) - 1} more {unit} are unusual" if len(bad) > 1 else ""
    )
    expected = f"about {shown.expected:,.0f} ({shown.low:,.0f} to {shown.high:,.0f})"
    details = tuple(
        {
            "period": j.period.label,
            "rows": j.period.rows,
            "expected": "not judged" if j.expected is None else f"{j.expected:,.0f} ({j.low:,.0f} to {j.high:,.0f})",
            "unusual": "" if j.passed else "too few" if j.period.rows < j.low else "too many",
        }
        for j in judged
    )
    failing = None
    if bad and settings.by:
        days = ", ".join(f"DATE {text(j.period.label)}" for j in bad if j.period.rows)
        failing = f"SELECT * FROM {THIS} WHERE CAST({identifier(settings.by)} AS DATE) IN ({days})" if days else None
    return Outcome(rule, not bad, expected, found, {"unusual": len(bad), "rows": shown.period.rows}, details, failing)


def _days(connection: Connection, by: str, table: Table, settings: Any) -> list[volume.Period]:
    """The newest days that matter. Days after tomorrow are a matter of freshness, and would hide the others."""
    day = f"CAST({identifier(by)} AS DATE)"
    latest = text((table.now + dt.timedelta(hours=_AHEAD_HOURS)).date().isoformat())
    span = settings.judged + settings.history + settings.leave_out
    (newest,) = one_row(connection, f"SELECT max({day}) FROM {THIS} WHERE {day} <= DATE {latest}")
    if newest is None:
        return []
    rows = connection.execute(
        f"SELECT {day} AS day, count(*) FROM {THIS} WHERE {day} > DATE {text(newest.isoformat())} - {span} "
        f"AND {day} <= DATE {latest} GROUP BY ALL ORDER BY day"
    ).fetchall()
    return [volume.Period(day.isoformat(), rows, day) for day, rows in rows]


def judge_distribution(connection: Connection, rule: Rule, table: Table) -> Outcome:
    settings = rule.distribution
    expected = "columns as in the loads before"
    now, before = f"(SELECT * FROM {THIS})", table.before
    if before is None:
        loads = connection.execute(
            f"SELECT _loaded_at, count(*) FROM {THIS} GROUP BY ALL ORDER BY _loaded_at DESC LIMIT {settings.loads + 1}"
        ).fetchall()
        if len(loads) < 2:
            return Outcome(rule, True, expected, "there is one load, and none before it")
        oldest, newest = (text(str(loads[i][0])) for i in (-1, 0))
        now = f"(SELECT * FROM {THIS} WHERE _loaded_at = CAST({newest} AS TIMESTAMPTZ))"
        before = (
            f"(SELECT * FROM {THIS} WHERE _loaded_at >= CAST({oldest} AS TIMESTAMPTZ) "
            f"AND _loaded_at < CAST({newest} AS TIMESTAMPTZ))"
        )
    counts = [one_row(connection, f"SELECT count(*) FROM {side}")[0] for side in (before, now)]
    if min(counts) < settings.least_rows:
        found = f"{counts[0]:,} rows before and {counts[1]:,} now, too few to compare (at least {settings.least_rows})"
        return Outcome(rule, True, expected, found)
    own = [(n, k) for n, k in table.columns.items() if not n.startswith("_") and n not in table.keys]
    wanted = [(n, table.columns[n]) for n in settings.columns if n in table.columns] or own
    listed = ", ".join(identifier(name) for name, _ in wanted)
    for name, side in (("rows_before", before), ("rows_now", now)):
        sampled = f"SELECT {listed} FROM {side} USING SAMPLE reservoir({_SAMPLED_ROWS} ROWS) REPEATABLE (1)"
        connection.execute(f"CREATE OR REPLACE TEMPORARY TABLE {name} AS {sampled}")
    compared = distribution.compare(connection, "rows_before", "rows_now", wanted, settings)
    changed = [c for c in compared if c.changed]
    details = tuple(
        {
            "column": c.column,
            "stability index": "" if c.index is None else f"{c.index:.3f} (changed from {c.least:.3f})",
            "nulls before": f"{c.nulls_before:.1%}",
            "nulls now": f"{c.nulls_now:.1%}",
            "told": "not shown" if c.index is not None and c.told and c.column in table.hidden else c.told,
            "changed": "yes" if c.changed else "",
        }
        for c in compared
    )
    found = f"changed: {', '.join(c.column for c in changed)}" if changed else f"{len(compared)} columns are as before"
    if max(counts) > _SAMPLED_ROWS:
        found += f" (samples of {_SAMPLED_ROWS:,} rows)"
    return Outcome(rule, not changed, expected, found, {"columns changed": len(changed)}, details)
