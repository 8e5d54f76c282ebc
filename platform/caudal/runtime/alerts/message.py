"""What people read: short, in plain text, in which nothing that an error says can act as markup or as a mention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from caudal.runtime.alerts.facts import Kind

Occasion = Literal["opened", "reminder", "resolved"]

TITLE_CHARACTERS, TEXT_CHARACTERS, DETAIL_CHARACTERS = 150, 1500, 600

#: Characters that chats and mail readers take for markup, links or mentions, and what is shown in their place.
_HARMLESS = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "`": "'",
        "|": "\u00a6",
        "[": "(",
        "]": ")",
        "\\": "/",
        "*": "\u2217",
        "~": "\u223c",
        "&": "+",
    }
)
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
_SECRET = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|authorization|signature)[\"']?\s*[=:]\s*(?:bearer\s+)?)"
    r"[^\s,;&'\"]+"
)

_VERB = {"run": "failed", "check": "check failed", "late": "late", "quarantine": "quarantine grew"}


@dataclass(frozen=True)
class Incident:
    """One cause, from when it was first seen until it was over.

    Attributes:
        also: assets that are late because of it.
        resolution: how it ended; "" while it goes on.
    """

    number: int
    kind: Kind
    subject: str
    detail: str
    owners: tuple[str, ...]
    link: str
    first_s: float
    last_s: float
    count: int
    resolved_s: float | None = None
    resolution: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """To be sent. `good` if it says that something is over."""

    title: str
    text: str
    good: bool


def plain(text: str, characters: int) -> str:
    """`text` on one line, without credentials, markup and mentions, and not longer than that."""
    text = _SECRET.sub(r"\1...", _CREDENTIALS.sub("", text[: 20 * characters]))
    text = "".join(c if c.isprintable() else " " for c in text).translate(_HARMLESS)
    text = " ".join(text.replace("@", "@\u200b").split())
    return text if len(text) <= characters else text[: characters - 1] + "…"


def message(incident: Incident, occasion: Occasion, ui_url: str) -> Message:
    """What is to be said of the incident as it is now."""
    subject, verb = plain(incident.subject, TITLE_CHARACTERS - 60), _VERB[incident.kind]
    times = f" ({incident.count:,} times)" if incident.count > 1 else ""
    if occasion == "resolved":
        title = f"Resolved: {subject}: {verb}{times}"
        lasted = _duration((incident.resolved_s or incident.last_s) - incident.first_s)
        lines = [f"{plain(incident.resolution, 200) or 'It is over'}, {lasted} after it began."]
    else:
        title = f"{'Still ' if occasion == 'reminder' else ''}{verb}: {subject}{times}"
        title = title[0].upper() + title[1:]
        lines = [_told(incident.count, incident.first_s, incident.last_s)]
    lines.append(plain(incident.detail, DETAIL_CHARACTERS))
    if incident.also:
        lines.append(f"Late because of it: {plain(listed(incident.also), 300)}")
    if incident.owners:
        lines.append(f"Owner: {plain(', '.join(incident.owners), 200)}")
    if incident.link and ui_url:
        lines.append(f"{ui_url}{incident.link}")
    return Message(title, "\n".join(line for line in lines if line)[:TEXT_CHARACTERS], occasion == "resolved")


def listed(names: Sequence[str], shown: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _told(count: int, first_s: float, last_s: float) -> str:
    if count == 1:
        return f"Since {moment(first_s)}."
    return f"{count:,} times since {moment(first_s)}, last {moment(last_s)}."


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} seconds"
