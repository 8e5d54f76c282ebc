"""The words in which a plan is told to people, the same in a terminal and in a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from caudal.runtime.plan.contract_changes import ColumnChange
from caudal.runtime.plan.plan import AssetChange, Cost, Plan, RowDifference

_BYTES = ("B", "kB", "MB", "GB", "TB")


def summary(plan: Plan) -> str:
    """The plan in one line."""
    if plan.is_empty:
        return "Nothing changes"
    told = [f"{len(changes)} {fate}" for fate in ("added", "removed", "changed") if (changes := plan.having(fate))]
    if plan.timetable:
        told.append(_many(len(plan.timetable), "change of the timetable", "changes of the timetable"))
    if plan.downstream:
        told.append(f"{len(plan.downstream)} downstream touched")
    if plan.refreshed:
        told.append(f"{len(plan.refreshed)} refreshed")
    breaking = _many(len(plan.breaking), "breaking change", "breaking changes") if plan.breaking else "nothing breaking"
    return f"{', '.join(told)}; {breaking}"


def column(change: ColumnChange) -> str:
    """What changed of a column, without its name."""
    if change.what == "description":
        return "described otherwise"
    values = " → ".join(value for value in (change.before or "none", change.after or "none"))
    told = {"added": f"added ({change.after})" if change.after else "added", "removed": "removed"}.get(
        change.what, f"{change.what}: {values}"
    )
    return f"{told}: {change.note}" if change.note else told


def broken(change: AssetChange) -> Iterator[str]:
    """What of a change breaks something, for whom."""
    for reason in change.reasons:
        if reason.breaks:
            yield f"{reason.text} (breaks {_and(reason.breaks)})"
    for each in change.columns:
        if each.breaks:
            yield f"`{each.column}` {column(each)} (breaks {_and(each.breaks)})"


def why(change: AssetChange) -> str:
    """Why an asset counts as changed, in short."""
    return "; ".join(reason.text for reason in change.reasons)


def rows(difference: RowDifference) -> str:
    """How many rows would differ."""
    if difference.problem:
        return f"not known: {difference.problem}"
    before = "none" if difference.rows_before is None else f"{difference.rows_before:,}"
    told = [f"{before} → {difference.rows_after or 0:,} rows"]
    told += [f"{count:,} {what}" for what in ("added", "removed", "changed") if (count := getattr(difference, what))]
    if len(told) == 1:
        told.append("all as they are")
    by = f"by {', '.join(difference.key)}" if difference.key else "by whole rows"
    columns = ", ".join(f"{name} in {count:,}" for name, count in (difference.columns or {}).items() if count)
    return f"{'; '.join(told)} ({by}){f'; differing: {columns}' if columns else ''}"


def cost(costs: tuple[Cost, ...]) -> str:
    """What all that is refreshed took the last time; "" where nothing is known."""
    seconds = [each.seconds for each in costs if each.seconds is not None]
    read = [each.bytes for each in costs if each.bytes is not None]
    if not seconds and not read:
        return ""
    told = [f"{sum(seconds):,.1f} s"] if seconds else []
    told += [f"{size(sum(read))} read"] if read else []
    known = max(len(seconds), len(read))
    unknown = f", of {known} of {len(costs)} assets" if known < len(costs) else ""
    return f"{', '.join(told)} the last time{unknown}"


def size(count: float) -> str:
    """Bytes in words."""
    for unit in _BYTES:
        if count < 1000 or unit == _BYTES[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _and(sides: tuple[str, ...]) -> str:
    words = {"readers": "who reads it", "deliverers": "who delivers to it"}
    return " and ".join(words[side] for side in sides)
