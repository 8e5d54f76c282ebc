"""The moment at which readers read: all tables as the newest published version has them.

A version's tables change one after another while it is published. Readers go by BigQuery's time travel to when their version
had been published whole, so that a version that is published meanwhile changes nothing for them. Time travel ends after some
days; what was published before stands as it is, unless another version is being shown just now: then its snapshots are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery import names, versions

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.service import BigQuery

#: A dataset's time travel may be set to two days; what was published longer ago is read as it is now.
TIME_TRAVEL = timedelta(hours=36)

#: A moment that BigQuery's clock has surely passed when ours has.
CLOCKS = timedelta(seconds=5)


@dataclass(frozen=True)
class Moment:
    """A published version, and how its tables are read.

    Attributes:
        at: by BigQuery's clock, after its last table was published and before any of the next version's; None for `places`.
        places: relation -> `project.dataset.table` of its snapshot.

    """

    version: str
    published_at: datetime
    at: datetime | None
    places: Mapping[str, str] = field(default_factory=dict)


def published_moment(service: BigQuery) -> Moment | None:
    """The newest version, or None. Costs nothing: the rows are listed, not queried."""
    found = versions.rows(service)
    if not found:
        return None
    newest, now = found[-1], datetime.now(UTC)
    published_at = newest.published_at or now
    if now - published_at < TIME_TRAVEL:
        return Moment(newest.version, published_at, published_at)
    if not any(row.version != newest.version for row in versions.unfinished(service)):
        return Moment(newest.version, published_at, now - CLOCKS)
    (row,) = (row for row in versions.rows(service, "record") if row.version == newest.version)
    relations = row.read().relations
    places = {name: names.snapshot(service.cloud, name, each.since) for name, each in relations.items() if each.kind == "TABLE"}
    return Moment(newest.version, published_at, None, places)
