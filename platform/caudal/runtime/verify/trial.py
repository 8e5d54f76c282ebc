"""One run of all steps on a project, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import typer

from caudal.environment import checkout
from caudal.google_cloud import GoogleCloud
from caudal.runtime.verify import ground, limits, loading, publishing
from caudal.runtime.verify.steps import Outcome, Result, Step, run
from caudal.warehouse.bigquery.service import BigQuery

STEPS: tuple[Step, ...] = tuple(chain(loading.STEPS, limits.STEPS, publishing.STEPS))


def verified(cloud: GoogleCloud, *, own_bucket: bool, quiet: bool = True) -> Iterator[Result]:
    """Every step on the project, after what killed runs have left there is removed."""
    for gone in ground.leftovers(BigQuery(replace(cloud, bucket="") if own_bucket else cloud)):
        if not quiet:
            typer.echo(f"left by a run that was killed, removed: {gone}")
    with ground.prepared(cloud, checkout(), own_bucket=own_bucket) as place:
        yield from run(STEPS, place)


def told(result: Result) -> str:
    """The result for a person."""
    if result.outcome is Outcome.NOT_ANSWERED:
        return f"{result.outcome}: {result.name} ({result.proves}): {result.found}"
    measured = f"{result.seconds:.1f} s, {result.jobs} jobs, {result.bytes_billed:,} bytes billed"
    return f"{result.outcome}: {result.name} ({result.proves}): {result.found}. {measured}"


def summed(results: list[Result]) -> str:
    """The last line of all."""
    counts = {outcome: sum(r.outcome is outcome for r in results) for outcome in Outcome}
    parts = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    billed = sum(r.bytes_billed for r in results)
    return f"{parts}; {sum(r.seconds for r in results):.0f} s, {billed:,} bytes billed to the steps themselves"
