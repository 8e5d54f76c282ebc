"""What jobs cost is told as numbers, rounded as the bill rounds it, from what BigQuery's answers say of themselves."""

from copy import deepcopy
from dataclasses import replace

import pytest

from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery.account import accounted, current
from caudal.warehouse.bigquery.costs import DryRun, billed_for, checks_metadata, cost_metadata, job_labels
from caudal.warehouse.bigquery.explained import BigQueryRefused, error_of
from caudal.warehouse.bigquery.jobs import Job, told_of
from caudal.warehouse.bigquery.service import BigQuery
from tests.discovery import document, wrong

MIB = 2**20
CLOUD = GoogleCloud("acme-data", "EU", "acme-data", "shop_")

#: What BigQuery answers of a query that is done, as https://cloud.google.com/bigquery/docs/reference/rest/v2/Job has it.
QUERY = {
    "kind": "bigquery#job",
    "jobReference": {"projectId": "acme-data", "jobId": "caudal-daily-1", "location": "EU"},
    "configuration": {
        "jobType": "QUERY",
        "labels": {"asset": "marts_sales_daily", "run": "6f1d", "owner": "sales"},
        "query": {"query": "select 1", "useLegacySql": False, "maximumBytesBilled": "1000000000"},
    },
    "status": {"state": "DONE"},
    "statistics": {
        "creationTime": "1700000000000",
        "startTime": "1700000000100",
        "endTime": "1700000002350",
        "totalBytesProcessed": "123456789",
        "totalSlotMs": "4810",
        "query": {
            "statementType": "CREATE_TABLE_AS_SELECT",
            "totalBytesProcessed": "123456789",
            "totalBytesBilled": "124780544",
            "totalSlotMs": "4810",
            "cacheHit": False,
            "numDmlAffectedRows": "12",
            "referencedTables": [{"projectId": "acme-data", "datasetId": "shop_raw", "tableId": "pos__transactions"}],
        },
    },
}


def test_a_query_tells_what_was_read_billed_and_used_of_slots():
    from google.cloud.bigquery import QueryJob

    nobody = BigQuery(replace(CLOUD, bigquery_url="http://localhost:1")).client
    job = told_of(QueryJob.from_api_repr(deepcopy(QUERY), client=nobody))
    assert job == Job("caudal-daily-1", "query", 123456789, 124780544, 4810, 12, 2.25)


def test_the_answers_of_these_tests_have_the_fields_of_bigquerys_interface():
    assert list(wrong("bigquery.v2", {"$ref": "Job"}, QUERY, "job")) == []
    fields = document("bigquery.v2")["schemas"]
    assert fields["JobStatistics2"]["properties"]["totalBytesBilled"]["format"] == "int64"
    assert fields["JobStatistics"]["properties"]["totalSlotMs"]["format"] == "int64"
    assert fields["JobConfigurationQuery"]["properties"]["maximumBytesBilled"]["format"] == "int64"
    assert "labels" in fields["JobConfiguration"]["properties"]


def test_an_assets_metadata_has_numbers_whose_history_can_be_plotted():
    jobs = [Job("a", "query", 100, 10 * MIB, 1500), Job("b", "query", 300, 2**40, 250), Job("c", "load")]
    assert cost_metadata(CLOUD, jobs) == {
        "bytes billed": 2**40 + 10 * MIB,
        "bytes processed": 400,
        "slot seconds": 1.75,
        "estimated USD": pytest.approx(6.25006, abs=1e-5),
        "jobs": "a, b, c",
    }
    assert checks_metadata(CLOUD, jobs[:1])["bytes billed by checks"] == 10 * MIB


def test_what_was_read_through_the_storage_api_is_told_apart():
    told = cost_metadata(CLOUD, [Job("a", "query", 100, 10 * MIB), Job("session", "read", 4000)])
    assert (told["bytes read"], told["bytes processed"], told["bytes billed"]) == (4000, 100, 10 * MIB)


def test_a_load_is_free_and_says_so():
    told = cost_metadata(CLOUD, [Job("load", "load", rows=7)])
    assert (told["bytes billed"], told["estimated USD"], told["jobs"]) == (0, 0.0, "load")


def test_of_many_jobs_the_first_are_named_and_the_rest_counted():
    told = cost_metadata(CLOUD, [Job(f"j{n}", "query") for n in range(23)])
    assert str(told["jobs"]).endswith("j19, and 3 more")


def test_locally_nothing_is_told_of_money():
    assert cost_metadata(None, [Job("a", "query")]) == {}
    assert cost_metadata(CLOUD, []) == checks_metadata(CLOUD, []) == {}


@pytest.mark.parametrize(
    ("processed", "tables", "billed"),
    [(0, 3, 0), (1, 1, 10 * MIB), (1, 3, 30 * MIB), (10 * MIB + 1, 1, 11 * MIB), (123456789, 1, 118 * MIB)],
)
def test_bytes_are_billed_by_the_mebibyte_and_ten_of_them_a_table_at_least(processed, tables, billed):
    assert billed_for(processed, tables) == DryRun(processed, tables).bytes_billed == billed


def test_labels_fit_bigquery_and_tell_asset_run_and_owner():
    labels = job_labels(("marts", "sales", "Daily"), "6F1D-22", "team:Sales & Co")
    assert labels == {"asset": "marts-sales-daily", "run": "6f1d-22", "owner": "sales___co"}
    long = job_labels(("marts", "x" * 80, "end"), "r")
    assert long["asset"].endswith("x-end")
    assert len(long["asset"]) == 63
    assert "owner" not in long


def test_whoever_asks_within_a_block_works_for_it_and_an_inner_block_for_itself():
    with accounted({"asset": "Outer"}) as outer:
        asked = BigQuery(CLOUD, {"step": "x"})
        with accounted({"asset": "inner"}) as inner:
            assert BigQuery(CLOUD).account is inner
        assert asked.account is outer is current()
        assert asked.labels == {"caudal": "shop", "asset": "outer", "step": "x"}
    assert BigQuery(CLOUD).labels == {"caudal": "shop"}


@pytest.mark.parametrize("status", [400, 500])
def test_a_query_beyond_its_limit_is_refused_in_words_that_say_what_to_do(status):
    from google.api_core.exceptions import from_http_status

    said = "Query exceeded limit for bytes billed: 1000000. 10485760 or higher required."
    answer = from_http_status(status, said, errors=[{"reason": "bytesBilledLimitExceeded", "message": said}])
    error = error_of(CLOUD, "build marts.daily", answer)
    assert isinstance(error, BigQueryRefused), "it will not pass by itself"
    assert error.reason == "bytesBilledLimitExceeded"
    assert "10485760 or higher required" in str(error)
    assert "meta.maximum_bytes" in str(error)
