"""Ways around the gate and the door, each over the real protocol, and that none of them leads anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from caudal.runtime.access.roles import REPORTS

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.runtime.access.conftest import Stall

PAUSE = "setAutoMaterializePaused(paused: true)"
MUTATION = f"mutation {{ {PAUSE} }}"
REPORT = (
    'reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["forged"]}}) { __typename }'
)
QUERY = "{ version }"
FRAGMENTS = {
    "plain": (f"mutation {{ {REPORT} }}", {}),
    "alias": (f"mutation {{ version: {REPORT} }}", {}),
    "several aliases": (f"mutation {{ a: {REPORT} b: {REPORT} }}", {}),
    "fragment": (f"mutation {{ ...F }} fragment F on Mutation {{ {REPORT} }}", {}),
    "inline fragment": (f"mutation {{ ... on Mutation {{ ... {{ {REPORT} }} }} }}", {}),
    "second operation": (f"query Q {{ version }} mutation M {{ {REPORT} }}", {"operationName": "M"}),
    "directive": (f"mutation {{ {REPORT.removesuffix(' { __typename }')} @include(if: true) {{ __typename }} }}", {}),
    "hidden by a comment": (f"# query\nmutation # {{ version }}\n{{ {REPORT} }}", {}),
}


def changed(stall: Stall) -> bool:
    return stall.instance.has_asset_key(dg.AssetKey("forged"))


@pytest.mark.parametrize("way", FRAGMENTS)
def test_however_a_mutation_is_written_a_viewer_is_refused(stall: Stall, ask: Callable[..., Any], way: str) -> None:
    query, more = FRAGMENTS[way]
    answer = ask(stall.client("viewer"), query, **more)
    assert answer.status_code == 403, answer.text
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {"FORBIDDEN"}
    assert "errorInfo" not in answer.text, "a refusal shows no stack trace"
    assert not changed(stall)
    assert {line["outcome"] for line in stall.audit} == {"refused"}


def test_an_operation_that_is_not_named_is_not_executed_and_the_named_query_is(stall: Stall, ask: Callable[..., Any]) -> None:
    query = f"query Q {{ version }} mutation M {{ {REPORT} }}"
    assert ask(stall.client("viewer"), query, operationName="Q").status_code == 200
    assert ask(stall.client("editor"), query).status_code == 400
    assert not changed(stall)
    assert stall.audit == []


def test_of_two_mutations_in_one_request_only_the_allowed_one_happens(stall: Stall, ask: Callable[..., Any]) -> None:
    answer = ask(stall.client("editor"), 'mutation { setNuxSeen wipe: deleteRun(runId: "x") { __typename } }')
    assert answer.status_code == 403
    assert [(line["what"], line["outcome"]) for line in stall.audit] == [
        ("setNuxSeen", "asked"),
        ("setNuxSeen", "succeeded"),
        ("deleteRun", "refused"),
    ]


def _get(client: TestClient) -> Any:
    return client.get("/graphql", params={"query": MUTATION})


def _post_in_the_address(client: TestClient) -> Any:
    return client.post("/graphql", params={"query": MUTATION})


def _form(client: TestClient) -> Any:
    return client.post("/graphql", params={"query": MUTATION}, data={"a": "b"})


def _multipart(client: TestClient) -> Any:
    operations = {"operations": (None, json.dumps({"query": MUTATION})), "map": (None, "{}")}
    return client.post("/graphql", params={"query": MUTATION}, files=operations)


def _json_in_disguise(client: TestClient) -> Any:
    """A content type that browsers send without asking, and that Dagster reads as JSON."""
    body = json.dumps({"query": MUTATION})
    return client.post("/graphql", content=body, headers={"content-type": "text/plain; application/json"})


@pytest.mark.parametrize("way", [_get, _post_in_the_address, _form, _multipart, _json_in_disguise])
@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_what_a_page_of_another_site_could_send_changes_nothing_whoever_is_signed_in(
    stall: Stall, way: Callable[[TestClient], Any], role: str
) -> None:
    before = stall.snapshot()
    answer = way(stall.client(role))
    assert answer.status_code == 403, answer.text
    assert answer.json()["errors"][0]["extensions"]["code"] == ("FORBIDDEN" if role == "viewer" else "NOT_A_POST")
    assert stall.snapshot() == before


@pytest.mark.parametrize(
    "body",
    [
        [{"query": MUTATION}],
        [{"query": MUTATION}, {"query": QUERY}],
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        {"query": [MUTATION]},
        {"query": {"query": MUTATION}},
        MUTATION,
    ],
)
def test_batches_and_persisted_queries_are_no_operations(stall: Stall, body: Any) -> None:
    before = stall.snapshot()
    answer = stall.client("admin").post("/graphql", json=body)
    assert answer.status_code == 400
    assert "Expected one operation" in answer.text
    assert stall.snapshot() == before


def test_a_query_over_get_is_answered(stall: Stall) -> None:
    assert stall.client("viewer").get("/graphql", params={"query": QUERY}).json()["data"].keys() == {"version"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/fruit", "/runs", "/"])
def test_no_other_method_is_possible(stall: Stall, method: str, path: str) -> None:
    assert stall.client("admin").request(method, path).status_code == 405


def test_a_post_is_possible_only_where_the_tables_name_it(stall: Stall) -> None:
    for path in ("/", "/runs", "/metrics", "/logs/x", "/graphql/", "/report_asset_materialisation/fruit", "/server_info"):
        assert stall.client("admin").post(path).status_code == 405, path


def test_no_route_takes_a_post_that_the_tables_do_not_name(stall: Stall) -> None:
    """A new Dagster may bring one; then it belongs into `REPORTS`, and behind the gate."""
    posts = set()
    for route in stall.app().routes:
        assert isinstance(route, Route | Mount | WebSocketRoute), f"the gate knows nothing of {route}"
        if isinstance(route, Route):
            assert (route.methods or set()) <= {"GET", "HEAD", "POST"}, route.path
            posts |= {route.path} if "POST" in (route.methods or ()) else set()
        if isinstance(route, WebSocketRoute):
            assert route.path == "/graphql"
    assert posts == {"/graphql", *(f"/{name}/{{asset_key:path}}" for name in REPORTS)}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("way", ["json", "query", "body key"])
def test_a_viewer_reports_nothing_over_rest_and_an_editor_does(stall: Stall, name: str, way: str) -> None:
    key = f"{name}_{way.replace(' ', '_')}"

    def report(role: str) -> Any:
        client = stall.client(role)
        if way == "query":
            return client.post(f"/{name}/{key}", params={"passed": "true", "check_name": "c"})
        if way == "body key":
            return client.post(f"/{name}/", json={"asset_key": [key], "passed": True, "check_name": "c"})
        return client.post(f"/{name}/{key}", json={"passed": True, "check_name": "c", "metadata": {"password": "hunter2"}})

    before = stall.snapshot()
    refused = report("viewer")
    assert refused.status_code == 403
    assert "needs the role editor" in refused.json()["error"]
    assert stall.snapshot() == before
    assert report("editor").status_code == 200
    assert stall.snapshot() != before
    told = stall.audit
    assert [(line["what"], line["outcome"]) for line in told] == [(name, "refused"), (name, "asked"), (name, "succeeded")]
    assert set(told[0]["target"]) == set(told[1]["target"]) == {f"asset:{key}", "check:c"}
    assert "hunter2" not in json.dumps(told)


# Websockets


def exchange(client: TestClient, message: dict[str, Any], protocol: str = "graphql-ws", **headers: str) -> dict[str, Any]:
    with client.websocket_connect("/graphql", subprotocols=[protocol], headers=headers) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}
        socket.send_json(message)
        return socket.receive_json()


@pytest.mark.parametrize("role", ["viewer", "admin"])
@pytest.mark.parametrize(
    "query",
    [
        f"mutation {{ {REPORT} }}",
        f"mutation {{ ...F }} fragment F on Mutation {{ {REPORT} }}",
        f"subscription S {{ locationStateChangeEvents {{ __typename }} }} mutation M {{ {REPORT} }}",
        f"mutation {{ locationStateChangeEvents {{ __typename }} {REPORT} }}",
    ],
)
def test_a_websocket_carries_no_mutation(stall: Stall, role: str, query: str) -> None:
    answer = exchange(stall.client(role), {"type": "start", "id": "1", "payload": {"query": query, "operation_name": "M"}})
    assert answer["type"] == "error"
    assert answer["payload"]["extensions"]["code"] == ("FORBIDDEN" if role == "viewer" else "NOT_A_POST")
    assert not changed(stall)
    assert [(line["outcome"], line["how"]) for line in stall.audit] == [("refused", "websocket")]


def test_a_mutation_in_the_newer_protocol_of_websockets_is_not_heard(stall: Stall) -> None:
    with stall.client("admin").websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}
        socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": f"mutation {{ {REPORT} }}"}})
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}, "the next answer is that of the next message"
    assert not changed(stall)


def test_a_viewer_follows_the_log_of_a_run_over_a_websocket(stall: Stall) -> None:
    query = 'subscription { pipelineRunLogs(runId: "none") { __typename } }'
    answer = exchange(stall.client("viewer"), {"type": "start", "id": "1", "payload": {"query": query}})
    assert answer["payload"]["data"]["pipelineRunLogs"]["__typename"] == "PipelineRunLogsSubscriptionFailure"


def test_nobody_gets_no_websocket(stall: Stall) -> None:
    with pytest.raises(WebSocketDisconnect), stall.client().websocket_connect("/graphql"):
        pytest.fail("the websocket was accepted")


def test_a_page_of_another_site_gets_no_websocket_with_the_persons_sign_in(stall: Stall) -> None:
    refused = pytest.raises(WebSocketDisconnect)
    headers = {"origin": "https://evil.example"}
    with refused, stall.client("admin").websocket_connect("/graphql", headers=headers):
        pytest.fail("the websocket was accepted")


# Pages


PAGES = (
    "/",
    "/runs",
    "/server_info",
    "/dagit_info",
    "/favicon.png",
    "/metrics",
    "/graphql",
    "/logs/a.err",
    "/download_debug/x",
)


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_no_page_and_is_told_what_to_do(stall: Stall, path: str) -> None:
    answer = stall.client().get(path, headers={"accept": "text/html"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Nobody is signed in. Open this page through your company" in answer.text
    assert "dagster" not in answer.text.lower()


def test_the_health_says_that_it_is_well_and_nothing_else(stall: Stall) -> None:
    answer = stall.client().get("/health")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert stall.client().get("/health/").status_code == 401


def test_somebody_without_a_role_sees_no_page_and_is_told_under_which_name(stall: Stall) -> None:
    client = stall.client(**{"x-forwarded-email": "eve@elsewhere.example"})
    answer = client.get("/runs", headers={"accept": "text/html"})
    assert answer.status_code == 403
    assert "You are signed in as eve@elsewhere.example, who has no role here." in answer.text


def test_a_name_with_markup_is_shown_as_text(stall: Stall) -> None:
    answer = stall.client(**{"x-forwarded-email": "<script>x</script>"}).get("/", headers={"accept": "text/html"})
    assert "<script>" not in answer.text


def test_a_viewer_sees_pages_lineage_runs_and_metadata(stall: Stall, ask: Callable[..., Any]) -> None:
    client = stall.client("viewer")
    assert client.get("/runs").status_code == 200
    assert client.get("/").headers["x-frame-options"] == "SAMEORIGIN"
    query = "{ assetNodes { id dependencyKeys { path } } runsOrError { ... on Runs { count } } version }"
    assert ask(client, query).json()["data"]["assetNodes"]


def test_only_an_admin_sees_dagsters_configuration(stall: Stall, ask: Callable[..., Any]) -> None:
    shown = {
        role: ask(stall.client(role), "{ instance { info hasInfo } }").json()["data"]["instance"]["hasInfo"]
        for role in ("viewer", "editor", "admin")
    }
    assert shown == {"viewer": False, "editor": False, "admin": True}
    assert ask(stall.client("viewer"), "{ instance { info } }").json()["data"]["instance"]["info"] is None


@pytest.mark.parametrize("up", ["..", "%2e%2e", "..%2f.."])
def test_a_path_of_a_log_leads_to_logs_only(stall: Stall, up: str) -> None:
    (stall.env.root / "secret.txt").write_text("hunter2")
    (stall.env.root / "storage").mkdir(exist_ok=True)
    for path in (f"/logs/{up}/secret.txt", f"/logs/a/{up}/{up}/secret.txt", f"/logs/{stall.env.root}/secret.txt"):
        assert "hunter2" not in stall.client("viewer").get(path).text


@pytest.mark.parametrize(
    ("role", "can"),
    [
        ("viewer", set()),
        ("editor", {"launch_pipeline_execution", "start_schedule", "edit_sensor", "report_runless_asset_events"}),
        ("admin", {"launch_pipeline_execution", "wipe_assets", "delete_pipeline_run", "edit_concurrency_limit"}),
    ],
)
def test_the_ui_is_told_what_may_be_done(stall: Stall, ask: Callable[..., Any], role: str, can: set[str]) -> None:
    query = """{
      permissions { permission value disabledReason }
      workspaceOrError { ... on Workspace { locationEntries { permissions { permission value } } } }
    }"""
    data = ask(stall.client(role), query).json()["data"]
    allowed = {row["permission"] for row in data["permissions"] if row["value"]}
    (location,) = data["workspaceOrError"]["locationEntries"]
    assert can <= allowed
    assert role != "viewer" or allowed == set()
    assert role != "editor" or not allowed & {"wipe_assets", "delete_pipeline_run", "edit_concurrency_limit"}
    assert {row["permission"] for row in location["permissions"] if row["value"]} <= allowed
    assert all(row["disabledReason"] for row in data["permissions"] if not row["value"])


def test_under_a_path_of_a_proxy_everything_is_below_that_path_and_nothing_else_is_open(stall: Stall) -> None:
    from starlette.testclient import TestClient

    from caudal.runtime.access.server import build
    from caudal.runtime.access.settings import AccessSettings
    from tests.runtime.access.conftest import PEOPLE, PROXY, SETTINGS

    app = build(stall.context, stall.env, AccessSettings.model_validate(SETTINGS), "/dagster")
    nobody = TestClient(app, client=(PROXY, 1))
    assert nobody.get("/dagster/health").text == "ok\n"
    assert {nobody.get(path).status_code for path in ("/health", "/dagster/runs", "/", "/dagster/metrics")} == {401}
    viewer = TestClient(app, client=(PROXY, 1), headers={"x-forwarded-email": PEOPLE["viewer"]})
    assert viewer.post("/dagster/graphql", json={"query": QUERY}).status_code == 200
    assert viewer.post("/dagster/graphql", json={"query": MUTATION}).status_code == 403
    assert viewer.post("/dagster/report_asset_materialization/x").status_code == 403
    assert viewer.get("/dagster/runs").status_code == 200
    assert viewer.post("/graphql", json={"query": QUERY}).status_code == 405


def test_a_program_of_this_machine_looks_with_the_local_token_and_changes_nothing(
    stall: Stall, ask: Callable[..., Any]
) -> None:
    from caudal.runtime.access.local_token import FILE_NAME, renew

    old, token = renew(stall.env.dagster_home), renew(stall.env.dagster_home)
    assert (stall.env.dagster_home / FILE_NAME).stat().st_mode & 0o777 == 0o600
    here = stall.client(address="127.0.0.1", authorization=f"Bearer {token}")
    assert ask(here, QUERY).status_code == 200
    assert ask(here, MUTATION).status_code == 403
    assert stall.audit[-1]["who"] == "caudal"
    assert ask(stall.client(address="127.0.0.1", authorization=f"Bearer {old}"), QUERY).status_code == 401
    assert ask(stall.client(address="10.1.0.9", authorization=f"Bearer {token}"), QUERY).status_code == 401
    (stall.env.dagster_home / FILE_NAME).unlink()
    assert ask(stall.client(address="127.0.0.1", authorization="Bearer "), QUERY).status_code == 401


@pytest.mark.parametrize(
    ("mutation", "tag"),
    [("launchRun", " dagster-k8s/config"), ("launchMultipleRuns", ".dagster/image"), ("launchPartitionBackfill", "ecs/cpu")],
)
def test_an_editor_does_not_choose_image_or_account_of_a_run_by_a_tag(
    stall: Stall, ask: Callable[..., Any], mutation: str, tag: str
) -> None:
    tags = [{"key": tag, "value": '{"pod_spec_config": {"service_account_name": "owner"}}'}]
    selector = {"repositoryLocationName": "stall", "repositoryName": "__repository__", "jobName": "sell"}
    run = {"selector": selector, "executionMetadata": {"tags": tags}}
    kind, argument, value = {
        "launchRun": ("ExecutionParams!", "executionParams", run),
        "launchMultipleRuns": ("[ExecutionParams!]!", "executionParamsList", [{"selector": selector}, run]),
        "launchPartitionBackfill": ("LaunchBackfillParams!", "backfillParams", {"tags": tags, "partitionNames": ["north"]}),
    }[mutation]
    before = stall.snapshot()
    answer = ask(
        stall.client("editor"), f"mutation ($x: {kind}) {{ {mutation}({argument}: $x) {{ __typename }} }}", {"x": value}
    )
    assert answer.status_code == 403
    assert "needs the role admin" in answer.text
    assert stall.snapshot() == before


SELL = {"repositoryLocationName": "stall", "repositoryName": "__repository__", "jobName": "sell"}
LAUNCH = "mutation ($x: ExecutionParams!) { launchRun(executionParams: $x) { ... on LaunchRunSuccess { run { runId } } } }"
AGAIN = (
    "mutation ($x: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $x) "
    "{ __typename ... on LaunchRunSuccess { run { runId } } } }"
)


def test_only_an_admin_ignores_a_budget_and_the_run_says_who_it_was(stall: Stall, ask: Callable[..., Any]) -> None:
    tags = [{"key": "caudal/budget", "value": "ignore"}, {"key": "caudal/budget_by", "value": "somebody else"}]
    run = {
        "selector": SELL,
        "runConfigData": {"ops": {"weigh": {"config": {"price": 2}}}},
        "executionMetadata": {"tags": tags},
    }
    before = stall.snapshot()
    refused = ask(stall.client("editor"), LAUNCH, {"x": run})
    assert refused.status_code == 403
    assert "spends whatever its budget says, which needs the role admin" in refused.text
    assert stall.snapshot() == before
    made = ask(stall.client("admin"), LAUNCH, {"x": run}).json()["data"]["launchRun"]["run"]["runId"]
    found = stall.instance.get_run_by_id(made)
    assert found is not None
    assert found.tags["caudal/budget"] == "ignore"
    assert found.tags["caudal/budget_by"] == "ada@stall.example"
    again = {"parentRunId": made, "strategy": "ALL_STEPS"}
    assert ask(stall.client("editor"), AGAIN, {"x": again}).status_code == 403
    assert ask(stall.client("admin"), AGAIN, {"x": again}).status_code == 200
