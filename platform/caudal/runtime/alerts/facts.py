"""What is observed, as values: runs that ended, and conditions that hold now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["run", "check", "late", "quarantine"]

#: How the names of targets begin that are a job, or a step without assets, `step:<job>/<step>`. Others are assets, their keys
#: joined by slashes.
JOB, STEP = "job:", "step:"
#: Errors are compared in their first so many characters.
_COMPARED = 400

_VARYING = (
    (re.compile(r"https?://\S+"), "<url>"),
    (re.compile(r"(?:/[\w.@%+=:,~-]+){2,}/?"), "<path>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "#"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b", re.IGNORECASE), "#"),
    (re.compile(r"\d+(?:[.,:_T-]\d+)*Z?"), "#"),
    (re.compile(r"\s+"), " "),
)


def owner_of(target: str) -> str | None:
    """The job of a step, as a target; None for other targets."""
    return f"{JOB}{target.removeprefix(STEP).partition('/')[0]}" if target.startswith(STEP) else None


def normalized(error: str) -> str:
    """An error without what differs each time: addresses, paths, ids, numbers, dates. Equal texts are one cause."""
    for pattern, instead in _VARYING:
        error = pattern.sub(instead, error[: 8 * _COMPARED])
    return error.strip()[:_COMPARED]


@dataclass(frozen=True)
class Target:
    """What must go well again: an asset, or a partition of it, or a job."""

    name: str
    part: str = ""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        subject: what it is about, such as `marts/sales/daily_sales`.
        detail: the error or finding, as it was said.
        owners: of the assets concerned; () is nobody in particular.
        link: the path of the page in Dagster that shows it.
        occurrence: two problems of one cause with different occurrences are counted as two.
        at_s: when it happened, in seconds since the epoch; 0 is now.
        cause: tells causes of one subject apart; by default `detail`, normalized.
        targets: of a failed run.
        upstream: of a late asset: itself and all that it depends on. Of a failed run: the assets that its step was about.
        blocks: of a failed check: what is downstream of its asset waits for it.
    """

    kind: Kind
    subject: str
    detail: str
    owners: tuple[str, ...] = ()
    link: str = ""
    occurrence: str = ""
    at_s: float = 0.0
    cause: str | None = None
    targets: tuple[Target, ...] = ()
    upstream: frozenset[str] = frozenset()
    blocks: bool = False

    @property
    def fingerprint(self) -> str:
        """The same for all problems of one cause."""
        cause = normalized(self.detail) if self.cause is None else self.cause
        return hashlib.sha256(f"{self.kind}\n{self.subject}\n{cause}".encode()).hexdigest()[:20]

    @property
    def roots(self) -> tuple[str, ...]:
        """The assets below which lateness is a consequence of this."""
        if self.kind == "run":
            return tuple(sorted({t.name for t in self.targets if not t.name.startswith((JOB, STEP))}))
        return (self.subject,) if self.kind == "late" else tuple(t.name for t in self.targets if self.blocks)


@dataclass(frozen=True)
class Ended:
    """A run that ended, or assets that were reported without one.

    Attributes:
        succeeded: the job's name, if the whole run succeeded.
        made: assets, with the partitions that were materialized; "" is the asset without partitions.
        problems: why it failed.
    """

    run_id: str
    at_s: float
    succeeded: str | None = None
    made: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """What the ledger says of one dataset."""

    dataset: str
    rows: int
    files: int
    rows_read: int
    owners: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class Facts:
    """One look.

    Attributes:
        ended: in the order in which they ended.
        holding: the problems of these kinds that exist now. A kind that is missing could not be looked at.
        quarantine: None if it could not be looked at.
        declared: names of all assets and jobs (`job:...`) that exist; None if unknown.
        cursor: to be kept, for the next look.
        awaited: runs that Dagster has promised to retry, and since when.
        known: runs that need no second look, with the time of their end.
    """

    ended: Sequence[Ended] = ()
    holding: Mapping[Kind, Sequence[Problem]] = field(default_factory=dict)
    quarantine: Sequence[Quarantined] | None = None
    declared: frozenset[str] | None = None
    cursor: float | None = None
    awaited: Mapping[str, float] | None = None
    known: Mapping[str, float] = field(default_factory=dict)
