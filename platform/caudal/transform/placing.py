"""Where a build on BigQuery writes and reads: the logical names of a manifest, and the tables that they are in a candidate.

The manifest speaks of `schema.table` whatever the engine. Locally the candidate's file holds all of them by these names. On
BigQuery each name is a table of its own dataset, in the candidate for what is built and published for all others, and the
dbt process is told which; dbt's macros, tests and `ref` then see nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.transform.incremental import Days, days_to_build
from caudal.transform.manifest import Manifest, read_through_views

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud
    from caudal.transform.outcome import BuildResult
    from caudal.warehouse.candidate import Candidate

INCREMENTAL = "incremental"


@dataclass(frozen=True)
class Placement:
    """The tables of one build on BigQuery.

    Attributes:
        tables: `(dataset, table)` of each `schema.table` of the manifest, sources included.
        beside: views that are made besides what is selected, by unique id; they are not reported.
        days: of incremental models, by unique id: what is built of each, and what to write down of its table then. A model
            that is not here, or whose table is not there yet, is built whole.
        labels: of each job: the run, and whatever else is known of all of them.

    """

    cloud: GoogleCloud
    tables: Mapping[str, tuple[str, str]]
    beside: frozenset[str] = frozenset()
    days: Mapping[str, Days] = field(default_factory=dict)
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
    made_of = candidate.made_of() if added_to else {}
    days = days_to_build(BigQuery(cloud, labels), manifest, added_to, tables, made_of) if added_to else {}
    return Placement(cloud, {r: candidate.physical(r) for r in manifest.relations.values()}, beside, days, labels)


def write_down(candidate: Candidate, placement: Placement, result: BuildResult) -> None:
    """Have `candidate` say, when it is published, what each incremental model that was built well was built of."""
    well = {u for u, done in result.results.items() if done.status == "success"}
    built = {result.manifest.nodes[u].relation: each.until for u, each in placement.days.items() if u in well and each.until}
    if built:
        candidate.write_down(built)
