"""The published versions on disk: what each holds, what changed in it, who published it, and how long it stays.

Each version's folder has its record, `version.json`, written before the version becomes visible and never changed. A version is
removed when newer ones have taken its place, but never while somebody may be opening it: a reader resolves the published link
and then opens what it named, so what was published at any moment of the grace period stays.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.store import write_atomically
from caudal.warehouse import pins
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

#: Beside `warehouse.duckdb`.
RECORD = "version.json"

#: How long a version stays after another took its place, whatever else is said: a reader may be about to open it.
OPENING_GRACE_S = 120

#: The folder name of a version, which is when its candidate was opened.
_NAME = "%Y%m%dT%H%M%S%fZ"


class NoSuchVersion(LookupError):
    """A version is not on disk (any more), or never was. The message names those that are."""


@dataclass(frozen=True)
class Cause:
    """Who published a version, and why.

    Attributes:
        by: what made it, such as `dbt_shop`, or who.
        run_id: Dagster's run, "" if there was none.
        note: what a person should know, such as what was rolled back.

    """

    by: str = ""
    run_id: str = ""
    note: str = ""


#: Who does not say.
NOBODY = Cause()


@dataclass(frozen=True)
class Relation:
    """A table or view as it is in one version.

    Attributes:
        kind: `TABLE` or `VIEW`.
        rows: None for a view.
        since: the version in which it became what it is: it was made anew there, even if with the same rows.
        definition: as SQL.
        columns: name -> type; empty for a view.

    """

    kind: str
    rows: int | None
    since: str
    definition: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """A version that was published.

    Attributes:
        parent: the version that readers saw before it, "" for the first.
        changed: in words, for each `schema.name` that is not what it was in `parent`.

    """

    version: str
    published_at: datetime
    parent: str
    cause: Cause
    relations: Mapping[str, Relation]
    changed: Mapping[str, str]


@dataclass(frozen=True)
class Kept:
    """A version on disk.

    Attributes:
        record: None of a version that was published before there were records.
        pins: the versions of raw tables that it reads; None if it does not say.
        disk_bytes: of its blocks on disk, those that it shares with others included.

    """

    name: str
    folder: Path
    is_current: bool
    record: Version | None
    pins: Mapping[str, int] | None
    disk_bytes: int

    @property
    def file(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def published_at(self) -> datetime:
        return self.record.published_at if self.record else datetime.strptime(self.name, _NAME).replace(tzinfo=UTC)


def current(env: Environment) -> str | None:
    """The version that readers see, or None."""
    return env.published.resolve().parent.name if env.published.is_file() else None


def kept(env: Environment) -> list[Kept]:
    """The published versions that are on disk, the oldest first."""
    seen = current(env)
    return [_kept(folder, seen) for folder in _folders(env) if seen is not None and folder.name <= seen]


def find(env: Environment, name: str) -> Kept:
    """The version of that name, or the only one whose name begins so.

    Raises:
        NoSuchVersion: it is not there.

    """
    found = [version for version in kept(env) if version.name.startswith(name)] if name else []
    exact = [version for version in found if version.name == name]
    if len(exact or found) != 1:
        there = ", ".join(version.name for version in reversed(kept(env))) or "none"
        what = "is not on disk: it was removed, or never was" if not found else f"may be any of {len(found)}"
        raise NoSuchVersion(f"Version {name!r} {what}. Kept are (newest first): {there}")
    return (exact or found)[0]


def last_good(env: Environment, relation: str) -> tuple[str, datetime] | None:
    """The version in which what readers now see of the relation was made, and when it was published; None if they see none."""
    name = current(env)
    record = recorded(env.versions / name) if name else None
    if record is None or relation not in record.relations:
        return None
    since = record.relations[relation].since
    made = recorded(env.versions / since)
    return since, made.published_at if made else moment_of(since)


def next_name(env: Environment) -> str:
    """The name of a new version, after that of the one before it even if the clock was put back."""
    now, before = datetime.now(UTC), current(env)
    after = moment_of(before) + timedelta(microseconds=1) if before else now
    return max(now, after).strftime(_NAME)


def moment_of(name: str) -> datetime:
    """When the candidate of the version was opened."""
    return datetime.strptime(name, _NAME).replace(tzinfo=UTC)


def record(
    folder: Path, connection: duckdb.DuckDBPyConnection, start: Version | None, parent: Version | None, said: Version
) -> None:
    """Write down what the candidate in `folder` holds, as `connection` sees it, and what is new beside `parent`.

    Args:
        start: what the candidate was copied from.
        parent: what readers see until it is published.
        said: the version, of which `relations` is empty and `changed` names what was made anew.

    """
    relations = dict(_relations(connection, start.relations if start else {}, said))
    before = parent.relations if parent else {}
    changed = {
        name: _change(before.get(name), now)
        for name, now in relations.items()
        if name not in before or before[name].since != now.since
    }
    changed |= {name: "removed" for name in before if name not in relations}
    complete = asdict(replace(said, relations=relations, changed=changed)) | {"published_at": said.published_at.isoformat()}
    with write_atomically(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(complete, indent=1))


def recorded(folder: Path) -> Version | None:
    """What is written down of the version in `folder`; None if nothing is, or there is no such version."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Version(
        found["version"],
        datetime.fromisoformat(found["published_at"]),
        found["parent"],
        Cause(**found["cause"]),
        {name: Relation(**relation) for name, relation in found["relations"].items()},
        found["changed"],
    )


def clear(env: Environment, *, now: datetime | None = None) -> list[str]:
    """Remove the versions that need not stay; their names. Whoever calls holds the candidates' lock.

    What was moved aside by one that was killed is removed by the next candidate.
    """
    now = now or datetime.now(UTC)
    versions = kept(env)
    successors = itertools.pairwise(versions)
    age = timedelta(days=env.kept_days) if env.kept_days else None
    gone = []
    for newer, (old, successor) in enumerate(reversed(list(successors)), start=1):
        too_many = newer >= env.kept_versions
        too_old = age is not None and newer > 1 and now - successor.published_at > age
        if (too_many or too_old) and now - successor.published_at > timedelta(seconds=OPENING_GRACE_S):
            aside = env.candidates / f".removed-{old.name}"
            old.folder.replace(aside)
            shutil.rmtree(aside)
            gone.append(old.name)
    return gone


def clear_unfinished(env: Environment) -> None:
    """Remove what processes that were killed left: candidates, links, and versions that never became visible."""
    for left_behind in env.candidates.iterdir():
        shutil.rmtree(left_behind)
    for link in env.warehouse.glob(".*.link"):
        link.unlink()
    folders = _folders(env)
    if env.published.is_symlink():
        never_seen = [folder for folder in folders if folder.name > env.published.readlink().parent.name]
    else:  # Of the first one. Several mean that somebody lost the link: then nothing is touched.
        never_seen = folders if len(folders) == 1 else []
    for folder in never_seen:
        shutil.rmtree(folder)


def _folders(env: Environment) -> list[Path]:
    return sorted(env.versions.iterdir()) if env.versions.is_dir() else []


def _kept(folder: Path, seen: str) -> Kept:
    try:
        read = pins.recorded(folder)
    except pins.UnknownPins:
        read = None
    size = sum(os.stat(path).st_blocks * 512 for path in folder.iterdir())
    return Kept(folder.name, folder, folder.name == seen, recorded(folder), read, size)


def _relations(
    connection: duckdb.DuckDBPyConnection, before: Mapping[str, Relation], version: Version
) -> Iterator[tuple[str, Relation]]:
    """Only what is new is described (DuckDB knows how many rows a table has): the others are known from the version before."""
    told: Collection[str] = version.changed
    rows = connection.execute(
        "SELECT 'TABLE', schema_name || '.' || table_name AS name, sql FROM duckdb_tables() "
        "WHERE database_name = current_database() AND schema_name <> 'caudal' AND NOT temporary UNION ALL "
        "SELECT 'VIEW', schema_name || '.' || view_name, sql FROM duckdb_views() "
        "WHERE database_name = current_database() AND schema_name <> 'caudal' AND NOT internal AND NOT temporary ORDER BY name"
    ).fetchall()
    for kind, name, definition in rows:
        known = before.get(name)
        quoted = ".".join(map(identifier, name.split(".", 1)))
        count = connection.execute(f"SELECT count(*) FROM {quoted}").fetchall()[0][0] if kind == "TABLE" else None
        is_known = known is not None and (known.kind, known.definition, known.rows) == (kind, definition, count)
        if known is not None and is_known and name not in told:
            yield name, known
            continue
        described = connection.execute(f"DESCRIBE {quoted}").fetchall() if kind == "TABLE" else []
        yield name, Relation(kind, count, version.version, definition, {row[0]: row[1] for row in described})


def _change(before: Relation | None, now: Relation) -> str:
    if before is None:
        return f"new, {now.rows:,} rows" if now.rows is not None else "new view"
    if now.kind == "VIEW" or before.kind == "VIEW":
        return "the view is another one" if now.kind == before.kind else f"was a {before.kind.lower()}"
    told = [f"{before.rows:,} -> {now.rows:,} rows"]
    told += [f"column {name} added" for name in now.columns if name not in before.columns]
    told += [f"column {name} removed" for name in before.columns if name not in now.columns]
    both = [name for name in now.columns if name in before.columns and now.columns[name] != before.columns[name]]
    return "; ".join([*told, *(f"column {name} {before.columns[name]} -> {now.columns[name]}" for name in both)])
