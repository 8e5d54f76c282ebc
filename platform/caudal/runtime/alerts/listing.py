"""Incidents for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from caudal.environment import Environment
from caudal.runtime.alerts.book import Book, book_path
from caudal.runtime.alerts.message import listed, moment
from caudal.runtime.alerts.outbox import Outbox


def listing(env: Environment, *, everything: bool) -> str:
    """The open incidents, the newest first; with `everything` also those that are over, and what could not be sent."""
    if not book_path(env).exists():
        return "nothing was looked at yet: the sensor `alerts` has not run"
    book = Book.of(env)
    lines = []
    for each in book.incidents(resolved=everything, limit=200):
        state = "open" if each.resolved_s is None else f"over {moment(each.resolved_s)}"
        times = f", {each.count:,} times" if each.count > 1 else ""
        lines.append(f"{each.number:>5}  {each.kind:<10}  since {moment(each.first_s)}{times}  {state}  {each.subject}")
        lines.append(f"       {each.detail[:300]}")
        if each.also:
            lines.append(f"       late because of it: {listed(each.also)}")
        if each.owners:
            lines.append(f"       {', '.join(each.owners)}")
        if each.link:
            lines.append(f"       {env.ui_url}{each.link}")
    if not lines:
        lines.append("nothing to tell" if everything else "no incident is open")
    lines += [f"channel {name} does not take messages: {problem}" for name, problem in Outbox(book).failing().items()]
    return "\n".join(lines)


def tried(outcome: Mapping[str, str | None]) -> str:
    """What became of test messages, one channel a line."""
    return "\n".join(f"{name}: {'sent' if problem is None else problem}" for name, problem in outcome.items())
