"""What changed of a table's columns, and for whom that breaks something.

A contract has two sides. Those who deliver files are bound by what a row must be: a new requirement has rows refused. Those
who read the table rely on what a row is: a promise that is taken back breaks what they made of it. A table that the platform
makes itself has readers only: a new promise about it is a gift to them, and an audit for what makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caudal.runtime.plan.snapshot import Asset, DeclaredColumn
from caudal.runtime.plan.types import is_wider, same_type

READERS, DELIVERERS = "readers", "deliverers"
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


@dataclass(frozen=True)
class ColumnChange:
    """One thing that changed of one column.

    Attributes:
        what: `added`, `removed`, `renamed`, `type`, `required`, `unique`, `key`, `unit`, `classification`, `allowed values`,
            `limit`, `reading`, `description`.
        before, after: as text; "" where there is none.
        breaks: for whom, of `readers` and `deliverers`; empty if it is compatible.
        note: what it comes to, for people.

    """

    column: str
    what: str
    before: str = ""
    after: str = ""
    breaks: tuple[str, ...] = ()
    note: str = ""


def column_changes(before: Asset, after: Asset) -> tuple[ColumnChange, ...]:
    """All that changed of the columns, in the order of the columns before, then of the new ones."""
    if not before.columns or not after.columns:
        return ()  # Nobody declared them on one side: nothing is known of what changed.
    was = {c.name.lower(): c for c in before.columns}
    now = {c.name.lower(): c for c in after.columns}
    delivered = after.is_delivered
    renamed = {
        older.lower(): column for column in after.columns for older in column.renamed_from if column.name.lower() not in was
    }
    found: list[ColumnChange] = []
    for name, column in was.items():
        if name in now:
            found += _differences(column, now[name], delivered)
        elif name in renamed:
            new = renamed[name]
            found.append(ColumnChange(column.name, "renamed", column.name, new.name, (READERS,), "the old name is gone"))
            found += _differences(column, new, delivered)
        else:
            note = "files that still have it: see the drift policy" if delivered else "who reads it fails"
            found.append(ColumnChange(column.name, "removed", column.type, "", _both(delivered), note))
    taken = {column.name.lower() for older, column in renamed.items() if older in was}
    for name, column in now.items():
        if name in was or name in taken:
            continue
        if column.required and delivered:
            note = "files without it are refused"
            found.append(ColumnChange(column.name, "added", "", _described(column), (DELIVERERS,), note))
        else:
            found.append(ColumnChange(column.name, "added", "", _described(column)))
    return tuple(found)


def _both(delivered: bool) -> tuple[str, ...]:
    return (READERS, DELIVERERS) if delivered else (READERS,)


def _differences(was: DeclaredColumn, now: DeclaredColumn, delivered: bool) -> Iterator[ColumnChange]:
    name = now.name
    yield from _type(was, now, delivered)
    yield from _promise("required", was.required, now.required, name, delivered)
    yield from _promise("unique", was.unique, now.unique, name, delivered)
    if was.key != now.key:
        note = "rows are told apart by other columns"
        yield ColumnChange(name, "key", _place(was.key), _place(now.key), (READERS,), note)
    if was.unit != now.unit:
        yield ColumnChange(name, "unit", was.unit, now.unit, *_unit(was, now, delivered))
    if was.classification != now.classification:
        yield ColumnChange(name, "classification", was.classification, now.classification)
    yield from _allowed(was, now, delivered)
    for limit in sorted({*was.limits, *now.limits}):
        yield from _limit(name, limit, was.limits.get(limit, ""), now.limits.get(limit, ""), delivered)
    for rule in sorted({*was.reading, *now.reading}):
        if was.reading.get(rule) != now.reading.get(rule):
            note = "the same text is another value, or none"
            yield ColumnChange(name, "reading", _ruled(rule, was.reading), _ruled(rule, now.reading), _both(delivered), note)
    if was.description != now.description:
        yield ColumnChange(name, "description", was.description, now.description)


def _type(was: DeclaredColumn, now: DeclaredColumn, delivered: bool) -> Iterator[ColumnChange]:
    if same_type(was.type, now.type):
        return
    if not was.type or not now.type:
        yield ColumnChange(now.name, "type", was.type or "undeclared", now.type or "undeclared")
    elif is_wider(was.type, now.type):
        yield ColumnChange(now.name, "type", was.type, now.type, (), "wider: every value stays what it is")
    else:
        narrower = is_wider(now.type, was.type)
        note = "narrower: values that do not fit are refused" if narrower and delivered else "narrower" if narrower else ""
        yield ColumnChange(now.name, "type", was.type, now.type, _both(delivered), note or "values are of another kind")


def _promise(what: str, was: bool, now: bool, name: str, delivered: bool) -> Iterator[ColumnChange]:
    """A promise that is made to readers, and kept by those who deliver."""
    if was == now:
        return
    if was:
        note = "there may be nulls from now on" if what == "required" else "values may repeat from now on"
        yield ColumnChange(name, what, "yes", "no", (READERS,), note)
    elif delivered:
        note = "rows without a value are refused" if what == "required" else "rows that repeat a value fail the audit"
        yield ColumnChange(name, what, "no", "yes", (DELIVERERS,), note)
    else:
        yield ColumnChange(name, what, "no", "yes", (), "audited at each build: what breaks it is held back")


def _unit(was: DeclaredColumn, now: DeclaredColumn, delivered: bool) -> tuple[tuple[str, ...], str]:
    if not was.unit:
        return (), "said for the first time"
    return (_both(delivered) if now.unit else (READERS,)), "the same number means something else"


def _allowed(was: DeclaredColumn, now: DeclaredColumn, delivered: bool) -> Iterator[ColumnChange]:
    if set(was.allowed) == set(now.allowed):
        return
    gone = [value for value in was.allowed if value not in now.allowed]
    new = [value for value in now.allowed if value not in was.allowed]
    before, after = ", ".join(was.allowed), ", ".join(now.allowed)
    narrower = bool(now.allowed) and (bool(gone) or not was.allowed)
    if narrower and delivered:
        note = f"refused from now on: {', '.join(gone)}" if gone else "all other values are refused from now on"
        yield ColumnChange(now.name, "allowed values", before, after, (DELIVERERS,), note)
    elif narrower:
        note = f"no longer there: {', '.join(gone)}" if gone else "audited at each build"
        yield ColumnChange(now.name, "allowed values", before, after, (READERS,) if gone else (), note)
    else:
        note = f"new to readers: {', '.join(new)}" if now.allowed else "any value from now on"
        yield ColumnChange(now.name, "allowed values", before, after, (), note)


def _limit(name: str, limit: str, was: str, now: str, delivered: bool) -> Iterator[ColumnChange]:
    if was == now:
        return
    before, after = (f"{limit} {value}" if value else "" for value in (was, now))
    if not now or _is_looser(limit, was, now):
        yield ColumnChange(name, "limit", before, after, (), "looser")
    else:
        note = "rows outside of it are refused" if delivered else "audited at each build"
        yield ColumnChange(name, "limit", before, after, (DELIVERERS,) if delivered else (), note)


def _is_looser(limit: str, was: str, now: str) -> bool:
    if not was:
        return False
    try:
        lower, upper = float(was.strip('"')), float(now.strip('"'))
    except ValueError:  # dates are compared as text; a pattern is neither looser nor tighter
        return (limit in _LOWER_BOUNDS and now < was) or (limit in _UPPER_BOUNDS and now > was)
    return (limit in _LOWER_BOUNDS and upper < lower) or (limit in _UPPER_BOUNDS and upper > lower)


def _described(column: DeclaredColumn) -> str:
    said = (column.type, "required" if column.required else "", column.unit)
    return ", ".join(part for part in said if part)


def _place(key: int | None) -> str:
    return f"{key}. of the key" if key else "not in the key"


def _ruled(rule: str, rules: Mapping[str, str]) -> str:
    return f"{rule} {rules[rule]}" if rule in rules else ""
