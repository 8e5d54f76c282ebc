"""Views in BigQuery, which its storage cannot read: a query puts their answer into a table that BigQuery drops after a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.explained import BigQueryUnreachable
from caudal.warehouse.bigquery.moment import published_moment

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.needs import Need
    from caudal.warehouse.bigquery.service import BigQuery


def answer_of_view(service: BigQuery, view: str, need: Need, version: str) -> str:
    """`project.dataset.table` of what is needed of the view `project.dataset.view`. It costs what the query reads.

    A view has no past: it is asked as things stand, and what it says counts only if `version` is still the published one.

    Raises:
        BigQueryUnreachable: another version has been published meanwhile.

    """
    columns = ", ".join(f"`{name}`" for name in need.columns)
    where = f" WHERE {need.restriction}" if need.restriction else ""
    limit = f" LIMIT {need.limit}" if need.limit is not None else ""
    service.query(f"SELECT {columns} FROM `{view}`{where}{limit}", what=f"read the view {view}")
    now = published_moment(service)
    if now is None or now.version != version:
        raise BigQueryUnreachable(
            f"read the view {view}: version {now.version if now else 'none'} was published while version {version} was read. "
            "A view shows only the newest version; read again",
            "versionChanged",
        )
    return table_of_answer(service)


def table_of_answer(service: BigQuery) -> str:
    """`project.dataset.table` that BigQuery put the answer of the query into that was done last."""
    job: Any = service.client.get_job(service.done[-1].id, location=service.cloud.location)
    made = job.destination
    return f"{made.project}.{made.dataset_id}.{made.table_id}"
