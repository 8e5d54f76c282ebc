"""What the door and the gate take for granted in Dagster's private classes. An upgrade that changes it fails here, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import dagster_webserver.graphql
import dagster_webserver.webserver
import pytest
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext, WorkspaceRequestContext
from dagster_graphql.schema import create_schema
from dagster_webserver.webserver import DagsterWebserver

from caudal.runtime.access.audit import Audit
from caudal.runtime.access.context import RoleRequestContext
from caudal.runtime.access.gate import Gate
from caudal.runtime.access.roles import matrix
from caudal.runtime.access.server import RoleWebserver


def parameters(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_a_request_context_is_made_of_what_we_give_it() -> None:
    assert parameters(WorkspaceRequestContext.__init__) == [
        "instance",
        "current_workspace",
        "process_context",
        "version",
        "source",
        "read_only",
        "read_only_locations",
    ], "RoleProcessContext.create_request_context gives these; give the new ones too"
    assert parameters(WorkspaceProcessContext.create_request_context) == ["source"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("permissions", None),
        ("permissions_for_location", ["location_name"]),
        ("permissions_for_owner", ["owner"]),
        ("show_instance_config", None),
        ("reload_code_location", ["name"]),
        ("reload_workspace", []),
    ],
)
def test_what_we_say_of_permissions_is_what_dagster_asks(name: str, expected: list[str] | None) -> None:
    stock = inspect.getattr_static(BaseWorkspaceRequestContext, name)
    assert isinstance(stock, property) if expected is None else parameters(stock) == expected
    assert name == "permissions_for_owner" or name in vars(RoleRequestContext)


def test_every_request_is_answered_with_a_context_of_the_request() -> None:
    """Nothing in the webserver makes a context without saying for whom, which would be for nobody."""
    text = inspect.getsource(dagster_webserver.webserver) + inspect.getsource(dagster_webserver.graphql)
    assert text.count("create_request_context(") == text.count("create_request_context(conn)") == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("build_graphql_schema", []),
        ("build_middleware", []),
        ("build_routes", []),
        ("graphql_http_endpoint", ["request"]),
        ("handle_graphql_errors", ["errors"]),
        ("_determine_status_code", ["resolver_errors", "captured_errors"]),
        ("execute_graphql_subscription", ["websocket", "operation_id", "query", "variables", "operation_name"]),
        ("report_asset_materialization_endpoint", ["request"]),
        ("report_asset_check_endpoint", ["request"]),
        ("report_asset_observation_endpoint", ["request"]),
    ],
)
def test_what_we_override_is_what_dagster_calls(name: str, expected: list[str]) -> None:
    assert parameters(getattr(DagsterWebserver, name)) == expected, f"RoleWebserver.{name} is not what Dagster calls any more"
    assert parameters(getattr(RoleWebserver, name)) == expected


def test_each_webserver_has_a_schema_of_its_own_so_that_the_gate_stands_before_nobody_elses(tmp_path: Path) -> None:
    one, other = create_schema().graphql_schema, create_schema().graphql_schema
    assert one.mutation_type is not None
    assert other.mutation_type is not None
    before = {name: field.resolve for name, field in other.mutation_type.fields.items()}
    Gate(Audit(tmp_path)).guard(one)
    assert {name: field.resolve for name, field in other.mutation_type.fields.items()} == before
    assert all(field.resolve is not before[name] for name, field in one.mutation_type.fields.items())


def test_the_result_of_a_mutation_says_its_type() -> None:
    from dagster_graphql.schema.errors import GrapheneRunNotFoundError

    from caudal.runtime.access.gate import _outcome

    assert _outcome(GrapheneRunNotFoundError(run_id="x")) == ("failed", {"result": "RunNotFoundError"})


def test_the_page_for_operators_shows_the_roles_as_they_are() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "guide" / "operating.md").read_text()
    shown = page.partition("<!-- roles: begin -->\n")[2].partition("<!-- roles: end -->")[0]
    assert shown == matrix(), "run `python -m caudal.runtime.access matrix` and put its table into docs/guide/operating.md"
