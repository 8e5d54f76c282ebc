"""Showing a candidate to readers, whatever becomes of whoever does it.

1. Snapshots of its tables are made: until here nothing is to be seen, and what is left behind is removed.
2. A row of `publishing` says which version it is and holds the script that shows it.
3. The script, one job whose id is the version's, puts each table in the place of the one before, from its snapshot, then makes
   the views, then writes the version into `published` and removes the row.

A table changes in one moment, all of them one after another. Whoever finds a row of `publishing` runs its script, which may run
any number of times; it needs nothing but the snapshots.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.warehouse import versions as records
from caudal.warehouse.bigquery import names, versions
from caudal.warehouse.bigquery.explained import BigQueryError
from caudal.warehouse.bigquery.jobs import job_id

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud
    from caudal.warehouse.bigquery.service import BigQuery
    from caudal.warehouse.versions import Version


class StuckPublishing(RuntimeError):
    """A version is shown in part, and cannot be shown whole until a person has done something. The message says what."""


class Overtaken(RuntimeError):
    """Nothing is published, since somebody else has published meanwhile."""


@dataclass(frozen=True)
class Shown:
    """What readers are to be shown.

    Attributes:
        tables: relation -> the snapshot, `project.dataset.table`, that it becomes.
        views: relation -> its query, reading what readers see; one that reads another comes after it.
        removed: relation -> `TABLE` or `VIEW`.
        guarded: relation -> statements that say who sees which of its rows, should a clone not have brought that along.

    """

    tables: Mapping[str, str]
    views: Mapping[str, str]
    removed: Mapping[str, str]
    guarded: Mapping[str, Sequence[str]] = field(default_factory=dict)


def keep(service: BigQuery, made: Mapping[str, str], version: str) -> dict[str, str]:
    """Make a snapshot of each `made` relation's table, `project.dataset.table`; the snapshots by relation."""
    cloud = service.cloud
    snapshots = {relation: names.snapshot(cloud, relation, version) for relation in made}
    statements = [
        f"CREATE SNAPSHOT TABLE IF NOT EXISTS {names.quoted(snapshots[relation])} CLONE {names.quoted(table)}"
        for relation, table in made.items()
    ]
    if statements:
        service.query(_script(statements), what=f"keep the tables of version {version}", job_id=_id(cloud, "keep", version))
    return snapshots


def publish(service: BigQuery, version: Version, shown: Shown) -> None:
    """Show the version, whose snapshots are there, and the datasets of its schemas."""
    cloud = service.cloud
    _announce(service, version, script_of(cloud, version.version, shown))
    finish(service)


def finish(service: BigQuery) -> list[str]:
    """Show to the end what somebody began to show; the versions. Nothing, if nobody died of it.

    Raises:
        StuckPublishing: it cannot be shown.

    """
    done = []
    there = versions.unfinished(service)
    newest = max((row.version for row in versions.rows(service)), default="") if there else ""
    for row in there:
        try:
            # Only its row is left; or its announcement came through when whoever made it had been given up.
            if row.version <= newest:
                service.query(_forgetting(service.cloud, row.version), what=f"end the publishing of {row.version}")
            else:
                service.query(row.script, what=f"publish {row.version}", job_id=_id(service.cloud, "publish", row.version))
        except BigQueryError as refused:
            raise StuckPublishing(
                f"Version {row.version} is shown to readers in part, each table whole and audited; BigQuery refuses the rest. "
                f"Nothing else is published until that is mended; the next run then goes on with it. {refused}"
            ) from refused
        done.append(row.version)
    return done


def script_of(cloud: GoogleCloud, version: str, shown: Shown) -> str:
    """What shows a version that `publishing` knows."""
    statements = []
    for relation, snapshot in shown.tables.items():
        clone = f"CREATE OR REPLACE TABLE {names.quoted(cloud.table(relation))} CLONE {names.quoted(snapshot)}"
        statements += [f"{clone} OPTIONS (expiration_timestamp = NULL)", *shown.guarded.get(relation, ())]
    statements += [
        f"CREATE OR REPLACE VIEW {names.quoted(cloud.table(relation))} AS\n{query}" for relation, query in shown.views.items()
    ]
    statements += [f"DROP {kind} IF EXISTS {names.quoted(cloud.table(relation))}" for relation, kind in shown.removed.items()]
    published, publishing = names.quoted(versions.published(cloud)), names.quoted(versions.publishing(cloud))
    statements.append(
        f"INSERT INTO {published} (version, published_at, record) "
        f"SELECT version, CURRENT_TIMESTAMP(), record FROM {publishing} WHERE version = {names.text(version)} "
        f"AND NOT EXISTS (SELECT 1 FROM {published} WHERE version = {names.text(version)})"
    )
    return _script([*statements, _forgetting(cloud, version)])


def ordered(cloud: GoogleCloud, views: Mapping[str, str]) -> dict[str, str]:
    """The views, each after those of them that it reads."""
    left, done = dict(views), dict[str, str]()
    while left:
        free = [v for v, sql in left.items() if not any(o != v and names.named_in(sql, cloud.table(o)) for o in left)]
        for view in free or list(left):
            done[view] = left.pop(view)
    return done


def _announce(service: BigQuery, version: Version, script: str) -> None:
    from google.cloud import bigquery

    published, publishing = (names.quoted(of(service.cloud)) for of in (versions.published, versions.publishing))
    values = (version.version, json.dumps(records.written(version)), script, version.parent)
    service.query(
        f"INSERT INTO {publishing} (version, record, script) SELECT ?, ?, ? FROM (SELECT 1) "
        f"WHERE coalesce((SELECT max(version) FROM {published}), '') = ? AND NOT EXISTS (SELECT 1 FROM {publishing})",
        [bigquery.ScalarQueryParameter(None, "STRING", value) for value in values],
        what=f"announce version {version.version}",
        job_id=_id(service.cloud, "announce", version.version),
    )
    if service.done[-1].rows == 0:
        raise Overtaken(
            f"Version {version.version} is not published: since it was begun as {version.parent or 'the first'}, "
            "another process has published, on another machine. Run it again; and let one machine build at a time"
        )


def _forgetting(cloud: GoogleCloud, version: str) -> str:
    return f"DELETE FROM {names.quoted(versions.publishing(cloud))} WHERE version = {names.text(version)}"


def _id(cloud: GoogleCloud, what: str, version: str) -> str:
    return job_id(what, cloud.datasets.strip("_"), version)


def _script(statements: Iterable[str]) -> str:
    return ";\n".join(statements) + ";"
