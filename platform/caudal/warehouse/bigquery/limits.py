"""BigQuery's limits on loading, https://cloud.google.com/bigquery/quotas, and parts divided so that they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

#: Of one load job, https://cloud.google.com/bigquery/quotas#load_jobs: "Maximum number of source URIs in job configuration".
MOST_URIS = 10_000
#: "Maximum size per load job": 15 TB.
MOST_BYTES = 15 * 10**12
#: "Number of modified partitions per job", https://cloud.google.com/bigquery/quotas#partitioned_tables
MOST_PARTITIONS = 4_000


def jobs_of(parts: Sequence[Path]) -> Iterator[list[int]]:
    """The parts of each load job, as places in `parts`: as few jobs as the limits on files and bytes allow."""
    group: list[int] = []
    size = 0
    for place, part in enumerate(parts):
        own = part.stat().st_size
        if group and (len(group) >= MOST_URIS or size + own > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(place)
        size += own
    if group:
        yield group
