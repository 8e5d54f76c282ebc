"""Which tests of a model that is built by the day look at those days alone, and not at its whole table, on BigQuery.

A test is by the day if a row that fails it does so for what is on that row's day: see `Check.by_day`. What such a test finds in
a table is what it finds in the days that were built, if it would find nothing in all others. So it is written down of a table,
in the version that publishes it, which tests found nothing in it: for each a mark of the test's code, and of what the other
tables that it reads were made of. A test without that mark looks at the whole table: one that is new or was changed, that found
something, if only to warn, or that was not run when the table was published.

What else such a test reads must be of the same days: other models that are, or views of the raw table itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from caudal.transform.incremental import Days
from caudal.transform.manifest import Manifest, read_through_views
from caudal.transform.nodes import INCREMENTAL

if TYPE_CHECKING:
    from caudal.transform.checks import Check
    from caudal.transform.outcome import BuildResult

_PASSING = re.compile(r"; passing(?P<marks>(?: [0-9a-f]{8})+)$")


def days_to_test(
    manifest: Manifest, selected: Collection[str], days: Mapping[str, Days], made_of: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The days that some of the `selected` tests look at, by unique id; all others look at whole tables.

    Args:
        days: of each model that is built.
        made_of: what was written down of each relation that is published.

    """
    found = {}
    for unique_id in selected:
        check = manifest.checks.get(unique_id)
        if check is None or not check.by_day or check.attached_to not in days or not days[check.attached_to].has_rows:
            continue
        node = manifest.nodes[check.attached_to]
        before = _PASSING.search(made_of.get(node.relation, ""))
        mark = _mark(manifest, check, made_of)
        if node.day_column is None or before is None or mark is None or mark not in before["marks"].split():
            continue
        built = [days[u].partitions for u in read_through_views(manifest, check.reads) if u in days]
        if None not in built:
            found[unique_id] = tuple(sorted({day for partitions in built for day in partitions or ()}))
    return found


def passing(result: BuildResult, built: Mapping[str, str], made_of: Mapping[str, str]) -> dict[str, str]:
    """What to write down of each relation that is published: what it is built of, and which tests found nothing in it.

    Args:
        built: what each model that is published was built of, by unique id.
        made_of: what was written down of all others.

    """
    manifest = result.manifest
    told = {manifest.nodes[u].relation: until for u, until in built.items()}
    marks: dict[str, list[str]] = {relation: [] for relation in told}
    for unique_id, check in manifest.checks.items():
        done = result.results.get(unique_id)
        if not check.by_day or check.attached_to not in built or done is None or (done.status, done.failures) != ("pass", 0):
            continue
        if mark := _mark(manifest, check, {**made_of, **told}):
            marks[manifest.nodes[check.attached_to].relation].append(mark)
    return {r: f"{until}; passing {' '.join(sorted(marks[r]))}" if marks[r] else until for r, until in told.items()}


def _mark(manifest: Manifest, check: Check, made_of: Mapping[str, str]) -> str | None:
    """Of a test and what else it reads, as it is; None if that is not of the days of its model.

    The raw table changes in days that the model is built anew in, and is no part of it.
    """
    followed = manifest.nodes[check.attached_to].days_of
    facts = [check.code]
    for unique_id in sorted(read_through_views(manifest, check.reads)):
        node = manifest.nodes.get(unique_id)
        if unique_id == check.attached_to or (node is None and manifest.sources.get(unique_id) == followed):
            continue
        if node is None or (not node.is_virtual and (node.materialized, node.days_of) != (INCREMENTAL, followed)):
            return None
        state = node.code_version if node.is_virtual else _PASSING.sub("", made_of.get(node.relation, ""))
        if not state:
            return None
        facts.append(f"{unique_id} {state}")
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]
