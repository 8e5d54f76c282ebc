"""Every run ends in a true state: a run without a worker has failed, and a worker without a run is ended.

And every load of a code location has a parent to fork its runs from, before the first of them is launched.
"""

from __future__ import annotations

import logging
import signal
import threading
import time

import dagster as dg
from dagster._core.launcher.base import WorkerStatus
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import DaemonIterator, MonitoringDaemon

from caudal.runtime.lost_runs import end_lost_run, fail_homeless_runs
from caudal.runtime.warm.launcher import WarmRunLauncher
from caudal.runtime.warm.places import Places
from caudal.runtime.warm.queue import places_of, wake
from caudal.runtime.warm.workers import By

#: How long a worker may tidy up once its run is over.
TIDY_S = 30.0
#: How long a code server may take to say that it executes a run.
GIVEN_S = 20.0
#: Runs that wait for a code location that there is no more are looked for this often, and given as long.
HOMELESS_EVERY_S = 60.0
_STATUS = dg.DagsterRunStatus
_BEGUN = (_STATUS.NOT_STARTED, _STATUS.STARTING, _STATUS.STARTED, _STATUS.CANCELING)


class WorkersDaemon(MonitoringDaemon):
    """Dagster's monitoring of runs, and that of warm workers before it.

    In one thread: a run that is found dead is made a failed one once.
    """

    def __init__(self, interval_seconds: float) -> None:
        super().__init__(interval_seconds)
        self._logger.addFilter(lambda record: record.levelno >= logging.WARNING)  # Dagster tells of every run that it looks at
        self._over_since: dict[str, float] = {}
        self._first = True
        self._prepared: dict[str, str] = {}
        self._homeless_looked_s = 0.0

    def run_iteration(self, workspace_process_context: IWorkspaceProcessContext) -> DaemonIterator:
        """Look at all claims, then as Dagster does at all runs."""
        instance = workspace_process_context.instance
        places = places_of(instance)
        if self._first:
            end_never_begun(instance, places, time.time())
            self._first = False
        self.tend(instance, places)
        yield None
        if time.monotonic() - self._homeless_looked_s > HOMELESS_EVERY_S:
            self._homeless_looked_s = time.monotonic()
            names = workspace_process_context.create_request_context().get_code_location_entries()
            fail_homeless_runs(instance, tuple(names), time.time() - HOMELESS_EVERY_S)
        yield None
        if isinstance(instance.run_launcher, WarmRunLauncher):
            self._prepare(instance.run_launcher, workspace_process_context)
        yield None
        yield from super().run_iteration(workspace_process_context)

    def _prepare(self, launcher: WarmRunLauncher, context: IWorkspaceProcessContext) -> None:
        """Have a parent ready for each load of a code location, before somebody waits for it."""
        for name, entry in context.create_request_context().get_code_location_entries().items():
            server_id = getattr(entry.code_location, "server_id", None)
            if entry.code_location is None or server_id is None or self._prepared.get(name) == server_id:
                continue
            self._prepared[name] = server_id
            threading.Thread(target=launcher.prepare, args=(entry.code_location,), name=f"warm {name}", daemon=True).start()

    def tend(self, instance: dg.DagsterInstance, places: Places) -> None:
        """End runs whose worker has ended, end workers whose run is over, and forget claims of which nothing is left."""
        claimed = list(places.workers.claimed())
        self._over_since = {run_id: since for run_id, since in self._over_since.items() if run_id in claimed}
        for run_id in claimed:
            claim = places.workers.look(run_id)
            if claim is None:
                continue
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                if claim.alive and time.monotonic() - self._over_since.setdefault(run_id, time.monotonic()) < TIDY_S:
                    continue
                if claim.alive:
                    self._logger.warning("Run %s is over and its worker goes on; it is killed", run_id)
                    places.workers.send_signal(run_id, signal.SIGKILL)
                places.workers.forget(run_id)
            elif claim.by is By.STOCK and run.status == _STATUS.STARTING and _is_lost(instance, run):
                end_lost_run(
                    instance, run, "The code server that was given this run does not know it, and nobody has begun it."
                )
                places.workers.forget(run_id)
                wake(places)
            elif claim.by is By.WARM and not claim.alive and run.status in _BEGUN:
                end_lost_run(
                    instance, run, f"The worker of this run (pid: {claim.pid}) has ended without a word: killed, or crashed."
                )
                places.workers.forget(run_id)
                wake(places)


def _is_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run that was given to a code server long enough ago is not executed there."""
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or time.time() - record.update_timestamp.timestamp() < GIVEN_S:
        return False
    health = instance.run_launcher.check_run_worker_health(run)
    again = instance.get_run_by_id(run.run_id)
    return health.status != WorkerStatus.RUNNING and again is not None and again.status == run.status


def end_never_begun(instance: dg.DagsterInstance, places: Places, before_s: float) -> list[str]:
    """End the runs that a daemon was launching when it ended, and whose launch reached nobody; the ids of those runs.

    Call it before anything is launched. A run is claimed before it is ended: a worker that is late does nothing.
    """
    ended = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[_STATUS.STARTING])):
        run = record.dagster_run
        if record.update_timestamp.timestamp() < before_s and places.workers.claim(run.run_id, By.NOBODY):
            end_lost_run(instance, run, "The daemon ended while it launched this run, and nobody had begun it.")
            ended.append(run.run_id)
    return ended
