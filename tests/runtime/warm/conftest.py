"""A real instance, a real code server, and runs that are queued as the UI queues them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from caudal.forking import client
from caudal.runtime.warm.places import Places
from caudal.runtime.warm.queue import WakingQueueDaemon, places_of
from tests.launching import LAUNCH, launch_of

REPOSITORY = Path(__file__).resolve().parents[3]

DEFINITIONS = """
import os, signal, sys, time
from pathlib import Path
import dagster as dg

HERE = Path(__file__).parent

@dg.asset
def loaf(context):
    with (HERE / "baked").open("a") as baked:
        baked.write(context.run_id + "\\n")
    print("the oven is hot")
    return dg.MaterializeResult(metadata={"pid": os.getpid(), "parent": os.getppid()})

@dg.asset
def burnt():
    raise ValueError("left in for too long")

@dg.asset
def slow(context):
    (HERE / "slow").write_text(context.run_id)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.02)

@dg.asset
def deaf(context):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (HERE / "deaf").write_text(context.run_id)
    time.sleep(300)

defs = dg.Definitions(assets=[loaf, burnt, slow, deaf], executor=dg.in_process_executor)
"""


def until(true: Callable[[], object], within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@dataclass
class Bakery:
    """A company's instance and code server, without webserver and daemon."""

    folder: Path
    instance: dg.DagsterInstance
    server: subprocess.Popen[bytes]
    context: WorkspaceProcessContext
    daemon: WakingQueueDaemon = field(default_factory=lambda: WakingQueueDaemon(1))

    def until(self, true: Callable[[], object], within_s: float = 120) -> None:
        until(true, within_s)

    def load_again(self) -> None:
        """Start the code server afresh, as a change of the definitions does."""
        self.server.kill()  # while coverage is measured it waits for its next call before it listens to anything else
        self.server.wait(60)
        self.server = start_server(self.folder, self.folder / "server.sock")
        self.context.refresh_code_location("bakery")

    @property
    def places(self) -> Places:
        return places_of(self.instance)

    def queue(self, *assets: str) -> str:
        """Ask for a run as the UI does; its id."""
        from dagster_graphql.schema import create_schema

        result = asyncio.run(
            create_schema().execute_async(
                LAUNCH,
                variable_values=launch_of(*assets),
                context_value=self.context.create_request_context(),
            )
        )
        assert result.errors is None, result.errors
        return result.data["launchPipelineExecution"]["run"]["runId"]

    def launch(self, *assets: str) -> str:
        """Queue a run and launch what is queued; the run's id."""
        run_id = self.queue(*assets)
        list(self.daemon.run_iteration(self.context))
        return run_id

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def ended(self, run_id: str) -> dg.DagsterRunStatus:
        """The final status, waited for."""
        until(lambda: (run := self.instance.get_run_by_id(run_id)) is not None and run.is_finished, within_s=120)
        return self.status(run_id)

    def begun(self, name: str, run_id: str) -> None:
        until(lambda: (self.folder / name).exists() and (self.folder / name).read_text() == run_id)

    def messages(self, run_id: str) -> str:
        return "\n".join(entry.message or entry.user_message for entry in self.instance.all_logs(run_id))

    def made(self, run_id: str) -> dict[str, Any]:
        """The metadata of what the run materialized."""
        (event,) = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        materialization = event.asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def parents(self) -> list[Path]:
        return sorted(self.places.folder.glob("parent-*.sock"))


def start_server(folder: Path, socket: Path) -> subprocess.Popen[bytes]:
    socket.unlink(missing_ok=True)
    options = (
        "--module-name",
        "bakery",
        "--working-directory",
        str(folder),
        "--location-name",
        "bakery",
        "--socket",
        str(socket),
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster", "api", "grpc", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "DAGSTER_HOME": str(folder / "home")},
        stdout=(folder / "server.log").open("ab"),
        stderr=subprocess.STDOUT,
    )
    until(socket.exists)
    return server


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakery]:
    folder = tmp_path_factory.mktemp("bakery")
    (folder / "bakery.py").write_text(DEFINITIONS)
    (folder / "home").mkdir()
    shutil.copy(REPOSITORY / "deploy" / "local" / "dagster.yaml", folder / "home")
    server = start_server(folder, folder / "server.sock")
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "DAGSTER_HOME")}
    os.environ.update(PYTHONPATH=str(folder), DAGSTER_HOME=str(folder / "home"))
    target = GrpcServerTarget(host="localhost", port=None, socket=str(folder / "server.sock"), location_name="bakery")
    try:
        with (
            dg.DagsterInstance.from_config(str(folder / "home")) as instance,
            WorkspaceProcessContext(instance, target) as context,
        ):
            made = Bakery(folder, instance, server, context)
            yield made
            for run_id in made.places.workers.claimed():
                made.places.workers.send_signal(run_id, signal.SIGKILL)
            for path in made.parents():
                client.retire(path)
            until(lambda: not made.parents())
            server = made.server
    finally:
        server.kill()
        server.wait(60)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
