"""Which days of a large model are built anew on BigQuery, and when all of it is.

A model that declares `meta.days.of: raw.<table>` has a day's rows of that raw table's rows of the same day, and of nothing
else that changes from day to day. BigQuery knows when each partition of what loaders write was last modified, be it that rows
were added, replaced or deleted. What a table was built of is written down in the version that it is published in, as the
table's definition: the version of that raw table, and a digest of all else that the model depends on, its code and that of
the models above it, and the versions of the other raw tables. If nothing is written down, or the digest differs, the model is
built whole: it costs more, and is never wrong.

All of that is of what is there now. A table above the model that is not built in the same run may have been built of something
older; then nothing is written down, and the next build is whole. So that this is known, it is written down of every table.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from caudal.transform.manifest import Manifest, read_through_views

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.service import BigQuery

_UNTIL = re.compile(
    r"built of (?P<of>raw\.\w+) as of (?P<at>\d+), all else being (?P<digest>[0-9a-f]{16})(?P<lately>(?:, \d+-\d+ at \d+)*)"
    r"(?:; passing(?: [0-9a-f]{8})+)?"  # see `tested_days`
)
_WHOLE = "built whole, all being {}"
_LATELY = re.compile(r", (\d+)-(\d+) at (\d+)")
_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")
_VERSION = re.compile(r"\bas of (\d+)\b")
#: How exactly BigQuery says when a partition was modified is not documented: what was modified so shortly before a version is
#: looked at again, by when that was.
_SLACK_MS = 60_000


@dataclass(frozen=True)
class Days:
    """What is built of one model.

    Attributes:
        partitions: its days, as GoogleSQL literals; None for all that there is.
        carried: those of them whose rows are in its table as they should be, but for what they say of other days.
        until: what to write down of its table once it is built, "" for nothing.
        has_rows: whether its table has any yet.

    """

    partitions: tuple[str, ...] | None
    until: str
    carried: tuple[str, ...] = ()
    has_rows: bool = False


def days_to_build(
    service: BigQuery,
    manifest: Manifest,
    unique_ids: Collection[str],
    building: Collection[str],
    tables: Mapping[str, str],
    made_of: Mapping[str, str],
) -> dict[str, Days]:
    """What to build of each of these models.

    Args:
        building: all nodes of the same build.
        tables: where each model's table is that is added to, `project.dataset.table`.
        made_of: of each raw table that is read, what says which version of it that is, `... as of <milliseconds> ...`; of each
            of these tables what was written down of it, nothing of one that is not there.

    """
    found: dict[str, Days] = {}
    looked: dict[str, _Loaded] = {}
    behind = nodes_behind(manifest, building, made_of)
    for unique_id in unique_ids:
        node = manifest.nodes[unique_id]
        followed = node.days_of
        read = _VERSION.search(made_of.get(followed or "", ""))
        if followed is None or read is None:
            found[unique_id] = Days(None, "")
            continue
        digest = _digest(manifest, unique_id, made_of, followed)
        loaded = looked[followed] = looked.get(followed) or _look(service, followed)
        until = f"built of {followed} as of {read[1]}, all else being {digest}{loaded.told(int(read[1]))}"
        until = "" if unique_id in behind else until
        before = _UNTIL.fullmatch(made_of.get(node.relation, ""))
        if before is None or (before["of"], before["digest"]) != (followed, digest):
            found[unique_id] = Days(None, until)
            continue
        changed = loaded.changed(before, int(read[1]))
        built = _partitions(service, tables[node.relation])
        partitions, carried = _literals(loaded.modified, built, changed, with_newest=node.with_newest)
        found[unique_id] = Days(partitions, until, carried, has_rows=bool(built))
    return found


def built_whole(manifest: Manifest, building: Collection[str], made_of: Mapping[str, str]) -> dict[str, str]:
    """What to write down of the tables that are built by other means than by the day, by unique id."""
    behind = nodes_behind(manifest, building, made_of)
    return {
        u: "" if u in behind else _WHOLE.format(_digest(manifest, u, made_of))
        for u in building
        if u in manifest.nodes and not manifest.nodes[u].is_virtual and manifest.nodes[u].days_of is None
    }


def nodes_behind(manifest: Manifest, building: Collection[str], made_of: Mapping[str, str]) -> frozenset[str]:
    """Those of `building` that read a table which is not built now, and was built of something else than what is there now."""
    known: dict[str, bool] = {}

    def is_behind(unique_id: str) -> bool:
        if unique_id not in known:
            known[unique_id] = False  # There are no circles.
            known[unique_id] = any(map(is_stale, read_through_views(manifest, manifest.nodes[unique_id].parents)))
        return known[unique_id]

    def is_stale(unique_id: str) -> bool:
        node = manifest.nodes.get(unique_id)
        if node is None:  # What is neither loaded nor built by dbt says nothing of what it was made of.
            relation = manifest.relations.get(unique_id, unique_id)
            return not relation.startswith("raw.") and not made_of.get(relation)
        if node.is_virtual:
            return False
        return is_behind(unique_id) if unique_id in building else not _is_up_to_date(manifest, unique_id, made_of)

    return frozenset(u for u in building if u in manifest.nodes and is_behind(u))


def _is_up_to_date(manifest: Manifest, unique_id: str, made_of: Mapping[str, str]) -> bool:
    """Whether a published table was built of what is there now."""
    node = manifest.nodes[unique_id]
    told, followed = made_of.get(node.relation, ""), node.days_of
    if followed is None:
        return told == _WHOLE.format(_digest(manifest, unique_id, made_of))
    now, noted = _VERSION.search(made_of.get(followed, "")), _UNTIL.fullmatch(told)
    if now is None or noted is None:
        return False
    digest = _digest(manifest, unique_id, made_of, followed)
    return (noted["of"], noted["at"], noted["digest"]) == (followed, now[1], digest)


@dataclass(frozen=True)
class _Loaded:
    """When the partitions of what loaders write were last modified, and the table after that was asked, in milliseconds."""

    modified: Mapping[str, int]
    at: int

    def told(self, version: int) -> str:
        """When partitions were modified shortly before a version, if the table is still that: else it is not known."""
        runs: list[tuple[str, str, int]] = []
        if self.at == version and all(map(_DAY.fullmatch, self.modified)):
            for at, run in itertools.groupby(sorted(self.modified.items()), key=itemgetter(1)):
                days = [day for day, _ in run]
                if at >= version - _SLACK_MS:
                    runs.append((days[0], days[-1], at))
        return "".join(f", {first}-{last} at {at}" for first, last, at in runs)

    def changed(self, before: re.Match[str], version: int) -> set[str]:
        """The partitions that were modified since what is noted, or between that and the version."""
        noted = int(before["at"])
        if noted == version:
            return set()
        runs = [(first, last, int(at)) for first, last, at in _LATELY.findall(before["lately"])] if noted < version else []

        def is_known(day: str, at: int) -> bool:
            return any(first <= day <= last and at == known for first, last, known in runs)

        recently = {day: at for day, at in self.modified.items() if at >= min(noted, version) - _SLACK_MS}
        return {day for day, at in recently.items() if not is_known(day, at)}


def _look(service: BigQuery, followed: str) -> _Loaded:
    from caudal.warehouse.bigquery.explained import explained

    table = service.cloud.table(followed.replace("raw.", "loading.", 1))
    modified = _partitions(service, table)
    with explained(service.cloud, f"look at {table}"):
        return _Loaded(modified, int(service.client.get_table(table, retry=service.busy).to_api_repr()["lastModifiedTime"]))


def _literals(
    modified: Mapping[str, int], built: Mapping[str, int], changed: set[str], *, with_newest: bool
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The days to replace, and those of them that are only carried over."""
    if any(_DAY.fullmatch(each) is None for each in (*modified, *built)):
        return None, ()  # Rows without a day, or partitions that are no days.
    changed = changed | (built.keys() - modified.keys())
    if not changed:  # There is no build of no day.
        return _told({max(modified)} if modified else ()) or None, ()
    newest = max(modified.keys() - changed, default="") if with_newest else ""
    carried = {newest} & built.keys()
    replaced = changed | ({newest} if newest else set())
    return _told(replaced) or None, _told(carried)


def _told(days: Collection[str]) -> tuple[str, ...]:
    return tuple(f"date '{day[:4]}-{day[4:6]}-{day[6:]}'" for day in sorted(days))


def _partitions(service: BigQuery, table: str) -> dict[str, int]:
    """When each partition that has rows was last modified, in milliseconds, by its id."""
    project, dataset, name = table.split(".")
    rows: Any = service.query(
        "SELECT partition_id, UNIX_MILLIS(last_modified_time) "
        f"FROM `{project}.{dataset}.INFORMATION_SCHEMA.PARTITIONS` WHERE table_name = '{name}' AND total_rows > 0",
        what=f"look which partitions of {table} changed",
    )
    return {str(row[0]): int(row[1] or 0) for row in rows}


def _digest(manifest: Manifest, unique_id: str, versions: Mapping[str, str], followed: str | None = None) -> str:
    """Of all that a model is made of, but for the rows of the raw table that it follows day by day, if any."""
    facts, pending = {}, [unique_id]
    while pending:
        name = pending.pop()
        if name in facts:
            continue
        if name in manifest.nodes:
            facts[name] = manifest.nodes[name].code_version
            pending += manifest.nodes[name].parents
        else:
            relation = manifest.relations.get(name, name)
            version = versions.get(relation.removesuffix("__latest"), "")
            facts[name] = _VERSION.sub("", version) if relation == followed else version
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]
