"""Where a build on BigQuery writes and reads: the logical names of a manifest, and the tables that they are in a candidate.

The manifest speaks of `schema.table` whatever the engine. Locally the candidate's file holds all of them by these names. On
BigQuery each name is a table of its own dataset, in the candidate for what is built and published for all others, and the
dbt process is told which; dbt's macros, tests and `ref` then see nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.transform.incremental import Days, built_whole, days_to_build
from caudal.transform.manifest import Manifest, read_through_views
from caudal.transform.nodes import INCREMENTAL
from caudal.transform.tested_days import days_to_test, passing

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud
    from caudal.transform.outcome import BuildResult
    from caudal.warehouse.candidate import Candidate


@dataclass(frozen=True)
class Placement:
    """The tables of one build on BigQuery.

    Attributes:
        tables: `(dataset, table)` of each `schema.table` of the manifest, sources included.
        beside: views that are made besides what is selected, by unique id; they are not reported.
        days: of incremental models, by unique id: what is built of each, and what to write down of its table then. A model
            that is not here, or whose table is not there yet, is built whole.
        whole: of other tables that are built, by unique id: what to write down of each then.
        tested: of tests that look at some days alone, by unique id: these. All others look at whole tables.
        made_of: what was written down of each relation when the build began.
        labels: of each job: the run, and whatever else is known of all of them.

    """

    cloud: GoogleCloud
    tables: Mapping[str, tuple[str, str]]
    beside: frozenset[str] = frozenset()
    days: Mapping[str, Days] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    tested: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made_of: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def views_read(manifest: Manifest, selected: Collection[str]) -> frozenset[str]:
    """The views that the selected nodes and tests read, by themselves or through views, and that are not selected.

    A view that is published reads what is published. Made again in the candidate, it reads the candidate's tables and the raw
    tables that the candidate pins.
    """
    nodes = manifest.nodes
    read = read_through_views(
        manifest, (p for u in selected for p in (nodes[u].parents if u in nodes else manifest.checks[u].reads))
    )
    return frozenset(u for u in read if u in nodes and nodes[u].is_virtual).difference(selected)


def incremental(manifest: Manifest, selected: Collection[str]) -> tuple[str, ...]:
    """The selected nodes whose tables are added to."""
    return tuple(u for u in manifest.nodes if u in selected and manifest.nodes[u].materialized == INCREMENTAL)


def place(manifest: Manifest, selected: Collection[str], candidate: Candidate, labels: Mapping[str, str]) -> Placement:
    """Have `candidate` make ready what dbt is about to build, and say where everything is.

    Raises:
        ValueError: the candidate is not in BigQuery.

    """
    from caudal.warehouse.bigquery.service import BigQuery

    cloud = candidate.env.cloud
    if cloud is None:
        raise ValueError("The environment is `local`, whose candidate is a file: nothing is placed anywhere else")
    nodes, beside, added_to = manifest.nodes, views_read(manifest, selected), incremental(manifest, selected)
    candidate.prepare(
        [nodes[u].relation for u in nodes if u in selected],
        [nodes[u].relation for u in nodes if u in beside],
        [nodes[u].relation for u in added_to],
    )
    tables = {nodes[u].relation: ".".join((cloud.project, *candidate.physical(nodes[u].relation))) for u in added_to}
    made_of = candidate.made_of()
    days = days_to_build(BigQuery(cloud, labels), manifest, added_to, selected, tables, made_of) if added_to else {}
    whole = built_whole(manifest, selected, made_of)
    placed = {r: candidate.physical(r) for r in manifest.relations.values()}
    return Placement(cloud, placed, beside, days, whole, days_to_test(manifest, selected, days, made_of), made_of, labels)


def write_down(candidate: Candidate, placement: Placement, result: BuildResult) -> None:
    """Have `candidate` say of each table that passed what it was built of, and which tests by the day passed on it."""
    built = {u: each.until for u, each in placement.days.items() if u in result.passed and each.until}
    whole = {result.manifest.nodes[u].relation: told for u, told in placement.whole.items() if u in result.passed and told}
    if built or whole:
        candidate.write_down(whole | passing(result, built, placement.made_of))
