"""The published versions in BigQuery: a row each in the table `published`, and snapshots of their tables.

A table has a snapshot for each version in which it was made anew; the versions after that share it. A version is in the table
`publishing` from before readers see the first of its tables, and in `published` once they see the last.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock
from caudal.warehouse import versions
from caudal.warehouse.bigquery import names
from caudal.warehouse.bigquery.explained import explained
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.versions import Kept, Version

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud

_PUBLISHED = (("version", "STRING"), ("published_at", "TIMESTAMP"), ("record", "STRING"))
#: `script` shows the version to readers, as often as it runs.
_PUBLISHING = (("version", "STRING"), ("record", "STRING"), ("script", "STRING"))


@dataclass(frozen=True)
class Row:
    """A version as the tables have it; `published_at` is None while it is being published."""

    version: str
    published_at: datetime | None = None
    record: str = ""
    script: str = ""

    def read(self) -> Version:
        """Its record."""
        found = versions.read(json.loads(self.record))
        return replace(found, published_at=self.published_at) if self.published_at else found


def published(cloud: GoogleCloud) -> str:
    """`project.dataset.table` of the versions that were published."""
    return cloud.table("caudal.published")


def publishing(cloud: GoogleCloud) -> str:
    """`project.dataset.table` of the version that is being published, if one is."""
    return cloud.table("caudal.publishing")


def make_tables(service: BigQuery) -> None:
    """Make the tables, and the datasets that publishing needs beside those of the schemas, where they are not there."""
    from google.cloud import bigquery

    make_dataset(service, service.cloud.dataset("caudal"))
    make_dataset(service, service.cloud.dataset("versions"))
    for table, columns in ((published(service.cloud), _PUBLISHED), (publishing(service.cloud), _PUBLISHING)):
        made = bigquery.Table(table, [bigquery.SchemaField(name, kind) for name, kind in columns])
        with explained(service.cloud, f"make the table {table}"):
            service.client.create_table(made, exists_ok=True, retry=service.busy)


def make_dataset(service: BigQuery, name: str, expires: timedelta | None = None, **labels: str) -> None:
    """Make a dataset in the environment's location, whose tables expire by themselves if `expires` is given."""
    from google.cloud import bigquery

    made = bigquery.Dataset(f"{service.cloud.project}.{name}")
    made.location, made.labels = service.cloud.location, service.labels | labels
    if expires is not None:
        made.default_table_expiration_ms = int(expires.total_seconds() * 1000)
    with explained(service.cloud, f"make the dataset {name}"):
        service.client.create_dataset(made, exists_ok=True, retry=service.busy)


def rows(service: BigQuery, *columns: str) -> list[Row]:
    """The versions that were published, oldest first, with `version`, `published_at` and these columns. Free of charge."""
    return _listed(service, published(service.cloud), [c for c in _PUBLISHED if c[0] in ("version", "published_at", *columns)])


def unfinished(service: BigQuery) -> list[Row]:
    """The versions that readers may see in part, oldest first: there is one at most. Free of charge."""
    return _listed(service, publishing(service.cloud), _PUBLISHING)


def current(env: Environment) -> str | None:
    """The version that readers see, or None."""
    return _newest(rows(_service(env)))


def kept(env: Environment) -> list[Kept]:
    """The published versions, the oldest first."""
    found = rows(_service(env), "record")
    newest = _newest(found)
    return [Kept(row.version, env.versions / row.version, row.version == newest, row.read(), None, 0) for row in found]


def named(env: Environment, name: str) -> Version | None:
    """What is written down of the version, None if it is not kept."""
    return next((row.read() for row in rows(_service(env), "record") if row.version == name), None)


def clear(env: Environment, service: BigQuery, *, now: datetime | None = None) -> list[str]:
    """Remove the versions that need not stay, and the snapshots that none of the others needs; the versions' names.

    Whoever calls holds the candidates' lock.
    """
    now = now or datetime.now(UTC)
    found = rows(service, "record")
    stay, gone = _split(env, found, now)
    _forget(env, service, stay, gone)
    return [row.version for row in gone]


def remove_before(env: Environment, name: str) -> list[str]:
    """Remove every version before that of this name; their names.

    What they share with it or with later versions stays. BigQuery can bring back what was removed for as long as time travel
    lasts in the dataset `versions`, and Google's support for seven days more.
    """
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        service = _service(env)
        found = rows(service, "record")
        gone = [row for row in found if row.version < name]
        _forget(env, service, [row for row in found if row.version >= name], gone)
    return [row.version for row in gone]


def cloud_of(env: Environment) -> GoogleCloud:
    """The settings of an environment that is in Google Cloud."""
    assert env.cloud is not None
    return env.cloud


def _listed(service: BigQuery, table: str, columns: Sequence[tuple[str, str]]) -> list[Row]:
    from google.api_core import exceptions
    from google.cloud import bigquery

    fields = [bigquery.SchemaField(name, kind) for name, kind in columns]
    with explained(service.cloud, f"list {table}"):
        try:
            found = service.client.list_rows(table, selected_fields=fields, retry=service.busy)
            listed = [Row(**{field.name: row[i] for i, field in enumerate(fields)}) for row in found]
        except exceptions.NotFound:
            return []
    return sorted(listed, key=lambda row: row.version)


def _newest(found: list[Row]) -> str | None:
    return max((row.version for row in found), default=None)


def _forget(env: Environment, service: BigQuery, stay: Sequence[Row], gone: Sequence[Row]) -> None:
    """Remove the rows of the versions that go, and each snapshot that no version which stays needs.

    Snapshots that neither the newest version nor the one before it needs expire by themselves after `CAUDAL_KEPT_DAYS`, should
    nothing be published any more.
    """
    if gone:
        listed = ", ".join(names.text(row.version) for row in gone)
        forgotten = f"DELETE FROM {names.quoted(published(service.cloud))} WHERE version IN ({listed})"
        service.query(forgotten, what="forget versions")
    needed, lasting = _snapshots(service.cloud, stay), _snapshots(service.cloud, stay[-2:])
    expires = datetime.now(UTC) + timedelta(days=env.kept_days) if env.kept_days else None
    dataset = f"{service.cloud.project}.{service.cloud.dataset('versions')}"
    with explained(service.cloud, f"remove snapshots that no version needs from {dataset}"):
        for each in service.client.list_tables(dataset, retry=service.busy):
            wanted = None if each.table_id in lasting else expires
            if each.table_id not in needed:
                service.client.delete_table(each.reference, not_found_ok=True, retry=service.busy)
            elif bool(each.expires) != bool(wanted):
                table = service.client.get_table(each.reference, retry=service.busy)
                table.expires = wanted
                service.client.update_table(table, ["expires"], retry=service.busy)


def _snapshots(cloud: GoogleCloud, found: Sequence[Row]) -> set[str]:
    """The names of the snapshots that these versions need."""
    relations = (each for row in found for each in row.read().relations.items())
    return {names.snapshot(cloud, name, relation.since).rsplit(".", 1)[1] for name, relation in relations}


def _split(env: Environment, found: list[Row], now: datetime) -> tuple[list[Row], list[Row]]:
    """Those that stay, and those that go."""
    age = timedelta(days=env.kept_days) if env.kept_days else None
    gone = []
    for newer, (old, successor) in enumerate(reversed(list(itertools.pairwise(found))), start=1):
        replaced = successor.published_at
        assert replaced is not None
        if newer >= env.kept_versions or (age is not None and newer > 1 and now - replaced > age):
            gone.append(old)
    return [row for row in found if row not in gone], gone


@cache
def _of(cloud: GoogleCloud, _process: int) -> BigQuery:  # A forked process must not use its parent's connections.
    return BigQuery(cloud)


def _service(env: Environment) -> BigQuery:
    return _of(cloud_of(env), os.getpid())
