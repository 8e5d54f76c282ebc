"""What jobs cost, in the words that Dagster's pages show, and the labels by which the bill tells jobs apart. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from caudal.google_cloud import GoogleCloud, label
from caudal.warehouse.bigquery.jobs import Job

#: The names of figures that pages plot over time, and that a plan reads back as history.
BILLED, PROCESSED, SLOTS, MONEY, JOBS = "bytes billed", "bytes processed", "slot seconds", "estimated USD", "jobs"
#: Through the Storage Read API, which has a price of its own.
READ = "bytes read"
#: What checks, rules and audits of an asset cost besides.
BILLED_BY_CHECKS, MONEY_OF_CHECKS = "bytes billed by checks", "estimated USD of checks"

#: On-demand queries are billed by whole MiB, and at least 10 MiB for each table: https://cloud.google.com/bigquery/pricing
_BILLED_BY = 2**20
_LEAST_BILLED_OF_TABLE = 10 * 2**20

#: Ids of jobs that a page shows; the job's labels find the others.
_SHOWN_JOBS = 20

Figure = int | float | str


@dataclass(frozen=True)
class DryRun:
    """What BigQuery says of a query beforehand.

    Attributes:
        bytes_processed: what it would read. On clustered tables it reads that much at most.
        tables: how many tables it reads.

    """

    bytes_processed: int
    tables: int = 1

    @property
    def bytes_billed(self) -> int:
        """What it would be billed for: see `billed_for`."""
        return billed_for(self.bytes_processed, self.tables)


def billed_for(bytes_processed: int, tables: int = 1) -> int:
    """The bytes billed for a query that reads so much of so many tables; nothing for one that reads nothing."""
    if bytes_processed <= 0:
        return 0
    return max(-(-bytes_processed // _BILLED_BY) * _BILLED_BY, _LEAST_BILLED_OF_TABLE * max(1, tables))


def job_labels(asset: Iterable[str] | str, run_id: str = "", owner: str = "") -> dict[str, str]:
    """The labels of a job: the asset that it is for, the run, who owns the asset; fit for BigQuery.

    The bill's export can be grouped by them. A long key loses its beginning: its end is what tells assets apart.
    """
    key = asset.replace("/", "-") if isinstance(asset, str) else "-".join(asset)
    told = {"asset": key[-63:], "run": run_id, "owner": owner.removeprefix("team:")}
    return {name: label(value) for name, value in told.items() if value}


def usd_of(cloud: GoogleCloud, jobs: Iterable[Job]) -> float:
    """What jobs cost, in US dollars: queries by what they were billed for, reads by what they read."""
    return sum(cloud.usd_of_reading(job.bytes_processed) if job.kind == "read" else cloud.usd(job.bytes_billed) for job in jobs)


def cost_metadata(cloud: GoogleCloud | None, jobs: Iterable[Job]) -> dict[str, Figure]:
    """Metadata of an asset, or of a check's result, about the jobs that made it; nothing where there were none."""
    jobs = list(jobs)
    if cloud is None or not jobs:
        return {}
    billed = sum(job.bytes_billed for job in jobs)
    ids = ", ".join(job.id for job in jobs[:_SHOWN_JOBS])
    more = f", and {len(jobs) - _SHOWN_JOBS} more" if len(jobs) > _SHOWN_JOBS else ""
    read = {READ: sum(job.bytes_processed for job in jobs if job.kind == "read")}
    return {
        **(read if read[READ] else {}),
        BILLED: billed,
        PROCESSED: sum(job.bytes_processed for job in jobs if job.kind != "read"),
        SLOTS: round(sum(job.slot_ms for job in jobs) / 1000, 3),
        MONEY: round(usd_of(cloud, jobs), 6),
        JOBS: f"{ids}{more}",
    }


def checks_metadata(cloud: GoogleCloud | None, jobs: Iterable[Job]) -> dict[str, Figure]:
    """Metadata of an asset about the jobs of its checks; nothing where there were none."""
    jobs = list(jobs)
    if cloud is None or not jobs:
        return {}
    billed = sum(job.bytes_billed for job in jobs)
    return {BILLED_BY_CHECKS: billed, MONEY_OF_CHECKS: round(usd_of(cloud, jobs), 6)}
