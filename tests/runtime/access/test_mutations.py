"""Every mutation of the GraphQL schema, tried by nobody and by each role, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from caudal.runtime.access.roles import MUTATIONS, PERMISSIONS, Role

if TYPE_CHECKING:
    from tests.runtime.access.conftest import Stall

SCHEMA = create_schema().graphql_schema
assert SCHEMA.mutation_type is not None
FIELDS = SCHEMA.mutation_type.fields
RUN_ID = "11111111-2222-4333-8444-555555555555"
REPOSITORY = "__repository__"

#: What arguments are called, and something real that they can name: were a mutation let through, it would do something.
VALUES: dict[str, Any] = {
    "runId": RUN_ID,
    "runIds": [RUN_ID],
    "parentRunId": RUN_ID,
    "repositoryLocationName": "stall",
    "locationName": "stall",
    "repositoryName": REPOSITORY,
    "sensorName": "watch",
    "scheduleName": "yearly",
    "jobName": "sell",
    "pipelineName": "sell",
    "partitionsDefName": "stands",
    "partitionKey": "corner",
    "partitionKeys": ["corner"],
    "concurrencyKey": "scales",
    "limit": 3,
    "path": ["fruit"],
    "assetPartitionRanges": [{"assetKey": {"path": ["fruit"]}}],
    "checkName": "fresh",
    "eventType": "ASSET_MATERIALIZATION",
    "strategy": "ALL_STEPS",
    "paused": True,
    "timestamp": 1.0e9,
    "wipeMaterializations": False,
}

#: Whole inputs, of which the schema does not say which of their optional fields belong together.
INPUTS: dict[str, Any] = {
    "ExecutionParams": {
        "selector": {"repositoryLocationName": "stall", "repositoryName": REPOSITORY, "jobName": "sell"},
        "runConfigData": {"ops": {"weigh": {"config": {"price": 2}}}},
        "executionMetadata": {"tags": [{"key": "why", "value": "a test"}]},
    },
    "LaunchBackfillParams": {"assetSelection": [{"path": ["baskets"]}], "partitionNames": ["north"], "title": "of a test"},
    "ReexecutionParams": {"parentRunId": RUN_ID, "strategy": "ALL_STEPS"},
}


#: What passes the gate and then fails, for there is no such backfill, instigator or component, or the location is in this process.
WITHOUT_EFFECT_HERE = {
    "addDynamicPartition",
    "cancelPartitionBackfill",
    "deleteAppManagedComponent",
    "freeConcurrencySlots",
    "freeConcurrencySlotsForRun",
    "logTelemetry",
    "reexecutePartitionBackfill",
    "refreshComponentState",
    "reloadRepositoryLocation",
    "reportAssetCheckEvaluations",  # Dagster takes one of a check and partition, and not a second
    "resumePartitionBackfill",
    "setAppManagedComponent",
    "shutdownRepositoryLocation",
    "stopRunningSchedule",
    "stopSensor",
}


def value_of(kind: Any, name: str) -> Any:
    """A value of the type, real where the name is known."""
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type, name)
    if name in VALUES:
        return VALUES[name]
    if isinstance(kind, GraphQLList):
        return [value_of(kind.of_type, name)]
    if isinstance(kind, GraphQLInputObjectType):
        fields = {key: field.type for key, field in kind.fields.items()}
        needed = {key for key, inner in fields.items() if isinstance(inner, GraphQLNonNull) or key in VALUES}
        return INPUTS.get(kind.name) or {key: value_of(fields[key], key) for key in sorted(needed)}
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    return {"Int": 1, "Float": 1.0, "Boolean": True}.get(kind.name, name)


def operation(name: str) -> tuple[str, dict[str, Any]]:
    """The mutation with variables for each argument that the schema has."""
    arguments = FIELDS[name].args
    variables = {key: value_of(argument.type, key) for key, argument in arguments.items()}
    if {"executionParams", "reexecutionParams"} <= variables.keys():
        variables["executionParams"] = None  # one of the two
    declared = ", ".join(f"${key}: {argument.type}" for key, argument in arguments.items())
    passed = ", ".join(f"{key}: ${key}" for key in arguments)
    kind = FIELDS[name].type
    leaf = getattr(kind, "of_type", kind)
    selection = "" if getattr(leaf, "name", "") == "Boolean" else " { __typename }"
    return (
        f"mutation M{f'({declared})' if declared else ''} {{ {name}{f'({passed})' if passed else ''}{selection} }}",
        variables,
    )


def prepared(stall: Stall) -> None:
    """Something for each mutation to change."""
    instance = stall.instance
    if not stall.context.create_request_context().code_locations:
        stall.context.refresh_workspace()  # a location in this process cannot be reloaded
    if not instance.has_run(RUN_ID):
        job = next(iter(stall.context.create_request_context().code_locations)).get_repository(REPOSITORY).get_full_job("sell")
        instance.add_run(
            dg.DagsterRun(
                "sell", RUN_ID, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=job.get_remote_origin(), run_config={}
            )
        )
    if not instance.has_asset_key(dg.AssetKey("fruit")):
        instance.report_runless_asset_event(dg.AssetMaterialization("fruit"))
    if not instance.has_dynamic_partition("stands", "corner"):
        instance.add_dynamic_partitions("stands", ["corner"])
    if not instance.event_log_storage.get_pool_limits():
        instance.event_log_storage.set_concurrency_slots("scales", 2)


def test_the_table_of_roles_names_every_mutation_of_the_schema_and_no_other() -> None:
    assert set(FIELDS) - set(MUTATIONS) == set(), (
        "Dagster has mutations that nobody has given a role. Until caudal/runtime/access/roles.py names them they are admin's."
    )
    assert set(MUTATIONS) - set(FIELDS) == set(), "These are no mutations of this Dagster; take them out of MUTATIONS."


def test_the_table_of_permissions_names_every_permission_of_dagster_and_no_other() -> None:
    from dagster._core.workspace.permissions import Permissions

    assert {str(permission) for permission in Permissions} == set(PERMISSIONS)


@pytest.mark.parametrize("role", [None, *Role])
def test_every_mutation_is_refused_to_who_may_not_and_changes_nothing(
    stall: Stall, role: Role | None, ask: Callable[..., Any]
) -> None:
    prepared(stall)
    refused = [name for name, needed in MUTATIONS.items() if role is None or not role.covers(needed)]
    before = stall.snapshot()
    client = stall.client(role)
    for name in refused:
        answer = ask(client, *operation(name))
        if role is None:
            assert answer.status_code == 401, (name, answer.text)
            continue
        assert answer.status_code == 403, (name, answer.text)
        (error,) = answer.json()["errors"]
        assert error["extensions"] == {"code": "FORBIDDEN"}, (name, error)
        assert f"needs the role {MUTATIONS[name].value}" in error["message"]
        assert error["path"] == [name]
    assert stall.snapshot() == before
    told = [(line["what"], line["who"], line["role"], line["outcome"]) for line in stall.audit]
    who = stall.client(role).headers.get("x-forwarded-email")
    assert told == ([] if role is None else [(name, who, role.value, "refused") for name in refused])


@pytest.mark.parametrize("role", [Role.EDITOR, Role.ADMIN])
def test_every_mutation_that_a_role_may_do_passes_the_gate(stall: Stall, role: Role, ask: Callable[..., Any]) -> None:
    allowed = [name for name, needed in MUTATIONS.items() if role.covers(needed)]
    client = stall.client(role)
    for name in allowed:
        prepared(stall)
        query, variables = operation(name)
        answer = ask(client, query, variables)
        body = answer.json()
        codes = [error.get("extensions", {}).get("code") for error in body.get("errors", ())]
        assert "FORBIDDEN" not in codes, (name, body)
        assert "Unauthorized" not in answer.text or "AppManaged" in name, (name, body)  # those Dagster refuses to everybody
        assert answer.status_code != 400, f"{name} was not even valid GraphQL: {body}\n{query}\n{variables}"
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in stall.audit:
        lines.setdefault(line["id"], []).append(line)
    told = [[line["outcome"] for line in pair] for pair in lines.values()]
    assert [pair[0]["what"] for pair in lines.values()] == allowed
    assert all(first == "asked" and second in ("succeeded", "failed") for first, second in told), told
    failed = {pair[0]["what"]: pair[1] for pair in lines.values() if pair[1]["outcome"] != "succeeded"}
    assert {name: line for name, line in failed.items() if name not in WITHOUT_EFFECT_HERE} == {}
