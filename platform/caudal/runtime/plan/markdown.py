"""A plan as Markdown, for a pull request: one line, a table, and the rest to unfold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from caudal.runtime.plan import telling
from caudal.runtime.plan.plan import AssetChange, Plan, RowDifference

_SIGNS = {"added": "➕", "removed": "➖", "changed": "✏️"}  # noqa: RUF001 - they are meant to be seen as signs
_MOST_DOWNSTREAM = 40


def to_markdown(plan: Plan) -> str:
    """The plan as GitHub and GitLab show it."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    sign = "⛔" if plan.breaking else "✅"
    yield f"### {sign} Plan: {telling.summary(plan)}"
    yield ""
    yield f"{plan.before} → {plan.after}"
    if plan.is_empty:
        return
    if plan.breaking:
        yield from ["", "**Breaking**", "", *(line for change in plan.breaking for line in _breaking(change))]
    if plan.changes:
        yield from ["", "| | asset | what | breaks | refreshed | downstream |", "|---|---|---|---|---|---|"]
        yield from (_row(change) for change in plan.changes)
    yield from _rows(plan)
    if plan.timetable:
        yield from _unfold("Timetable", (f"- {_cell(line)}" for line in plan.timetable))
    for change in plan.changes:
        details = list(_details(change))
        if details:
            yield from _unfold(f"<code>{change.key}</code>: {_escaped(_said(change))}", details)
    if plan.downstream:
        listed = (
            f"- `{each.key}`{', refreshed' if each.is_refreshed else ''}{_owned(each.owners)}"
            for each in plan.downstream[:_MOST_DOWNSTREAM]
        )
        more = len(plan.downstream) - _MOST_DOWNSTREAM
        yield from _unfold(
            f"{len(plan.downstream)} assets downstream", [*listed, *([f"- and {more} more"] if more > 0 else [])]
        )
    cost = telling.cost(plan.costs)
    if cost:
        yield from ["", f"What is refreshed took {cost}."]


def _breaking(change: AssetChange) -> Iterator[str]:
    yield f"- `{change.key}`"
    yield from (f"  - {told}" for told in telling.broken(change))
    below = (
        f"{len(change.downstream)} assets downstream"
        if len(change.downstream) > 1
        else "".join(f"`{key}` downstream" for key in change.downstream)
    )
    concerned = [*([below] if below else []), *(["tell " + ", ".join(change.affected)] if change.affected else [])]
    if concerned:
        yield f"  - concerns {'; '.join(concerned)}"


def _row(change: AssetChange) -> str:
    breaks = ", ".join(change.breaks) or ""
    cells = (
        _SIGNS[change.fate],
        f"`{change.key}`",
        _cell(_said(change)),
        breaks,
        "yes" if change.is_refreshed else "",
        f"{len(change.downstream) or ''}",
    )
    return f"| {' | '.join(cells)} |"


def _said(change: AssetChange) -> str:
    kinds = dict.fromkeys(reason.kind for reason in change.reasons)
    return ", ".join(kinds) if change.fate == "changed" else change.fate


def _details(change: AssetChange) -> Iterator[str]:
    yield from (f"- {_cell(reason.text)}" for reason in change.reasons)
    if change.columns:
        yield from ["", "| column | what | breaks |", "|---|---|---|"]
        yield from (
            f"| `{each.column}` | {_cell(telling.column(each))} | {', '.join(each.breaks)} |" for each in change.columns
        )
    if change.downstream:
        yield from ["", f"Downstream: {', '.join(f'`{key}`' for key in change.downstream[:_MOST_DOWNSTREAM])}"]


def _rows(plan: Plan) -> Iterator[str]:
    if plan.rows_of == "none":
        return
    of = "all rows" if plan.rows_of == "whole" else "a sample of the raw rows, before and after"
    yield from ["", f"**Rows that would change** (built from {of}; nothing was published)", ""]
    if not plan.rows:
        yield "No table is built anew."
        return
    yield from ["| table | rows |", "|---|---|"]
    yield from (f"| `{each.asset}` | {_cell(telling.rows(each))} |" for each in plan.rows)
    for each in plan.rows:
        if each.sample:
            yield from _unfold(f"some rows of <code>{each.asset}</code>", _sample(each))


def _sample(difference: RowDifference) -> Iterator[str]:
    names = list(difference.sample[0])
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in difference.sample:
        yield f"| {' | '.join(_cell('' if row[name] is None else str(row[name])) for name in names)} |"
    if difference.hidden:
        yield from ["", f"Personal data, masked: {', '.join(difference.hidden)}"]


def _unfold(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _owned(owners: tuple[str, ...]) -> str:
    return f" ({', '.join(owners)})" if owners else ""


def _cell(text: str) -> str:
    """Text that stays in one cell of a table and starts nothing of Markdown's."""
    return " ".join(_escaped(text).replace("|", "\\|").split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
