"""A plan for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.runtime.plan import telling

if TYPE_CHECKING:
    from rich.console import Console

    from caudal.runtime.plan.plan import Plan

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}


def show(plan: Plan, console: Console) -> None:
    """Print the plan."""

    def say(line: str, style: str | None = None) -> None:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{plan.before} → {plan.after}", "dim")
    for change in plan.changes:
        refreshed = "  (refreshed)" if change.is_refreshed else ""
        say(f"{_SIGNS[change.fate]} {change.key}{refreshed}", _STYLES[change.fate])
        for reason in change.reasons:
            say(f"    {reason.text}", "red" if reason.breaks else None)
        for each in change.columns:
            say(f"    {each.column}: {telling.column(each)}", "red" if each.breaks else "dim")
        if change.breaks and change.affected:
            say(f"    concerns {', '.join(change.affected)}", "red")
    for line in plan.timetable:
        say(f"~ {line}", "yellow")
    if plan.downstream:
        say("Downstream:")
    for touched in plan.downstream:
        say(f"    {touched.key}{'  (refreshed)' if touched.is_refreshed else ''}", "dim")
    if plan.rows_of != "none":
        say(f"Rows that would change ({plan.rows_of}; nothing was published):")
    for difference in plan.rows:
        say(f"    {difference.asset}: {telling.rows(difference)}")
        for row in difference.sample:
            say("        " + ", ".join(f"{name}={'' if value is None else value}" for name, value in row.items()), "dim")
    cost = telling.cost(plan.costs)
    if cost:
        say(f"What is refreshed took {cost}", "dim")
    say(telling.summary(plan), "bold red" if plan.breaking else "bold green")
