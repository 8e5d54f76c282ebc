"""The daemon launches a queued run at once, instead of looking for one every so many seconds.

Whoever queues a run sends a datagram to the daemon's socket; the daemon, which would otherwise sleep until its next look,
wakes. A datagram that is lost costs the rest of that sleep and nothing else.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import DaemonIterator, SpanMarker
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._utils.error import serializable_error_info_from_exc_info

from caudal.runtime.warm.places import Places

#: How long the daemon sleeps at most while it may be woken: it also watches for its own end.
_NAP_S = 0.5


def places_of(instance: DagsterInstance) -> Places:
    """Where the runtime of this instance keeps its things."""
    return Places(Path(instance.root_directory))


def wake(places: Places) -> None:
    """Tell the daemon that there is something to launch, or room to launch it. No daemon, no harm."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"1", str(places.queue))


class WakingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which tells the daemon of each run that joins it."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue the run, and wake the daemon."""
        run = super().submit_run(context)
        with contextlib.suppress(AttributeError):  # an instance without a folder has no daemon either
            wake(places_of(self._instance))
        return run


class WakingQueueDaemon(QueuedRunCoordinatorDaemon):
    """Dagster's daemon of the queue, which looks when it is woken, and at its interval."""

    def core_loop(self, workspace_process_context: IWorkspaceProcessContext, shutdown_event: threading.Event) -> DaemonIterator:
        """Look, then wait to be woken."""
        with _mailbox(places_of(workspace_process_context.instance).queue) as mailbox:
            while True:
                started_s = time.monotonic()
                yield SpanMarker.START_SPAN
                try:
                    yield from self.run_iteration(workspace_process_context)
                except Exception:  # noqa: BLE001 - as in Dagster's own loop: told in the UI, and tried again
                    error = serializable_error_info_from_exc_info(sys.exc_info())
                    self._logger.error("Caught error:\n%s", error)  # noqa: TRY400 - the error has its traceback
                    yield error
                yield SpanMarker.END_SPAN
                while not shutdown_event.is_set() and time.monotonic() - started_s < self.interval_seconds:
                    if _woken(mailbox, min(_NAP_S, self.interval_seconds)):
                        break
                    yield None
                yield None


@contextlib.contextmanager
def _mailbox(path: Path) -> Generator[socket.socket]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
        mailbox.bind(str(path))
        mailbox.setblocking(False)
        yield mailbox


def _woken(mailbox: socket.socket, timeout_s: float) -> bool:
    poll: Any = select.poll()
    poll.register(mailbox, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        return False
    with contextlib.suppress(BlockingIOError):
        while mailbox.recv(16):
            pass
    return True
