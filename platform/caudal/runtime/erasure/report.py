"""What is planned and what was done, for the data-protection officer: a document that names nobody."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from caudal.runtime.erasure.plan import folder
from caudal.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.environment import Environment
    from caudal.runtime.erasure.applying import Journal
    from caudal.runtime.erasure.plan import Plan

#: How long BigQuery keeps what was removed: time travel, then fail-safe.
CLOUD_DAYS = 14

_SHOWN = 20


def told(env: Environment, plan: Plan, journal: Journal | None) -> str:
    """The plan, and how far it has come, in Markdown."""
    lines = [
        f"# Erasure {plan.id}: a {plan.key} of {plan.company}",
        "",
        f"Asked for by {plan.asked_by} at {plan.made_at}" + (f": {plan.reason}" if plan.reason else ""),
        _standing(plan, journal),
        *_left(plan, journal),
        "",
        "| where | what | rows | what becomes of it |",
        "|---|---|---:|---|",
    ]
    for place in plan.places:
        action = place.action
        if journal is not None and place.kind == "lake file":
            action = journal.lake.get(place.name, action)
        rows = "" if place.rows is None else f"{place.rows:,}"
        lines.append(f"| {place.kind} | {place.name} | {rows} | {action} |")
    lines += ["", "What this does not reach:", *(f"- {each}" for each in plan.remains)]
    if journal is not None and journal.is_done:
        lines += ["", *_ended(env, plan, journal)]
    return "\n".join(lines) + "\n"


def write(env: Environment, plan: Plan, journal: Journal) -> Path:
    """Keep the report."""
    path = folder(env) / plan.id / "report.md"
    with write_atomically(path) as temporary:
        temporary.write_text(told(env, plan, journal), encoding="utf-8")
    return path


def _standing(plan: Plan, journal: Journal | None) -> str:
    if journal is None:
        return f"Not applied: have somebody else than {plan.asked_by} read it, who applies it with --reviewed-by."
    if journal.is_done:
        return f"Reviewed by {journal.reviewed_by}, done at {journal.steps['checked']}."
    done = ", ".join(journal.steps) or "nothing"
    return f"Reviewed by {journal.reviewed_by}, begun at {journal.begun_at} and not finished (done: {done}): apply it again."


def _left(plan: Plan, journal: Journal | None) -> list[str]:
    """What is not erased, before all that is."""
    stays = left_in_lake(plan, journal)
    if not stays:
        return []
    verb = "is not" if journal is not None and journal.is_done else "will not be"
    shown = [f"- {name}" for name in stays[:_SHOWN]] + (["- ..."] if len(stays) > _SHOWN else [])
    return ["", f"**NOT ERASED: the person {verb} taken out of {len(stays)} lake files**, see the table:", *shown]


def left_in_lake(plan: Plan, journal: Journal | None) -> list[str]:
    """Files of the lake that hold the person's rows, or may, when the plan is done."""
    planned = {place.name for place in plan.places if place.is_left}
    return sorted(planned if journal is None else (planned - set(journal.lake)) | set(journal.stays))


def _ended(env: Environment, plan: Plan, journal: Journal) -> list[str]:
    at = datetime.fromisoformat(journal.steps["checked"])
    found = f"{'; '.join(journal.left)}. Apply a new plan." if journal.left else "nothing is left in tables and their copies."
    lines = [f"Looked through again: {found}"]
    if journal.version:
        lines.append(f"Published without the person as version {journal.version}; the versions before it are removed.")
    if journal.told:
        lines.append(f"Dagster makes anew what is below {', '.join(journal.told)}; until then sums count the person's part.")
    if env.cloud is not None:
        lines.append(
            f"The last copy in BigQuery vanishes by {at + timedelta(days=CLOUD_DAYS):%Y-%m-%d}: time travel, then fail-safe."
        )
    if not left_in_lake(plan, journal):
        lines.append("No lake file that was loaded holds the person's rows.")
    return lines
