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


def told(env: Environment, plan: Plan, journal: Journal | None) -> str:
    """The plan, and how far it has come, in Markdown."""
    lines = [
        f"# Erasure {plan.id}: a {plan.key} of {plan.company}",
        "",
        f"Asked for by {plan.asked_by} at {plan.made_at}" + (f": {plan.reason}" if plan.reason else ""),
        _standing(plan, journal),
        "",
        "| where | what | rows | what becomes of it |",
        "|---|---|---:|---|",
    ]
    for place in plan.places:
        action = place.action
        if journal is not None and place.kind == "lake file" and place.name in journal.lake:
            done = journal.lake[place.name]
            action = done if isinstance(done, str) else f"written anew without {done} rows"
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


def _ended(env: Environment, plan: Plan, journal: Journal) -> list[str]:
    at = datetime.fromisoformat(journal.steps["checked"])
    stays = [
        place.name for place in plan.places if place.kind == "lake file" and not isinstance(journal.lake.get(place.name), int)
    ]
    lines = [
        "Looked through again: " + ("; ".join(journal.left) + ". Apply a new plan." if journal.left else "nothing is left.")
    ]
    if journal.version:
        lines.append(f"Published without the person as version {journal.version}; the versions before it are removed.")
    if journal.told:
        lines.append(f"Dagster makes anew what is below {', '.join(journal.told)}; until then sums count the person's part.")
    if env.cloud is not None:
        lines.append(
            f"The last copy in BigQuery vanishes by {at + timedelta(days=CLOUD_DAYS):%Y-%m-%d}: time travel, then fail-safe."
        )
    if stays:
        lines.append(f"{len(stays)} lake files hold the person's rows, and no load lets them in: {', '.join(stays[:20])}.")
    else:
        lines.append("No lake file that was loaded holds the person's rows.")
    return lines
