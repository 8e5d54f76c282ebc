"""A request handed to Dagster once, whatever is killed meanwhile, and how far it has come.

The backfill's name in Dagster is made of what the file asks for, and its storage admits a name once. So the storage is what
decides whether a request was launched; the record beside the ledger, written afterwards, says when and from which file, and
keeps a request from being launched again when Dagster's history is gone.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from caudal.store import exclusive_lock, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.environment import Environment
    from caudal.runtime.backfills.request import Request
    from caudal.runtime.backfills.targets import Targets

FILE_TAG, REASON_TAG, REVIEWER_TAG, REQUESTER_TAG = (
    "caudal/backfill_file",
    "caudal/backfill_reason",
    "caudal/backfill_reviewed_by",
    "caudal/backfill_requested_by",
)
#: The queue admits one run at a time for each value of this tag: see `tag_concurrency_limits` in `dagster.yaml`.
ALONE_TAG = "caudal/one_run_at_a_time"


class Refused(RuntimeError):
    """A request is not launched. The message says why, and what to do."""


@dataclass(frozen=True)
class Applied:
    """The record of a request that was launched."""

    id: str
    file: str
    content_hash: str
    applied_at: str
    reason: str
    reviewed_by: str


@dataclass(frozen=True)
class Progress:
    """How far a launched request has come, counted in partitions, and in assets that have none.

    Attributes:
        status: `requested`, `completed success`, `completed failed`, `canceled`, ..., or `forgotten` by Dagster's history.

    """

    status: str
    targets: int = 0
    made: int = 0
    failed: int = 0
    in_progress: int = 0


def launch(env: Environment, request: Request, targets: Targets, instance: dg.DagsterInstance) -> Applied:
    """Hand the request to Dagster and record it.

    What a process handed over that was killed before it could record it is recorded, and not handed over again.

    Raises:
        Refused: nobody has reviewed it, or it has been applied.

    """
    if not request.reviewed_by:
        raise Refused(
            f"{request.path} has not been reviewed: `reviewed_by` is missing. Have somebody else than {request.requested_by} "
            "read it, and write the name there"
        )
    with exclusive_lock(env.state / "locks" / "backfills.lock"):
        known = applied(env, request)
        if known is not None:
            raise Refused(
                f"{request.path} was applied at {known.applied_at} as the backfill {known.id}. To make it again, ask again: "
                "copy it to a file with another name"
            )
        if instance.get_backfill(request.id) is None:
            instance.add_backfill(_backfill(env, request, targets, instance))
        return _record(env, request)


def applied(env: Environment, request: Request) -> Applied | None:
    """The record of the request as it is written now; None if it has not been applied so."""
    return _read(_home(env) / f"{request.id}.json")


def applied_otherwise(env: Environment, request: Request) -> Applied | None:
    """The newest record of the same file with other contents."""
    found = (_read(path) for path in _home(env).glob("*.json"))
    others = [each for each in found if each and each.file == request.path.name and each.id != request.id]
    return max(others, key=lambda each: each.applied_at, default=None)


def progress(request_id: str, instance: dg.DagsterInstance) -> Progress:
    """How far the request has come."""
    backfill = instance.get_backfill(request_id)
    if backfill is None:
        return Progress("forgotten")
    data = backfill.asset_backfill_data
    status = backfill.status.value.lower().replace("_", " ")
    if data is None:
        return Progress(status)
    counts = [
        subset.num_partitions_and_non_partitioned_assets
        for subset in (data.target_subset, data.materialized_subset, data.failed_and_downstream_subset, data.requested_subset)
    ]
    targets, made, failed, asked = counts
    going = 0 if backfill.status is not BulkActionStatus.REQUESTED else max(0, asked - made - failed)
    return Progress(status, targets, made, failed, going)


def tags(request: Request) -> dict[str, str]:
    """The tags of the backfill and of each of its runs."""
    own = {
        FILE_TAG: request.path.name,
        REASON_TAG: request.reason,
        REQUESTER_TAG: request.requested_by,
        REVIEWER_TAG: request.reviewed_by,
    }
    if request.priority:
        own["dagster/priority"] = f"{request.priority}"
    if request.one_run_at_a_time:
        own[ALONE_TAG] = request.id
    return {**dict(request.tags), **own}


def _backfill(env: Environment, request: Request, targets: Targets, instance: dg.DagsterInstance) -> PartitionBackfill:
    return PartitionBackfill.from_asset_graph_subset(
        backfill_id=request.id,
        backfill_timestamp=time.time(),
        tags=tags(request),
        dynamic_partitions_store=instance,
        asset_graph_subset=targets.subset,
        title=f"{request.name} ({env.company})",
        description=f"{request.reason}\n\nAsked for by {request.requested_by}, reviewed by {request.reviewed_by}.",
        run_config=None,
    )


def _record(env: Environment, request: Request) -> Applied:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = Applied(request.id, request.path.name, request.content_hash, now, request.reason, request.reviewed_by)
    with write_atomically(_home(env) / f"{request.id}.json") as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    return record


def _home(env: Environment) -> Path:
    return env.state / "backfills"


def _read(path: Path) -> Applied | None:
    try:
        return Applied(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
