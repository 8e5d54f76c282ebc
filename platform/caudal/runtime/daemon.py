"""Dagster's daemon, with some parts of our own: `python -m caudal.runtime.daemon`.

The queue is woken, sensors are quick, automation rests when nothing happens, and the workers of runs are watched.
What Dagster's own `dagster-daemon run` does otherwise, this does as well; that one works too, and is slower to launch.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import DEFAULT_DAEMON_INTERVAL_SECONDS, create_daemon_of_type, daemon_controller_from_instance
from dagster._daemon.daemon import DagsterDaemon, MonitoringDaemon
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from caudal.runtime.automation import RestingAssetDaemon
from caudal.runtime.sensing import QuickSensorDaemon
from caudal.runtime.warm.monitor import WorkersDaemon
from caudal.runtime.warm.queue import WakingQueueDaemon, WakingRunCoordinator

#: How long it may take to end once it was asked to.
GRACE_S = 1.5


def daemons(instance: dg.DagsterInstance) -> list[DagsterDaemon]:
    """The daemons that the instance asks for, four of them ours."""
    made: list[DagsterDaemon] = []
    for kind in instance.get_required_daemon_types():
        if kind == WakingQueueDaemon.daemon_type() and isinstance(instance.run_coordinator, WakingRunCoordinator):
            made.append(WakingQueueDaemon(instance.run_coordinator.dequeue_interval_seconds))
        elif kind == MonitoringDaemon.daemon_type():
            made.append(WorkersDaemon(instance.run_monitoring_poll_interval_seconds))
        elif kind == RestingAssetDaemon.daemon_type():
            interval_s = instance.auto_materialize_minimum_interval_seconds
            made.append(
                RestingAssetDaemon(
                    instance.get_auto_materialize_settings(),
                    DEFAULT_DAEMON_INTERVAL_SECONDS if interval_s is None else interval_s,
                )
            )
        elif kind == QuickSensorDaemon.daemon_type():
            made.append(QuickSensorDaemon(instance.get_sensor_settings()))
        else:
            made.append(create_daemon_of_type(kind, instance))
    return made


def main(arguments: Sequence[str]) -> int:
    """Run until interrupted; the exit status."""
    parser = argparse.ArgumentParser(prog="caudal.runtime.daemon")
    parser.add_argument("--workspace", type=Path, required=True, help="the workspace.yaml that names the code locations")
    given = parser.parse_args(arguments)
    setup_interrupt_handlers()
    try:
        with (
            capture_interrupts(),
            dg.DagsterInstance.get() as instance,
            daemon_controller_from_instance(
                instance,
                WorkspaceFileTarget([str(given.workspace)]),
                gen_daemons=daemons,
                log_level="info",
                code_server_log_level="warning",
            ) as controller,
        ):
            try:
                controller.check_daemon_loop()
            finally:  # it would wait for sensors that hold their ticks; whatever it does can be cut off at any moment
                end = threading.Timer(GRACE_S, os._exit, (0,))
                end.daemon = True
                end.start()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
