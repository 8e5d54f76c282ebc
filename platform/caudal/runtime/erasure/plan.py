"""What is to be erased of one person, as a value that is computed once, read by somebody, and then done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from caudal.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.environment import Environment

Kind = Literal[
    "raw table", "rejects", "repaired rows", "lake file", "unread file", "published table", "kept versions",
    "failing rows", "duplicates", "profiles", "notebooks", "online store", "elsewhere",
]  # fmt: skip


class NoSuchErasure(LookupError):
    """No plan has that id. The message says which there are."""


@dataclass(frozen=True)
class Place:
    """One place that holds something of the person.

    Attributes:
        name: of the table, or a path in the lake.
        rows: how many; None where that is not counted.
        action: what is done about it, for people.
        is_left: the person's rows, or what may be them, stay there.
        files: of raw tables and rejects: how many of the rows each lake file has brought, by the version loaded then.

    """

    kind: Kind
    name: str
    rows: int | None
    action: str
    files: Mapping[str, tuple[str, int]]
    is_left: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that there is of one person.

    Attributes:
        key: the subject, such as `household`.
        hash: of the value that identifies the person, as in the list of suppressed people.
        reason: such as the ticket.
        remains: what this cannot reach, each with how long it stays, for people.

    """

    id: str
    company: str
    key: str
    hash: str
    reason: str
    asked_by: str
    made_at: str
    rewrite_lake: bool
    places: tuple[Place, ...]
    remains: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(place.rows or 0 for place in self.places if place.kind in ("raw table", "rejects"))


def save(env: Environment, plan: Plan) -> Path:
    """Keep the plan, readable by its owner."""
    path = folder(env) / plan.id / "plan.json"
    with write_atomically(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(plan), indent=1), encoding="utf-8")
    return path


def read(env: Environment, plan_id: str) -> Plan:
    """The plan of that id, or the only one whose id begins so.

    Raises:
        NoSuchErasure: there is none, or several.

    """
    found = [each for each in ids(env) if each.startswith(plan_id)] if plan_id else []
    if len(found) != 1:
        raise NoSuchErasure(f"no plan {plan_id!r}; there are: {', '.join(ids(env)) or 'none'}")
    told: dict[str, Any] = json.loads((folder(env) / found[0] / "plan.json").read_text(encoding="utf-8"))
    places = tuple(
        Place(**place | {"files": {name: (version, rows) for name, (version, rows) in place["files"].items()}})
        for place in told.pop("places")
    )
    remains = tuple(told.pop("remains"))
    return Plan(**told, places=places, remains=remains)


def ids(env: Environment) -> list[str]:
    """Every plan, the oldest first."""
    return sorted(path.parent.name for path in folder(env).glob("*/plan.json"))


def folder(env: Environment) -> Path:
    """Where plans, journals and reports are kept."""
    return env.state / "erasures"
