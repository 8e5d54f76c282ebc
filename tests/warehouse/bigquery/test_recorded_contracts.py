"""What is sent to BigQuery, held against Google's own description of its interface: no field, type or value that it lacks.

The server here says yes to everything; `tests/services/test_verify.py` holds a whole day's requests against the same description.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.cloud import bigquery

from caudal.contracts.layout import Layout
from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.tables import Tables
from caudal.warehouse.bigquery.versions import make_dataset
from tests.documented import Documented, documented, error

PROJECT = "/bigquery/v2/projects/acme-data"


def done(body: Any) -> dict[str, Any]:
    """The job that was asked for, as one that has ended well."""
    reference = {"projectId": "acme-data", "location": "EU", "jobId": "j"} | body.get("jobReference", {})
    kind = next(k for k in ("query", "load", "copy", "extract") if k in body["configuration"])
    statistics = (
        {"query": {"statementType": "SELECT", "totalBytesProcessed": "7", "totalBytesBilled": "0"}} if kind == "query" else {}
    )
    statistics |= {"totalBytesProcessed": "7", "startTime": "1", "endTime": "2", "creationTime": "0"}
    answered = {
        "kind": "bigquery#job",
        "jobReference": reference,
        "configuration": {**body["configuration"], "jobType": kind.upper()},
        "status": {"state": "DONE"},
        "statistics": statistics,
    }
    if kind == "query":
        answered["configuration"]["query"].setdefault(
            "destinationTable", {"projectId": "acme-data", "datasetId": "_a", "tableId": "b"}
        )
    return answered


@pytest.fixture
def server() -> Iterator[Documented]:
    empty = {"jobComplete": True, "schema": {"fields": [{"name": "n", "type": "INTEGER"}]}, "totalRows": "0"}
    reference = {"jobReference": {"projectId": "acme-data", "jobId": "j", "location": "EU"}}
    answers = {
        f"POST {PROJECT}/jobs": done,
        f"GET {PROJECT}/queries": empty | reference,
        f"POST {PROJECT}/queries": empty | reference,
        f"POST {PROJECT}/datasets": lambda body: body | {"location": "EU"},
        f"POST {PROJECT}/datasets/shop_raw/tables": lambda body: body,
    }
    with documented(answers) as known:
        yield known


@pytest.fixture
def service(server: Documented) -> BigQuery:
    cloud = GoogleCloud("acme-data", "EU", "acme-lake", "shop_", bigquery_url=server.url)
    return BigQuery(cloud, {"asset": "raw/pos/transactions", "run": "R-1", "owner": "team:sales@example.com"})


def sent(server: Documented, beginning: str) -> list[Any]:
    return [body for request, body in server.asked if request.startswith(beginning)]


def test_a_load_job_of_parts_into_a_laid_out_table(service: BigQuery, server: Documented):
    service.load(
        ["gs://acme-lake/a.parquet", "gs://acme-lake/b.parquet"],
        "acme-data.shop_raw.pos__transactions",
        job_id="caudal-load-1",
        schema=[bigquery.SchemaField("day", "DATE"), bigquery.SchemaField("amount", "NUMERIC", precision=10, scale=2)],
        time_partitioning=bigquery.TimePartitioning(field="day"),
        clustering_fields=["item"],
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    (job,) = sent(server, f"POST {PROJECT}/jobs")
    load = job["configuration"]["load"]
    assert job["jobReference"] == {"jobId": "caudal-load-1", "projectId": "acme-data", "location": "EU"}
    assert (load["writeDisposition"], load["sourceFormat"]) == ("WRITE_APPEND", "PARQUET")
    assert load["timePartitioning"] == {"type": "DAY", "field": "day"}
    assert job["configuration"]["labels"]["asset"] == "raw_pos_transactions"
    assert server.misfits == []


def test_a_query_with_parameters_limit_labels_and_a_destination(service: BigQuery, server: Documented):
    list(service.query(
        "SELECT n FROM t WHERE name IN UNNEST(@names)",
        [bigquery.ArrayQueryParameter("names", "STRING", ["a"]), bigquery.ScalarQueryParameter("day", "DATE", "2024-03-01")],
        job_id="caudal-query-1", labels={"owner": "Ann"}, maximum_bytes=10**9, into="acme-data.shop_marts.daily",
    ))  # fmt: skip
    job = sent(server, f"POST {PROJECT}/jobs")[0]
    assert job["configuration"]["query"]["maximumBytesBilled"] == "1000000000"
    assert job["configuration"]["labels"]["owner"] == "ann"
    assert server.misfits == []


def test_a_query_is_one_job_whose_rows_are_asked_for_once(service: BigQuery, server: Documented):
    service.query("SELECT n FROM t", job_id="caudal-query-2")
    assert len(server.asked) == 2, [request for request, _ in server.asked]


def test_a_dry_run_asks_for_nothing_to_be_done(service: BigQuery, server: Documented):
    assert service.estimate("SELECT 1") == 7
    job = sent(server, f"POST {PROJECT}/jobs")[0]
    assert job["configuration"]["dryRun"] is True
    assert server.misfits == []


def test_datasets_and_tables_are_made_as_described(service: BigQuery, server: Documented):
    make_dataset(service, "shop_candidate_17", timedelta(hours=24))
    layout = Layout("day", "month", ("item", "shop"), require_partition_filter=True)
    fields = [bigquery.SchemaField("day", "DATE", "REQUIRED", description="The day"), bigquery.SchemaField("item", "STRING")]
    Tables(service).create("acme-data.shop_raw.pos__transactions", fields, layout)
    dataset = sent(server, f"POST {PROJECT}/datasets")[0]
    assert (dataset["location"], dataset["defaultTableExpirationMs"]) == ("EU", "86400000")
    table = sent(server, f"POST {PROJECT}/datasets/shop_raw/tables")[0]
    assert table["clustering"] == {"fields": ["item", "shop"]}
    assert table["timePartitioning"]["type"] == "MONTH"
    assert True in {table.get("requirePartitionFilter"), table["timePartitioning"].get("requirePartitionFilter")}
    assert server.misfits == []


def test_a_refusal_in_the_documented_form_is_told_with_what_to_do(service: BigQuery, server: Documented):
    denied = "Access Denied: Project acme-data: User does not have bigquery.jobs.create permission in project acme-data."
    server.answers[f"POST {PROJECT}/jobs"] = (403, error(403, "accessDenied", denied))
    with pytest.raises(BigQueryRefused, match=r"the account lacks bigquery.jobs.create.*`caudal doctor`"):
        service.query("SELECT 1")


def test_a_policy_tag_is_made_used_and_removed_as_described(server: Documented, monkeypatch: pytest.MonkeyPatch):
    from caudal.runtime.verify import limits
    from caudal.runtime.verify.steps import NotAllowed

    cloud = GoogleCloud("acme-data", "EU", "acme-lake", "shop_", bigquery_url=server.url)
    place = "/v1/projects/acme-data/locations/eu/taxonomies"
    server.answers |= {
        f"POST {place}": {"name": f"{place[4:]}/7"},
        f"POST {place}/7/policyTags": {"name": f"{place[4:]}/7/policyTags/8"},
        f"DELETE {place}/7": {},
        f"POST {PROJECT}/datasets/shop_marts/tables": lambda body: body,
        f"DELETE {PROJECT}/datasets/shop_marts/tables/tagged": {},
    }
    asked = iter([(403, error(403, "accessDenied", "User does not have permission to access policy tag"))])
    server.answers[f"POST {PROJECT}/jobs"] = lambda body: next(asked, None) or done(body)

    class Place:
        service = BigQuery(cloud)

        def ask(self, sql: str) -> list[Any]:
            return list(self.service.query(sql))

    place_ = Place()
    place_.cloud = cloud
    assert "policy tag" in limits._policy_tag(place_, server.url)
    table = sent(server, f"POST {PROJECT}/datasets/shop_marts/tables")[0]
    tags = {field["name"]: field.get("policyTags") for field in table["schema"]["fields"]}
    assert tags == {"n": None, "email": {"names": [f"{place[4:]}/7/policyTags/8"]}}
    assert any(request == f"DELETE {place}/7" for request, _ in server.asked)
    server.answers[f"POST {place}"] = (403, error(403, "forbidden", "Permission 'datacatalog.taxonomies.create' denied"))
    with pytest.raises(NotAllowed, match=r"roles/datacatalog.categoryAdmin"):
        limits._policy_tag(place_, server.url)
