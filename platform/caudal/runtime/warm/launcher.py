"""A run launcher that forks each run from a process which has imported its code location.

One such parent for each load of a code location, known by the id of its code server: definitions that are loaded again get a
new parent, and the old one ends after its last run. The parent is a process of its own, of neither daemon nor code server:
those may end and start again while runs go on. Where no parent can be had, the run goes to Dagster's own launcher, with a
warning in its log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from caudal.forking import client
from caudal.runtime.log_files import appended
from caudal.runtime.warm.places import Places
from caudal.runtime.warm.queue import places_of
from caudal.runtime.warm.workers import By
from caudal.store import exclusive_lock

if TYPE_CHECKING:
    from dagster._core.origin import RepositoryPythonOrigin
    from dagster._core.remote_representation.code_location import CodeLocation

_LOGGER = logging.getLogger("dagster.caudal.warm")
#: How long a parent may take to import a code location.
START_TIMEOUT_S = 120.0
#: A parent that could not be started is not tried again for so long.
RETRY_AFTER_S = 60.0
#: A run that was asked to end and goes on is killed after so long, before Dagster calls it canceled (30 s).
GRACE_S = 20.0


class WarmRunLauncher(RunLauncher, ConfigurableClass):
    """Launches runs as forks.

    Args:
        enabled: without it every run goes to Dagster's own launcher.
        idle_exit_s: a parent ends after so many seconds without a run.
    """

    def __init__(
        self, *, enabled: bool = True, idle_exit_s: float = 1800.0, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._inst_data = inst_data
        self._enabled = enabled
        self._idle_exit_s = idle_exit_s
        self._stock = DefaultRunLauncher()
        self._failed: dict[Path, float] = {}
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {
            "enabled": dg.Field(bool, is_required=False, default_value=True),
            "idle_exit_s": dg.Field(dg.Noneable(float), is_required=False, default_value=1800.0),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        super().register_instance(instance)
        self._stock.register_instance(instance)

    @property
    def places(self) -> Places:
        return places_of(self._instance)

    # Launching

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork a worker for the run, or hand it to Dagster's own launcher."""
        run = context.dagster_run
        try:
            if self._enabled and context.workspace is not None and run.job_code_origin is not None:
                pid = self._fork(context)
                self._instance.report_engine_event(
                    f"Forked a worker for the run (pid: {pid}).", run, EngineEventData.in_process(pid), cls=type(self)
                )
                return
        except (client.ForkingFailed, OSError) as problem:
            claim = self.places.workers.look(run.run_id)
            if claim is not None and claim.by is By.WARM:
                return  # the answer was lost, and the worker is there
            _LOGGER.warning("No worker could be forked for run %s: %s", run.run_id, problem)
            self._instance.report_engine_event(
                f"No worker could be forked ({problem}). The run is started as Dagster starts runs, which takes longer.",
                run,
                cls=type(self),
            )
        self._launch_stock(context)

    def _launch_stock(self, context: LaunchRunContext) -> None:
        run_id = context.dagster_run.run_id
        workers = self.places.workers
        if not workers.claim(run_id, By.STOCK) and workers.is_alive(run_id):
            return
        try:
            self._stock.launch_run(context)
        except Exception:
            workers.forget(run_id)
            raise

    def _fork(self, context: LaunchRunContext) -> int:
        run = context.dagster_run
        origin = run.job_code_origin
        assert origin is not None
        assert run.remote_job_origin is not None
        assert context.workspace is not None
        location = run.remote_job_origin.location_name
        server_id = getattr(context.workspace.get_code_location(location), "server_id", "")
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(open(os.devnull, "rb"))
            log = stack.enter_context(self._log(location))
            worker = client.fork(
                "caudal.runtime.warm.worker:run",
                {
                    "run_id": run.run_id,
                    "instance_ref": serialize_value(self._instance.get_ref()),
                    "home": str(self.places.home),
                },
                stdin=null.fileno(),
                stdout=log,
                stderr=log,
                name=f"run {run.run_id[:8]}",
                server=self.parent(location, server_id, origin.repository_origin),
            )
        worker.close()
        return worker.pid

    def prepare(self, location: CodeLocation) -> None:
        """Start the parent of a code location ahead of its first run. What fails is told in the log, and tried by that run."""
        if not self._enabled:
            return
        try:
            (repository,) = location.get_repositories().values()
            origin = repository.get_python_origin()
            self.parent(location.name, getattr(location, "server_id", ""), origin)
        except (client.ForkingFailed, OSError, ValueError) as problem:
            _LOGGER.warning("No parent for the runs of %s: %s", location.name, problem)

    def parent(self, location: str, server_id: str, origin: RepositoryPythonOrigin) -> Path:
        """The socket of the parent of this load of a code location, which is started unless it is there.

        Raises:
            ForkingFailed: it cannot be had.
        """
        path = self.places.parent(location, server_id)
        if client.listens(path):
            return path
        self.places.prepare()
        with exclusive_lock(path.with_suffix(".starting")):  # however many launches race, one starts it
            if client.listens(path):
                return path
            if time.monotonic() < self._failed.get(path, 0.0):
                raise client.ForkingFailed(f"the parent of {location} could not be started a moment ago")
            try:
                self._start(location, path, origin)
            except client.ForkingFailed:
                self._failed[path] = time.monotonic() + RETRY_AFTER_S
                raise
            self._retire_others(location, path)
        return path

    def _start(self, location: str, path: Path, origin: RepositoryPythonOrigin) -> None:
        arguments = {"socket": str(path), "origin": serialize_value(origin), "idle_s": self._idle_exit_s}
        with open(os.devnull, "rb") as null, self._log(location) as log:
            started = self._from_nursery(arguments, null.fileno(), log) or subprocess.Popen(
                [origin.executable_path, "-m", "caudal.runtime.warm.parent", json.dumps(arguments)],
                stdin=null,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not client.listens(path):
            if started.poll() is not None:
                raise client.ForkingFailed(
                    f"the parent of {location} ended with status {started.poll()}; see {self.places.log(location)}"
                )
            if time.monotonic() > deadline:
                started.kill()
                raise client.ForkingFailed(f"the parent of {location} was not ready within {START_TIMEOUT_S:.0f} s")
            time.sleep(0.02)

    def _from_nursery(self, arguments: Mapping[str, Any], null: int, log: int) -> client.Forked | None:
        with contextlib.suppress(client.ForkingFailed):
            return client.fork(
                "caudal.runtime.warm.parent:serve",
                arguments,
                stdin=null,
                stdout=log,
                stderr=log,
                name="caudal parent",
                server=self.places.nursery,
            )
        return None

    def _retire_others(self, location: str, path: Path) -> None:
        note = self.places.folder / f"{location}.parent"
        with contextlib.suppress(OSError):
            before = Path(note.read_text(encoding="utf-8"))
            if before != path:
                client.retire(before)
                before.with_suffix(".starting").unlink(missing_ok=True)
        note.write_text(str(path), encoding="utf-8")

    @contextlib.contextmanager
    def _log(self, location: str) -> Generator[int]:
        path = self.places.log(location)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with appended(path) as opened:
            yield opened.fileno()

    # Ending, and being alive

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run. What does not end within `GRACE_S` seconds is killed."""
        claim = self.places.workers.look(run_id)
        if claim is None or claim.by is not By.WARM:
            return self._stock.terminate(run_id)
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or not claim.alive:
            return False
        self._instance.report_run_canceling(run)
        asked = self.places.workers.send_signal(run_id, signal.SIGINT)
        threading.Thread(target=self._insist, args=(run_id,), name=f"end {run_id[:8]}", daemon=True).start()
        return asked

    def _insist(self, run_id: str) -> None:
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            if not self.places.workers.is_alive(run_id):
                return
            time.sleep(0.2)
        self.places.workers.send_signal(run_id, signal.SIGKILL)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether somebody works on the run."""
        claim = self.places.workers.look(run.run_id)
        if claim is None or claim.by is not By.WARM:
            return self._health_of_stock(run)
        if claim.alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(claim.pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its worker (pid: {claim.pid}) has ended without a word")

    def _health_of_stock(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
        from dagster._serdes import deserialize_value

        server = self._stock._get_grpc_client_for_termination(run.run_id)  # noqa: SLF001 - it reads the run's tag
        if server is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "nobody was given the run")
        try:
            answer = server.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=5)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.FAILED, "its code server has ended, and the run with it")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was started again, and knows nothing of it")

    def dispose(self) -> None:
        """Runs and parents go on."""
        self._stock.dispose()
