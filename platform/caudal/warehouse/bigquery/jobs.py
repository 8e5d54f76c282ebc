"""What a job did and what it cost, as BigQuery's answer tells it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_ID = 900


@dataclass(frozen=True)
class Job:
    """A job that has ended well.

    Attributes:
        kind: `query`, `load`, `copy`, or `read` for a session of the Storage Read interface, whose bytes are priced apart.
        bytes_processed: what was read; `bytes_billed` of it is paid for. A load is free.
        slot_ms: slot time in milliseconds.
        rows: rows that a load wrote or a statement changed; None where neither is told.
        seconds: from its start to its end, on the server.
        was_there: the job of this id had been started before, by this process or one that died.
        cached: the answer came from BigQuery's cache, which is free.

    """

    id: str
    kind: str
    bytes_processed: int = 0
    bytes_billed: int = 0
    slot_ms: int = 0
    rows: int | None = None
    seconds: float = 0.0
    was_there: bool = False
    cached: bool = False


def job_id(*parts: str | int) -> str:
    """A job's id made of `parts`, the same for the same parts: letters, digits, `_` and `-`, however long they are."""
    told = "-".join(_NOT_IN_AN_ID.sub("_", str(part)) for part in parts)
    exact = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]
    return f"caudal-{told[:_LONGEST_ID]}-{exact}"


def told_of(job: Any, *, was_there: bool = False) -> Job:
    """What google-cloud-bigquery's `job` tells of itself, once it is done."""
    began, ended = getattr(job, "started", None), getattr(job, "ended", None)
    rows = getattr(job, "output_rows", None) if job.job_type == "load" else getattr(job, "num_dml_affected_rows", None)
    return Job(
        id=job.job_id,
        kind=job.job_type,
        bytes_processed=int(getattr(job, "total_bytes_processed", None) or 0),
        bytes_billed=int(getattr(job, "total_bytes_billed", None) or 0),
        slot_ms=int(getattr(job, "slot_millis", None) or 0),
        rows=None if rows is None else int(rows),
        seconds=(ended - began).total_seconds() if began and ended else 0.0,
        was_there=was_there,
        cached=bool(getattr(job, "cache_hit", False)),
    )


def billed(jobs: Iterable[Job]) -> int:
    """The bytes billed for all of `jobs`."""
    return sum(job.bytes_billed for job in jobs)
