"""A real webserver application on a real instance, with people of each role."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.asset_daemon import get_auto_materialize_paused
from starlette.testclient import TestClient

from caudal.environment import Environment
from caudal.runtime.access.audit import Audit, audit_folder
from caudal.runtime.access.context import RoleProcessContext
from caudal.runtime.access.server import build
from caudal.runtime.access.settings import AccessSettings

PEOPLE = {"viewer": "vera@stall.example", "editor": "edda@stall.example", "admin": "ada@stall.example"}
PROXY = "10.1.0.7"
SETTINGS = {
    "proxy": {"addresses": [f"{PROXY}/32"]},
    "roles": {role: {"people": [name]} for role, name in PEOPLE.items()},
}


@dataclass
class Stall:
    """The webserver, and what it changes."""

    instance: dg.DagsterInstance
    context: RoleProcessContext
    env: Environment
    apps: dict[str, Any]
    audited_before: int = 0

    def app(self, settings: dict[str, Any] | None = SETTINGS) -> Any:
        """The ASGI application under these settings; None is one person at this machine."""
        key = json.dumps(settings)
        if key not in self.apps:
            made = AccessSettings.model_validate(settings) if settings is not None else None
            self.apps[key] = build(self.context, self.env, made)
        return self.apps[key]

    def client(
        self, role: str | None = None, address: str = PROXY, settings: dict[str, Any] = SETTINGS, **headers: str
    ) -> TestClient:
        """A browser behind the proxy: of somebody with the role, or of nobody."""
        if role is not None:
            headers["x-forwarded-email"] = PEOPLE[role]
        return TestClient(self.app(settings), headers=headers, client=(address, 40000), raise_server_exceptions=False)

    def alone(self, host: str = "127.0.0.1:3000", address: str = "127.0.0.1", **headers: str) -> TestClient:
        """A browser at this machine, under single-user mode."""
        return TestClient(
            self.app(None), base_url=f"http://{host}", headers=headers, client=(address, 40000), raise_server_exceptions=False
        )

    @property
    def audit(self) -> list[dict[str, Any]]:
        """What this test did."""
        return list(Audit(audit_folder(self.env.logs)).records())[self.audited_before :]

    def snapshot(self) -> dict[str, Any]:
        """Everything that a mutation of Dagster can change."""
        instance = self.instance
        return {
            "runs": sorted((run.run_id, run.status.value) for run in instance.get_runs()),
            "events": instance.event_log_storage.get_maximum_record_id(),
            "assets": sorted(key.to_user_string() for key in instance.all_asset_keys()),
            "wiped": [instance.has_asset_key(dg.AssetKey("fruit"))],
            "partitions": sorted(instance.get_dynamic_partitions("stands")),
            "instigators": sorted(
                (state.selector_id, state.status.value, str(state.instigator_data)) for state in instance.all_instigator_state()
            ),
            "backfills": sorted((backfill.backfill_id, backfill.status.value) for backfill in instance.get_backfills()),
            "pools": sorted((pool.name, pool.limit) for pool in instance.event_log_storage.get_pool_limits()),
            "paused": get_auto_materialize_paused(instance),
            "locations": sorted(self.context.code_location_names),
        }


@pytest.fixture(scope="session")
def _stall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stall]:
    here = Path(__file__).with_name("stall.py")
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(here)), location_name="stall")
    home = tmp_path_factory.mktemp("dagster")
    with (
        instance_for_test(temp_dir=str(home), overrides={"concurrency": {"pools": {"default_limit": 1}}}) as instance,
        RoleProcessContext(instance, InProcessWorkspaceLoadTarget(origin), version="") as context,
    ):
        yield Stall(instance, context, Environment("local", "stall", home, home / "data"), {})


@pytest.fixture
def stall(_stall: Stall) -> Stall:
    """The webserver; its audit begins with this test."""
    _stall.audited_before = 0
    _stall.audited_before = len(_stall.audit)
    return _stall


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Send a GraphQL operation as JSON."""

    def send(client: TestClient, query: str, variables: dict[str, Any] | None = None, **more: Any) -> Any:
        return client.post("/graphql", json={"query": query, "variables": variables or {}, **more})

    return send
