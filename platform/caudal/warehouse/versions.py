"""The published versions: what each holds, what changed in it, who published it, and, on disk, how long it stays.

Each version's folder has its record, `version.json`, written before the version becomes visible and never changed. A version is
removed when newer ones have taken its place, but never while somebody may be opening it: a reader resolves the published link
and then opens what it named, so what was published at any moment of the grace period stays.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.store import exclusive_lock
from caudal.warehouse import pins

if TYPE_CHECKING:
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

#: Who published the version that a company began with in Google Cloud.
MIGRATION = "caudal migrate"


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
    """A version that is kept.

    Attributes:
        folder: where it is on disk; on BigQuery, where its tables are snapshots, nothing is there.
        record: None of a version that was published before there were records.
        pins: the versions of raw tables that it reads; None if it does not say.
        disk_bytes: of its blocks on disk, those that it shares with others included; 0 on BigQuery.

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
    if env.cloud is not None:
        from caudal.warehouse.bigquery import versions as in_bigquery

        return in_bigquery.current(env)
    return env.published.resolve().parent.name if env.published.is_file() else None


def kept(env: Environment) -> list[Kept]:
    """The published versions that are kept, the oldest first."""
    if env.cloud is not None:
        from caudal.warehouse.bigquery import versions as in_bigquery

        found: list[Any] = in_bigquery.kept(env)
        return found
    seen = current(env)
    return [_kept(folder, seen) for folder in _folders(env) if seen is not None and folder.name <= seen]


def find(env: Environment, name: str) -> Kept:
    """The version of that name, or the only one whose name begins so.

    Raises:
        NoSuchVersion: it is not there.

    """
    there = kept(env)
    found = [version for version in there if version.name.startswith(name)] if name else []
    exact = [version for version in found if version.name == name]
    if len(exact or found) != 1:
        names = ", ".join(version.name for version in reversed(there)) or "none"
        what = "is not kept: it was removed, or never was" if not found else f"may be any of {len(found)}"
        moved = next((v.name for v in there if v.record and v.record.cause.by == MIGRATION), None)
        if not found and moved is not None and name < moved:
            what = f"is not kept here: what was published before {moved} stayed where that was migrated from"
        raise NoSuchVersion(f"Version {name!r} {what}. Kept are (newest first): {names}")
    return (exact or found)[0]


def last_good(env: Environment, relation: str) -> tuple[str, datetime] | None:
    """The version in which what readers now see of the relation was made, and when it was published; None if they see none."""
    name = current(env)
    record = named(env, name) if name else None
    if record is None or relation not in record.relations:
        return None
    since = record.relations[relation].since
    made = named(env, since)
    return since, made.published_at if made else moment_of(since)


def next_name(env: Environment, before: str | None = None) -> str:
    """The name of a new version, after that of the one `before` it, if that is known, even if the clock was put back."""
    now, before = datetime.now(UTC), current(env) if before is None else before
    after = moment_of(before) + timedelta(microseconds=1) if before else now
    return max(now, after).strftime(_NAME)


def moment_of(name: str) -> datetime:
    """When the candidate of the version was opened."""
    return datetime.strptime(name, _NAME).replace(tzinfo=UTC)


def named(env: Environment, name: str) -> Version | None:
    """What is written down of the version of exactly that name; None if nothing is, or there is no such version."""
    if env.cloud is None:
        return recorded(env.versions / name)
    from caudal.warehouse.bigquery import versions as in_bigquery

    found: Any = in_bigquery.named(env, name)
    return found


def recorded(folder: Path) -> Version | None:
    """What is written down of the version in `folder`; None if nothing is, or there is no such version."""
    try:
        return read(json.loads((folder / RECORD).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def written(version: Version) -> dict[str, Any]:
    """A version's record as JSON, which `read` reads."""
    return asdict(version) | {"published_at": version.published_at.isoformat()}


def read(found: Mapping[str, Any]) -> Version:
    """A version of its record."""
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


def remove_before(env: Environment, name: str) -> list[str]:
    """Remove every version before that of this name, however new, and whoever is about to open it; their names.

    For what must not be read any more. Whoever has one open goes on reading it until he closes it.
    """
    if env.cloud is not None:
        from caudal.warehouse.bigquery import versions as in_bigquery

        return in_bigquery.remove_before(env, name)
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        gone = [folder for folder in _folders(env) if folder.name < name]
        for folder in gone:
            shutil.rmtree(folder)
    return [folder.name for folder in gone]


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
