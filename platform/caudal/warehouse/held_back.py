"""What was built and is not published: which check failed, since when, and what readers see instead.

Kept from run to run in one small file, so that the first time of failing is known for as long as it lasts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.store import exclusive_lock, write_atomically
from caudal.warehouse import versions
from caudal.warehouse.versions import NOBODY, Cause

if TYPE_CHECKING:
    from caudal.environment import Environment


@dataclass(frozen=True)
class Why:
    """One reason.

    Attributes:
        reason: a sentence for people.
        check: the check that failed, `<asset>: <name>`, or "" if something else did.
        failures: how many rows it selected, if that is known.

    """

    reason: str
    check: str = ""
    failures: int | None = None


@dataclass(frozen=True)
class Held:
    """A table or view that keeps its last good version.

    Attributes:
        since: when it was held back first, without having been published again.
        times: how often it was held back since then.
        last: when that was the last time.
        why: the newest reasons.
        readers_see: the version in which what readers see was made; "" if they see nothing.
        good_since: when that was published.

    """

    since: datetime
    times: int
    last: datetime
    why: tuple[Why, ...]
    run_id: str = ""
    readers_see: str = ""
    good_since: datetime | None = None

    def sentence(self) -> str:
        """All of it, for people."""
        reasons = "; ".join(each.reason for each in self.why)
        if self.readers_see and self.good_since:
            seen = f"Readers see version {self.readers_see}, published {_moment(self.good_since)}."
        else:
            seen = "It was never published: readers see nothing."
        again = f", {self.times} times" if self.times > 1 else ""
        return f"Not published since {_moment(self.since)}{again}: {reasons}. {seen}"


def held(env: Environment) -> dict[str, Held]:
    """What is held back now, by `schema.name`."""
    try:
        found = json.loads(_file(env).read_text())
    except FileNotFoundError:
        return {}
    return {name: _read(each) for name, each in found.items()}


def hold(env: Environment, why: Mapping[str, tuple[Why, ...]], cause: Cause = NOBODY) -> dict[str, Held]:
    """Note that each `schema.name` is held back, for these reasons; what is known of it."""
    if not why:
        return {}
    now = datetime.now(UTC)
    with exclusive_lock(env.state / "locks" / "held_back.lock"):
        before = held(env)
        new = {}
        for name, reasons in why.items():
            old = before.get(name)
            good = versions.last_good(env, name)
            new[name] = Held(
                since=old.since if old else now,
                times=old.times + 1 if old else 1,
                last=now,
                why=reasons,
                run_id=cause.run_id,
                readers_see=good[0] if good else "",
                good_since=good[1] if good else None,
            )
        _write(env, before | new)
    return new


def let_go(env: Environment, names: Iterable[str]) -> dict[str, Held]:
    """Note that these were published; those of them that had been held back."""
    names = list(names)
    if not held(env).keys() & set(names):
        return {}
    with exclusive_lock(env.state / "locks" / "held_back.lock"):
        before = held(env)
        _write(env, {name: each for name, each in before.items() if name not in names})
    return {name: before[name] for name in names if name in before}


def _file(env: Environment) -> Path:
    return env.state / "held_back.json"


def _write(env: Environment, all_held: Mapping[str, Held]) -> None:
    with write_atomically(_file(env)) as temporary:
        temporary.write_text(json.dumps({name: asdict(each) for name, each in all_held.items()}, indent=1, default=str))


def _read(found: dict[str, Any]) -> Held:
    return Held(
        since=datetime.fromisoformat(found["since"]),
        times=found["times"],
        last=datetime.fromisoformat(found["last"]),
        why=tuple(Why(**each) for each in found["why"]),
        run_id=found["run_id"],
        readers_see=found["readers_see"],
        good_since=datetime.fromisoformat(found["good_since"]) if found["good_since"] else None,
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
