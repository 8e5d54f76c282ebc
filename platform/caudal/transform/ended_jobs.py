"""Ending the jobs in BigQuery that a dbt process left running when it died."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud

_LOGGER = logging.getLogger(__name__)


def end_jobs(cloud: GoogleCloud, jobs: Mapping[str, str | None]) -> None:
    """Ask BigQuery to end those of the jobs, by id with their locations, that have not ended; never fails.

    One that nevertheless runs on costs what it costs, and writes only into the candidate of its build, which is given up.
    """
    if not jobs:
        return
    from google.api_core.exceptions import GoogleAPICallError, NotFound

    from caudal.warehouse.bigquery.service import BigQuery

    try:
        client = BigQuery(cloud).client
        for job_id, location in jobs.items():
            try:
                job = client.get_job(job_id, location=location, timeout=10)
                if job.state != "DONE":
                    client.cancel_job(job_id, location=location, timeout=10)
            except NotFound:  # It was not asked for any more.
                continue
    except (GoogleAPICallError, OSError, RuntimeError) as problem:
        _LOGGER.warning("Jobs that dbt left in BigQuery could not be ended (%s): %s", ", ".join(jobs), problem)
