"""What was found, as values, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, such as `bucket gs://acme-data`.
        state: whether it is as it must be; `skipped` if that cannot be known, or is not needed.
        found: in one line; why it was skipped.
        to_do: commands, or words, for who has to mend it; nothing where nothing has to be done.

    """

    name: str
    state: State
    found: str
    to_do: tuple[str, ...] = ()


def ok(name: str, found: str) -> Check:
    return Check(name, State.OK, found)


def failed(name: str, found: str, *to_do: str) -> Check:
    return Check(name, State.FAILED, found, to_do)


def skipped(name: str, found: str, *to_do: str) -> Check:
    return Check(name, State.SKIPPED, found, to_do)


def healthy(checks: Sequence[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.state is not State.FAILED for check in checks)


def told(check: Check) -> str:
    """The check as lines for a person: the first says all, the others what to do."""
    return "\n".join([f"{check.state:<8} {check.name}: {check.found}", *(f"{'':<9}-> {line}" for line in check.to_do)])


def as_json(checks: Sequence[Check]) -> dict[str, object]:
    """The checks as one JSON document."""
    return {"healthy": healthy(checks), "checks": [asdict(check) for check in checks]}
