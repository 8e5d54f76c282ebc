"""`caudal doctor` against a server that answers as Google's interfaces are described."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor.checks import Check, State, as_json, healthy, told
from caudal.runtime.doctor.cloud import Asking, credentials_check, impersonation_check
from caudal.runtime.doctor.examining import of_the_account
from caudal.runtime.doctor.google import Endpoints, Google
from caudal.runtime.doctor.permissions import PERMISSIONS, On, on, roles
from caudal.runtime.doctor.storage_checks import fits
from caudal.runtime.doctor.warehouse_checks import _OF_THE_DATASET
from tests.documented import Documented, documented, error

ROOT = Path(__file__).resolve().parents[3]
CLOUD = GoogleCloud("acme-data", "EU", "acme-lake", "shop_")
MEMBER = "serviceAccount:caudal@acme-data.iam.gserviceaccount.com"


def allowed(what: On, *without: str) -> dict[str, Any]:
    return {"permissions": [p.name for p in on(what) if p.name not in without]}


def service(name: str, state: str = "ENABLED") -> dict[str, Any]:
    return {"name": f"projects/1234/services/{name}", "state": state}


def dataset(name: str, location: str) -> dict[str, Any]:
    return {"id": f"acme-data:{name}", "datasetReference": {"projectId": "acme-data", "datasetId": name}, "location": location}


TABLE = {"tableReference": {"projectId": "acme-data", "datasetId": "shop_marts", "tableId": "daily_sales"}, "type": "VIEW"}
BIGQUERY = "/bigquery/v2/projects/acme-data"
ALL_WELL: dict[str, Any] = {
    "GET /v1/projects/acme-data/services:batchGet": {
        "services": [
            service(f"{n}.googleapis.com")
            for n in ("bigquery", "bigquerystorage", "storage", "cloudresourcemanager", "pubsub", "iamcredentials")
        ]
    },
    "POST /v1/projects/acme-data:testIamPermissions": allowed(On.PROJECT),
    "GET /storage/v1/b/acme-lake": {"name": "acme-lake", "location": "EUROPE-WEST4"},
    "GET /storage/v1/b/acme-lake/iam/testPermissions": allowed(On.BUCKET),
    f"POST {BIGQUERY}/queries": {"totalBytesProcessed": "0", "jobComplete": True},
    f"GET {BIGQUERY}/datasets": {
        "datasets": [dataset("shop_marts", "EU"), dataset("other", "US"), dataset("shop_candidate_17", "EU")]
    },
    f"GET {BIGQUERY}/datasets/shop_marts/tables": {"tables": [TABLE], "totalItems": 1},
    f"POST {BIGQUERY}/datasets/shop_marts/tables/daily_sales:testIamPermissions": allowed(On.DATASET),
}


@pytest.fixture
def serve() -> Iterator[Callable[..., Documented]]:
    started = []

    def make(changes: dict[str, Any] | None = None) -> Documented:
        server = documented(ALL_WELL | (changes or {}))
        started.append(server)
        return server.__enter__()

    yield make
    for server in started:
        server.__exit__(None, None, None)


def endpoints(server: Documented) -> Endpoints:
    return Endpoints(*[server.url] * 7)


def examined(server: Documented, cloud: GoogleCloud = CLOUD, **settings: Any) -> dict[str, Check]:
    env = Environment("gcp", "shop", ROOT, Path("/nowhere"), cloud=cloud, **settings)
    asking = Asking(cloud, Google(Credentials("a-token"), endpoints(server)), MEMBER)
    return {check.name: check for check in of_the_account(env, asking)}


def test_where_all_is_as_it_must_be_nothing_fails(serve: Callable[..., Documented]):
    server = serve()
    checks = examined(server)
    assert {c.state for c in checks.values()} == {State.OK, State.SKIPPED}
    assert [c.name for c in checks.values() if c.state is State.SKIPPED] == ["Storage Read"]  # a view is not tried
    assert checks["bucket gs://acme-lake (lake, parts, logs, snapshots)"].found == "in EUROPE-WEST4; datasets are in EU"
    assert checks["dataset acme-data.shop_marts"].state is State.OK
    assert not any("candidate" in name or "other" in name for name in checks)
    assert healthy(list(checks.values()))


def test_every_declared_permission_is_asked_for(serve: Callable[..., Documented]):
    server = serve({"POST /v1/projects/p/subscriptions/s:testIamPermissions": allowed(On.SUBSCRIPTION)})
    examined(server, lake_notifications="projects/p/subscriptions/s")
    asked = re.findall(r"[\w.]+", " ".join(f"{request} {json.dumps(body)}" for request, body in server.asked))
    unasked = {p.name for p in PERMISSIONS if p.name not in asked}
    # The token is asked for itself; of a table nothing can be asked about its dataset, which the same role allows.
    assert unasked == {"iam.serviceAccounts.getAccessToken", *_OF_THE_DATASET}
    assert {p.role for p in PERMISSIONS if p.name in _OF_THE_DATASET} == set(roles(on(On.DATASET)))


def test_what_the_project_does_not_allow_is_named_with_why_and_the_command_that_allows_it(serve: Callable[..., Documented]):
    lacking = "bigquery.readsessions.create"
    server = serve({"POST /v1/projects/acme-data:testIamPermissions": allowed(On.PROJECT, lacking)})
    check = examined(server)["project acme-data"]
    assert check.state is State.FAILED
    assert check.found == f"lacks {lacking} (features, profiles and serving read by the Storage Read API)"
    assert check.to_do == (
        f"gcloud projects add-iam-policy-binding acme-data --member={MEMBER} --role=roles/bigquery.user --condition=None",
    )


def test_a_permission_on_the_bucket_that_is_missing_is_granted_there_and_not_on_the_project(serve: Callable[..., Documented]):
    server = serve({"GET /storage/v1/b/acme-lake/iam/testPermissions": allowed(On.BUCKET, "storage.objects.delete")})
    check = examined(server)["permissions on gs://acme-lake"]
    assert check.state is State.FAILED
    assert check.to_do == (
        f"gcloud storage buckets add-iam-policy-binding gs://acme-lake --member={MEMBER} --role=roles/storage.objectUser",
    )


def test_a_bucket_that_is_missing_is_made_where_the_datasets_are(serve: Callable[..., Documented]):
    server = serve({"GET /storage/v1/b/acme-lake": (404, error(404, "notFound", "The specified bucket does not exist."))})
    check = examined(server)["bucket gs://acme-lake (lake, parts, logs, snapshots)"]
    assert (check.state, check.found) == (State.FAILED, "does not exist")
    (command,) = check.to_do
    assert command.startswith("gcloud storage buckets create gs://acme-lake --project=acme-data --location=EU")


def test_a_bucket_elsewhere_than_the_datasets_is_told(serve: Callable[..., Documented]):
    server = serve({"GET /storage/v1/b/acme-lake": {"name": "acme-lake", "location": "US-CENTRAL1"}})
    check = examined(server)["bucket gs://acme-lake (lake, parts, logs, snapshots)"]
    assert check.state is State.FAILED
    assert "is in US-CENTRAL1, and load jobs into datasets in EU cannot read it" in check.found
    assert "CAUDAL_GCP_LOCATION to us-central1" in check.to_do[0]


@pytest.mark.parametrize(
    ("bucket", "datasets", "expected"),
    [
        ("EU", "EU", True), ("EUROPE-WEST1", "EU", True), ("EUR4", "EU", True), ("EUROPE-WEST2", "EU", False), ("US", "EU", False),
        ("US-EAST1", "US", True), ("NAM4", "US", True), ("EUROPE-WEST1", "europe-west1", True), ("EU", "europe-west1", False),
    ],
)  # fmt: skip
def test_where_a_bucket_may_be(bucket: str, datasets: str, expected: bool):
    assert fits(bucket, datasets) is expected


def test_a_dataset_in_another_location_is_told_with_both_ways_out(serve: Callable[..., Documented]):
    server = serve({f"GET {BIGQUERY}/datasets": {"datasets": [dataset("shop_raw", "US")]}})
    check = examined(server)["dataset acme-data.shop_raw"]
    assert check.state is State.FAILED
    assert check.to_do == (
        "set CAUDAL_GCP_LOCATION=US, or CAUDAL_GCP_DATASETS to what other datasets' names are to begin with",
    )


def test_a_dataset_of_somebody_else_is_granted_by_one_statement(serve: Callable[..., Documented]):
    path = f"POST {BIGQUERY}/datasets/shop_marts/tables/daily_sales:testIamPermissions"
    check = examined(serve({path: {}}))["dataset acme-data.shop_marts"]
    assert check.state is State.FAILED
    (command,) = check.to_do
    assert command == (
        "bq query --project_id=acme-data --location=EU --use_legacy_sql=false "
        f"'GRANT `roles/bigquery.dataOwner` ON SCHEMA `acme-data.shop_marts` TO \"{MEMBER}\"'"
    )


def test_an_api_that_is_off_is_switched_on_by_one_command(serve: Callable[..., Documented]):
    services = [service("bigquery.googleapis.com"), service("storage.googleapis.com", "DISABLED")]
    check = examined(serve({"GET /v1/projects/acme-data/services:batchGet": {"services": services}}))["APIs"]
    assert check.state is State.FAILED
    (command,) = check.to_do
    assert command == (
        "gcloud services enable bigquerystorage.googleapis.com storage.googleapis.com cloudresourcemanager.googleapis.com "
        "--project=acme-data"
    )


def test_who_may_not_see_the_apis_is_not_told_that_they_are_off(serve: Callable[..., Documented]):
    refused = (403, error(403, "forbidden", "Permission denied to get services"))
    check = examined(serve({"GET /v1/projects/acme-data/services:batchGet": refused}))["APIs"]
    assert check.state is State.SKIPPED
    assert "cannot be seen: Permission denied" in check.found


def test_a_clock_that_is_wrong_is_found(serve: Callable[..., Documented]):
    server = serve()
    server.headers["Date"] = format_datetime(datetime.now(UTC) - timedelta(minutes=20), usegmt=True)
    check = examined(server)["clock"]
    assert check.state is State.FAILED
    assert check.to_do == ("timedatectl set-ntp true",)


def test_a_busy_server_is_asked_again(serve: Callable[..., Documented]):
    times = iter([(503, error(503, "backendError", "try later"))] * 2)
    well = ALL_WELL["GET /storage/v1/b/acme-lake"]
    server = serve({"GET /storage/v1/b/acme-lake": lambda _: next(times, (200, well))})
    assert examined(server)["bucket gs://acme-lake (lake, parts, logs, snapshots)"].state is State.OK


def test_a_server_that_does_not_answer_is_no_verdict():
    with documented({}) as gone:
        pass
    checks = examined(gone)
    assert {c.state for c in checks.values()} == {State.SKIPPED}
    assert "does not answer" in checks["BigQuery"].found


def test_credentials_that_expired_say_how_to_get_new_ones(serve: Callable[..., Documented]):
    server = serve(
        {"POST /token": (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})}
    )
    expired = Credentials(None, refresh_token="r3fresh", token_uri=f"{server.url}/token", client_id="i", client_secret="s3cret")
    check, member = credentials_check(Google(expired, endpoints(server)))
    assert (check.state, member) == (State.FAILED, None)
    assert check.to_do[0] == "gcloud auth application-default login"
    assert "s3cret" not in told(check)
    assert "r3fresh" not in told(check)


def test_good_credentials_say_whose_they_are_and_for_how_long(serve: Callable[..., Documented]):
    server = serve(
        {"POST /token": {"access_token": "t0ken", "expires_in": 3600}, "POST /tokeninfo": {"email": "ann@example.com"}}
    )
    own = Credentials(None, refresh_token="r", token_uri=f"{server.url}/token", client_id="i", client_secret="s")
    check, member = credentials_check(Google(own, endpoints(server)))
    assert member == "user:ann@example.com"
    assert check.found.startswith("a person's, of `gcloud auth application-default login`; ann@example.com, this token until ")
    assert "t0ken" not in told(check)


def test_an_account_that_may_not_be_impersonated_is_granted_by_one_command(serve: Callable[..., Documented]):
    account = "caudal@acme-data.iam.gserviceaccount.com"
    path = f"POST /v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    refused = serve({path: (403, error(403, "forbidden", "Permission 'iam.serviceAccounts.getAccessToken' denied"))})
    own = Google(Credentials("a-token"), endpoints(refused))
    check = impersonation_check(own, account, "user:ann@example.com", "acme-data")
    assert check.state is State.FAILED
    (command,) = check.to_do
    assert command == (
        f"gcloud iam service-accounts add-iam-policy-binding {account} --member=user:ann@example.com "
        "--role=roles/iam.serviceAccountTokenCreator"
    )
    given = serve({path: {"accessToken": "t0ken", "expireTime": "2030-01-01T00:00:00Z"}})
    check = impersonation_check(Google(Credentials("a-token"), endpoints(given)), account, "user:a", "p")
    assert check.state is State.OK


def test_the_document_for_machines_holds_the_same(serve: Callable[..., Documented]):
    checks = list(examined(serve({"GET /storage/v1/b/acme-lake": (404, error(404, "notFound", "no"))})).values())
    document = json.loads(json.dumps(as_json(checks)))
    assert document["healthy"] is False
    assert [c["name"] for c in document["checks"] if c["state"] == "failed"] == [
        "bucket gs://acme-lake (lake, parts, logs, snapshots)"
    ]


def test_a_lake_in_another_bucket_is_looked_at_too(serve: Callable[..., Documented]):
    server = serve(
        {
            "GET /storage/v1/b/partners": {"name": "partners", "location": "EU"},
            "GET /storage/v1/b/partners/iam/testPermissions": allowed(On.BUCKET),
        }
    )
    checks = examined(server, lake_elsewhere="gs://partners/{company}")
    assert checks["bucket gs://partners (lake)"].state is State.OK
    assert checks["bucket gs://acme-lake (parts, logs, snapshots)"].state is State.OK


def test_another_server_is_asked_without_an_account(serve: Callable[..., Documented]):
    server = serve()
    asking = Asking(replace(CLOUD, bigquery_url=server.url), Google(AnonymousCredentials(), endpoints(server)))
    assert asking.google.dry_run("acme-data", "EU").good
