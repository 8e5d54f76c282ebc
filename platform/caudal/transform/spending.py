"""What a step of dbt may spend in BigQuery, asked before it starts anything, and what it has spent, noted when it is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.transform.estimating import Estimate, estimate, limits
from caudal.transform.manifest import Manifest
from caudal.warehouse.bigquery.budgets import Budget, Verdict
from caudal.warehouse.bigquery.costs import usd_of
from caudal.warehouse.bigquery.spending import Reserved, Spending, Spent

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud
    from caudal.transform.estimating import Asked
    from caudal.transform.outcome import BuildResult
    from caudal.warehouse.bigquery.jobs import Job

#: The group of jobs that serve a whole step: clones, publishing.
SHARED = "caudal"


class OverBudget(RuntimeError):
    """A step would spend more than it may, and has not been started. The message says what of, how much, and what to do."""


@dataclass
class Allowance:
    """One step, allowed or not.

    Attributes:
        reserved: what was set aside for it; None where nothing costs money.
        estimates: of all that it builds and tests; empty if nobody limits that.
        over: nodes that would be billed for more than their own `meta.maximum_bytes`: what they would, and what they may.
        jobs: those of dbt, with the unique id of the node or test that each was for.

    """

    cloud: GoogleCloud | None
    reserved: Reserved | None = None
    estimates: tuple[Estimate, ...] = ()
    over: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    jobs: list[tuple[str, Job]] = field(default_factory=list)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each group that has a budget."""
        return self.reserved.verdicts if self.reserved else ()

    def demand(self) -> None:
        """Go on only if the step may start.

        Raises:
            OverBudget: it may not.

        """
        told = [verdict.sentence() for verdict in self.verdicts if not verdict.may_start]
        told += [
            f"{asset} would be billed for {would:,} bytes, and its meta.maximum_bytes is {may:,}: nothing was started. Have it "
            "read less, or raise that."
            for asset, (would, may) in sorted(self.over.items())
        ]
        if told:
            raise OverBudget("\n".join(told))

    def take(self, built: BuildResult) -> None:
        """Note the jobs of one build. A step may have several; a test that ran twice was paid for twice."""
        self.jobs += [(unique_id, job) for unique_id, done in built.results.items() for job in done.jobs]


def allow(
    env: Environment,
    manifest: Manifest,
    budgets: Mapping[str, Budget],
    what: tuple[Collection[str], Collection[str]],
    run_id: str,
    *,
    also: Collection[str] = (),
    ignored_by: str = "",
    asked: Asked | None = None,
) -> Allowance:
    """Ask whether a step may build these nodes and run these tests, both by unique id, and set aside what that would cost.

    Without a budget for any of their groups nothing is estimated.

    Args:
        also: groups whose budgets are asked about though nothing of them is built.
        ignored_by: who lets it go ahead whatever the limits say.

    Raises:
        caudal.warehouse.bigquery.explained.BigQueryError: BigQuery cannot be asked for estimates.

    """
    if env.cloud is None:
        return Allowance(None)
    nodes, checks = what
    groups = {*also, *(manifest.nodes[u].group for u in nodes)}
    groups |= {manifest.nodes[a].group for u in checks if (a := manifest.checks[u].attached_to) in manifest.nodes}
    if not groups & set(budgets) and all(manifest.nodes[u].maximum_bytes is None for u in nodes):
        return Allowance(env.cloud, Reserved("", run_id, ()))
    if asked is None:
        from caudal.warehouse.bigquery.service import BigQuery
        from caudal.warehouse.bigquery.sizes import Sizes

        asked = Sizes(BigQuery(env.cloud))
    estimates = estimate(asked, manifest, nodes, checks)
    over = {} if ignored_by else limits(manifest, estimates)
    by_group: dict[str, float] = defaultdict(float, dict.fromkeys(groups & set(budgets), 0.0))
    for one in estimates:
        by_group[one.group] += env.cloud.usd(one.all_bytes_billed)
    spending = Spending.of(env)
    reserved = spending.reserve(run_id, by_group, budgets, ignored_by=ignored_by)
    if over and not reserved.refused:
        spending.settle(reserved, ())
    return Allowance(env.cloud, reserved, estimates, over)


def settle_up(env: Environment, manifest: Manifest, allowance: Allowance, others: Collection[Job] = ()) -> None:
    """Note what a step was billed for, in place of what was set aside for it.

    Args:
        others: all jobs of the step that were not dbt's: of rules, which are among the allowance's too, clones and publishing.

    """
    if allowance.cloud is None or allowance.reserved is None:
        return
    spent = [_spent(allowance.cloud, manifest, unique_id, job) for unique_id, job in allowance.jobs]
    known = {one.job_id for one in spent}
    shared = [job for job in others if job.id not in known]
    spent += [Spent(job.id, SHARED, SHARED, job.bytes_billed, usd_of(allowance.cloud, [job])) for job in shared]
    Spending.of(env).settle(allowance.reserved, spent)


def jobs_of_checks(manifest: Manifest, node: str, jobs: Collection[tuple[str, Job]]) -> list[Job]:
    """The jobs of the tests that are about a node."""
    return [job for u, job in jobs if u in manifest.checks and manifest.checks[u].attached_to == node]


def _spent(cloud: GoogleCloud, manifest: Manifest, unique_id: str, job: Job) -> Spent:
    about = manifest.checks[unique_id].attached_to if unique_id in manifest.checks else unique_id
    node = manifest.nodes.get(about)
    group, asset = (node.group, "/".join(node.key)) if node else ("raw", about)
    return Spent(job.id, group, asset, job.bytes_billed, usd_of(cloud, [job]))
