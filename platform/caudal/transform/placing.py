"""Where a build on BigQuery writes and reads: the logical names of a manifest, and the tables that they are in a candidate.

The manifest speaks of `schema.table` whatever the engine. Locally the candidate's file holds all of them by these names. On
BigQuery each name is a table of its own dataset, in the candidate for what is built and published for all others, and the
dbt process is told which; dbt's macros, tests and `ref` then see nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.transform.incremental import days_to_build
from caudal.transform.manifest import Manifest

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
        partitions: of incremental models, by unique id: the partitions to build, as GoogleSQL literals. A model that is not
            here, or whose table is not there yet, is built whole.
        carried: those of these partitions whose rows the model takes from its own table.
        until: of incremental models, by unique id: what to write down of the table when it has been built, see `incremental`.
        labels: of each job: the run, and whatever else is known of all of them.

    """

    cloud: GoogleCloud
    tables: Mapping[str, tuple[str, str]]
    beside: frozenset[str] = frozenset()
    partitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    carried: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def views_read(manifest: Manifest, selected: Collection[str]) -> frozenset[str]:
    """The views that the selected nodes and tests read, by themselves or through views, and that are not selected.

    A view that is published reads what is published. Made again in the candidate, it reads the candidate's tables and the raw
    tables that the candidate pins.
    """
    nodes = manifest.nodes
    pending = [p for u in selected for p in (nodes[u].parents if u in nodes else manifest.checks[u].reads)]
    found: set[str] = set()
    while pending:
        unique_id = pending.pop()
        if unique_id in nodes and nodes[unique_id].is_virtual and unique_id not in found:
            found.add(unique_id)
            pending += nodes[unique_id].parents
    return frozenset(found.difference(selected))


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
    nodes, beside = manifest.nodes, views_read(manifest, selected)
    candidate.prepare(
        [nodes[u].relation for u in nodes if u in selected],
        [nodes[u].relation for u in nodes if u in beside],
        [nodes[u].relation for u in incremental(manifest, selected)],
    )
    added_to = incremental(manifest, selected)
    tables = {nodes[u].relation: ".".join((cloud.project, *candidate.physical(nodes[u].relation))) for u in added_to}
    made_of = candidate.made_of() if added_to else {}
    days = days_to_build(BigQuery(cloud, labels), manifest, added_to, tables, made_of) if added_to else {}
    relations = [*(node.relation for node in nodes.values()), *manifest.sources.values()]
    return Placement(
        cloud,
        {r: candidate.physical(r) for r in relations},
        beside,
        partitions={u: each.partitions for u, each in days.items() if each.partitions is not None},
        carried={u: each.carried for u, each in days.items() if each.carried},
        until={u: each.until for u, each in days.items() if each.until},
        labels=labels,
    )


def write_down(candidate: Candidate, placement: Placement, result: BuildResult) -> None:
    """Have `candidate` say, when it is published, what each incremental model that was built well was built of."""
    built = {u: until for u, until in placement.until.items() if u in result.results and result.results[u].status == "success"}
    if built:
        candidate.write_down({result.manifest.nodes[u].relation: until for u, until in built.items()})
