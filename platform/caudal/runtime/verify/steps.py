"""Steps, each of which proves something, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.runtime.verify.ground import Ground


class Outcome(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ALLOWED = "not allowed"
    NOT_ANSWERED = "not answered by this server"


class Disproved(AssertionError):
    """The service did something else than the step is there to prove. The message says what."""


class NotAllowed(Exception):
    """The account lacks a permission that Caudal can do without. The message says which."""


@dataclass(frozen=True)
class Step:
    """Something to be tried.

    Attributes:
        name: in one word or two.
        proves: what is known once it passed.
        do: tries it, and tells what it found in one line.
        only_google: why another server in BigQuery's place says nothing about it; empty if it does.

    """

    name: str
    proves: str
    do: Callable[[Ground], str]
    only_google: str = ""


@dataclass(frozen=True)
class Result:
    """How a step ended.

    Attributes:
        found: what it found, or what is wrong.
        seconds: by this machine's clock.
        jobs, bytes_billed, slot_ms: of the jobs that the step itself asked for.

    """

    name: str
    proves: str
    outcome: Outcome
    found: str
    seconds: float = 0.0
    jobs: int = 0
    bytes_billed: int = 0
    slot_ms: int = 0


def run(steps: Sequence[Step], ground: Ground) -> Iterator[Result]:
    """Try each step in order, whatever came of the ones before; each result as soon as it is there."""
    for step in steps:
        if step.only_google and not ground.is_google:
            yield Result(step.name, step.proves, Outcome.NOT_ANSWERED, step.only_google)
            continue
        before, began = len(ground.service.done), time.monotonic()
        try:
            outcome, found = Outcome.PASSED, step.do(ground)
        except NotAllowed as lacking:
            outcome, found = Outcome.NOT_ALLOWED, str(lacking)
        except Exception as problem:  # noqa: BLE001 - the others are still to be tried
            outcome, found = Outcome.FAILED, f"{type(problem).__name__}: {problem}"
        jobs = ground.service.done[before:]
        yield Result(
            step.name,
            step.proves,
            outcome,
            found,
            round(time.monotonic() - began, 2),
            len(jobs),
            sum(job.bytes_billed for job in jobs),
            sum(job.slot_ms for job in jobs),
        )


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """The results as one JSON document."""
    return {"passed": good(results), "steps": [asdict(result) for result in results]}


def good(results: Sequence[Result]) -> bool:
    """Whether nothing failed. What was not answered is not known, and no failure either."""
    return all(result.outcome is not Outcome.FAILED for result in results)


def expect(actual: Any, expected: Any, what: str) -> None:
    """Raise `Disproved` unless they are equal."""
    if actual != expected:
        raise Disproved(f"{what}: found {actual!r}, expected {expected!r}")
