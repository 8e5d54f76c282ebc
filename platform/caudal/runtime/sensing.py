"""The daemon of sensors, which begins a tick within half a second of its turn.

Dagster's own looks every five seconds which sensors are due: what lands between two held ticks would wait for that. How often
a sensor is due stays its own affair.
"""

from __future__ import annotations

import sys
import threading

from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import DaemonIterator, SensorDaemon, SpanMarker
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._daemon.utils import DaemonErrorCapture

LOOK_EVERY_S = 0.5


class QuickSensorDaemon(SensorDaemon):
    """Dagster's, but for the pause between two looks."""

    def core_loop(self, workspace_process_context: IWorkspaceProcessContext, shutdown_event: threading.Event) -> DaemonIterator:
        """Begin the ticks that are due, until the shutdown."""
        ticks: dict = {}
        while True:
            yield SpanMarker.START_SPAN
            try:
                yield from execute_sensor_iteration(
                    workspace_process_context,
                    self._logger,
                    threadpool_executor=self._threadpool_executor,
                    submit_threadpool_executor=self._submit_threadpool_executor,
                    sensor_tick_futures=ticks,
                    instrument_elapsed=self.instrument_elapsed,
                )
            except Exception:  # noqa: BLE001 - as in Dagster's own loop: told in the UI, and tried again
                yield DaemonErrorCapture.process_exception(
                    exc_info=sys.exc_info(), logger=self._logger, log_message="SensorDaemon caught an error"
                )
            yield SpanMarker.END_SPAN
            shutdown_event.wait(LOOK_EVERY_S)
            yield None
