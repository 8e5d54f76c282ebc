"""BigQuery: jobs, the datasets of the environment, and the Storage Read API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor.checks import Check, failed, ok, skipped
from caudal.runtime.doctor.cloud import Asking, judged, lacking
from caudal.runtime.doctor.permissions import On, on

#: What cannot be asked of a table; the role that brings the others brings these.
_OF_THE_DATASET = {
    "bigquery.datasets.delete",
    "bigquery.datasets.get",
    "bigquery.datasets.update",
    "bigquery.tables.create",
}


def warehouse_checks(asking: Asking, *, permissions: bool) -> Iterator[Check]:
    """Jobs, datasets and reading, in this order.

    Args:
        asking: whom.
        permissions: whether the server knows of any.

    """
    yield _jobs(asking)
    answer = asking.google.datasets(asking.cloud.project)
    if not answer.good:
        yield failed("datasets", f"cannot be listed: {answer.said}")
        return
    ours = _ours(asking.cloud, answer.body.get("datasets", ()))
    cloud = asking.cloud
    if not ours:
        yield ok("datasets", f"none named {cloud.datasets}* yet; they are made in {cloud.location} when first needed")
    readable = None
    for dataset, where in sorted(ours.items()):
        name = f"dataset {cloud.project}.{dataset}"
        if where.upper() != cloud.location.upper():
            yield failed(
                name,
                f"is in {where}, and CAUDAL_GCP_LOCATION is {cloud.location}; a dataset cannot be moved",
                f"set CAUDAL_GCP_LOCATION={where}, or CAUDAL_GCP_DATASETS to what other datasets' names are to begin with",
            )
            continue
        tables = asking.google.tables(cloud.project, dataset)
        found: Sequence[Mapping[str, Any]] = tables.body.get("tables", ()) if tables.good else ()
        if not tables.good:
            missing = on(On.DATASET)
            yield failed(name, tables.said, *asking.grants(On.DATASET, f"{cloud.project}.{dataset}", missing))
        elif not found:
            yield ok(name, f"in {where}, empty")
        else:
            yield _dataset(asking, name, dataset, where, found[0], permissions=permissions)
            table = found[0]["tableReference"]["tableId"]
            readable = readable or (f"{dataset}.{table}" if found[0].get("type") == "TABLE" else None)
    yield _storage_read(cloud, readable)


def _jobs(asking: Asking) -> Check:
    cloud, name = asking.cloud, "BigQuery jobs"
    answer = asking.google.dry_run(cloud.project, cloud.location)
    if answer.good:
        return ok(name, f"a query is understood in {cloud.location} (dry run, free)")
    if answer.disabled:
        enable = f"gcloud services enable bigquery.googleapis.com --project={cloud.project}"
        return failed(name, "the API bigquery.googleapis.com is not enabled", enable)
    if answer.status == 403:
        missing = [p for p in on(On.PROJECT) if p.name == "bigquery.jobs.create"]
        return failed(name, answer.said, *asking.grants(On.PROJECT, cloud.project, missing))
    return failed(name, answer.said)


def _ours(cloud: GoogleCloud, listed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The datasets of this environment, with their locations; not candidates, which come and go."""
    named = {d["datasetReference"]["datasetId"]: str(d.get("location", "")) for d in listed}
    candidates = cloud.dataset("candidate_")
    return {n: w or cloud.location for n, w in named.items() if n.startswith(cloud.datasets) and not n.startswith(candidates)}


def _dataset(asking: Asking, name: str, dataset: str, where: str, table: Mapping[str, Any], *, permissions: bool) -> Check:
    if not permissions:
        return ok(name, f"in {where}")
    needed = [p for p in on(On.DATASET) if p.name not in _OF_THE_DATASET]
    tested = asking.google.table_permissions(
        asking.cloud.project, dataset, table["tableReference"]["tableId"], [p.name for p in needed]
    )
    if not tested.good:
        return skipped(name, f"in {where}; what may be done in it cannot be seen: {tested.said}")
    to_do = asking.grants(On.DATASET, f"{asking.cloud.project}.{dataset}", lacking(tested, needed))
    return judged(name, tested, needed, to_do)


def _storage_read(cloud: GoogleCloud, table: str | None) -> Check:
    """Whether a table can be read by the Storage Read API: a session is made, and nothing is read."""
    name = "Storage Read"
    if table is None:
        return skipped(name, "there is no table yet to try it on")
    from caudal.warehouse.bigquery.explained import BigQueryError
    from caudal.warehouse.bigquery.reading import TableReader
    from caudal.warehouse.bigquery.service import BigQuery

    reader = TableReader(BigQuery(cloud))
    try:
        reader.begin(f"{cloud.project}.{table}", [], streams=1)
    except BigQueryError as refused:
        enable = f"gcloud services enable bigquerystorage.googleapis.com --project={cloud.project}"
        return failed(name, f"{table}: {refused}", enable, "and roles/bigquery.user on the project")
    finally:
        reader.close()
    return ok(name, f"{table} can be read")
