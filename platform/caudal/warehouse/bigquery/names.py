"""Where a `schema.table` is in BigQuery: as readers see it, in a candidate, and as a snapshot of a version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from caudal.google_cloud import GoogleCloud


def flat(relation: str) -> str:
    """The name of a `schema.table` in a dataset that holds tables of all schemas."""
    return relation.replace(".", "__", 1)


def candidate_dataset(cloud: GoogleCloud, version: str) -> str:
    """The dataset of a candidate, without the project."""
    return cloud.dataset(f"candidate_{version}")


def in_candidate(cloud: GoogleCloud, relation: str, version: str) -> str:
    """`project.dataset.table` in the candidate of a version."""
    return f"{cloud.project}.{candidate_dataset(cloud, version)}.{flat(relation)}"


def snapshot(cloud: GoogleCloud, relation: str, version: str) -> str:
    """`project.dataset.table` of what the relation was made in that version."""
    return f"{cloud.project}.{cloud.dataset('versions')}.{flat(relation)}__{version}"


def quoted(physical: str) -> str:
    """`project.dataset.table` as GoogleSQL."""
    return ".".join(f"`{part}`" for part in physical.split("."))


def text(value: str) -> str:
    """A string literal of GoogleSQL."""
    told = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{told}'"


def named_in(sql: str, physical: str) -> bool:
    """Whether a query names the table `project.dataset.table`, in any of the ways to quote it."""
    return _pattern(physical).search(sql) is not None


def moved(sql: str, places: Mapping[str, str]) -> str:
    """A query that reads each table of `places`, `project.dataset.table`, at its other place."""
    for old, new in places.items():
        sql = _pattern(old).sub(quoted(new).replace("\\", "\\\\"), sql)
    return sql


def _pattern(physical: str) -> re.Pattern[str]:
    project, dataset, table = map(re.escape, physical.split("."))
    return re.compile(rf"(?<![\w`.-])`?{project}`?\.`?{dataset}`?\.`?{table}(?![\w-])`?")
