"""The judge of requests judges: what Google's descriptions do not have is found."""

import pytest

from tests.discovery import method_of, wrong_with_answer, wrong_with_request

JOBS = "/bigquery/v2/projects/acme-data/jobs"


def test_a_request_is_of_the_method_that_it_is_described_as():
    assert method_of("POST", JOBS).id == "bigquery.jobs.insert"
    assert method_of("POST", f"/upload{JOBS}?uploadType=multipart").id == "bigquery.jobs.insert"
    assert method_of("GET", "/storage/v1/b/acme/o/a%2Fb.csv").id == "storage.objects.get"
    assert (
        method_of("POST", "/v1/projects/acme-data:testIamPermissions").id == "cloudresourcemanager.projects.testIamPermissions"
    )
    assert method_of("DELETE", JOBS) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"configuration": {"query": {"query": 1}}}, "configuration.query.query is 1; expected string"),
        ({"configuration": {"load": {"sourceURIs": []}}}, "configuration.load.sourceURIs is not described"),
        ({"configuration": {"query": {"maximumBytesBilled": "much"}}}, "maximumBytesBilled is 'much'; expected string int64"),
        ({"configuration": {"labels": {"a": 1}}}, "configuration.labels.a is 1; expected string"),
        ({"configuration": {"load": {"sourceUris": "gs://a"}}}, "configuration.load.sourceUris is 'gs://a'; expected a list"),
        ({"configuration": {"copy": {"operationType": "MOVE"}}}, "operationType is 'MOVE'; expected one of"),
        ({"configuration": {"dryRun": "true"}}, "configuration.dryRun is 'true'; expected boolean"),
    ],
)
def test_what_is_not_described_is_found(body, said):
    (found,) = wrong_with_request("POST", JOBS, body)
    assert said in found


def test_what_is_described_passes_and_an_unknown_parameter_does_not():
    assert wrong_with_request("POST", JOBS, {"configuration": {"query": {"query": "SELECT 1", "useLegacySql": False}}}) == []
    assert wrong_with_request("GET", f"{JOBS}/a?locaton=EU") == ["bigquery.jobs.get has no parameter locaton"]
    assert wrong_with_answer("GET", f"{JOBS}/a", {"jobReference": {"jobId": "a"}, "state": "DONE"}) == [
        "bigquery.jobs.get.state is not described"
    ]
