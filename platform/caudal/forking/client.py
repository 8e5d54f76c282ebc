"""Ask a server of `forking` for a process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caudal.forking import wire
from caudal.forking.server import ADDRESS

#: How long a server may take to fork. It may be importing what an earlier child needed.
ANSWER_TIMEOUT_S = 30.0
#: The status of a process of which nobody is left to tell how it ended.
UNKNOWN_STATUS = 255


class ForkingFailed(RuntimeError):
    """No process was forked, or it is not known whether one was. The message says why."""


@dataclass
class Forked:
    """A process that a server has forked. The status is as in `subprocess.Popen.returncode`."""

    pid: int
    returncode: int | None = None
    _connection: socket.socket | None = None
    _pidfd: int | None = None
    _closed: bool = field(default=False, repr=False)

    def poll(self) -> int | None:
        """The status if it has ended."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it has not ended within `timeout` seconds.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Signal the process, if it has not ended."""
        if self.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Lose sight of the process, which goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _look(self, timeout: float | None) -> int | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._connection is not None:
                if not _readable(self._connection.fileno(), left):
                    return None
                self._listen(self._connection)
            elif self._pidfd is not None:  # the server has gone, and with it the status
                if not _readable(self._pidfd, left):
                    return None
                self._end(UNKNOWN_STATUS)
            elif not _exists(self.pid):
                self._end(UNKNOWN_STATUS)
            elif left == 0.0:
                return None
            else:
                time.sleep(0.05 if left is None else min(0.05, left))
        return self.returncode

    def _listen(self, connection: socket.socket) -> None:
        try:
            told = wire.receive(connection)
        except (OSError, ValueError):
            told = None
        if told is not None and "status" in told[0]:
            self._end(told[0]["status"])
        else:
            connection.close()
            self._connection = None

    def _end(self, status: int) -> None:
        self.returncode = status
        self.close()


def address() -> Path | None:
    """Where the server listens that this process was forked by; None if it was not."""
    path = os.environ.get(ADDRESS)
    return Path(path) if path else None


def available() -> bool:
    """Whether this process was forked by a server that can be asked for more."""
    path = address()
    return path is not None and path.exists()


def fork(
    task: str,
    arguments: Mapping[str, Any],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    extra: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    name: str | None = None,
    dies_with_server: bool = False,
    server: Path | None = None,
) -> Forked:
    """Have `task`, a `module:function`, called in a process forked for it.

    Args:
        arguments: JSON, the function's first argument. Its second is the list of `extra` as they are numbered there; what
            it returns is the exit status.
        environment: all of its variables; None for the server's.
        folder: its working directory; None for the server's.
        name: what the system's list of processes shows, 15 bytes.
        server: its socket; None for the one that this process was forked by.

    Raises:
        ForkingFailed: it cannot be had.
    """
    path = server or address()
    if path is None:
        raise ForkingFailed("this process was not forked by one that could be asked for more")
    request = {
        "task": task,
        "arguments": dict(arguments),
        "environment": None if environment is None else dict(environment),
        "folder": None if folder is None else str(folder),
        "name": name,
        "dies_with_server": dies_with_server,
    }
    connection = connect(path)
    try:
        wire.send(connection, request, [stdin, stdout, stderr, *extra])
        told = wire.receive(connection)
    except (OSError, ValueError) as problem:
        connection.close()
        raise ForkingFailed(f"{path} did not answer: {problem}") from problem
    if told is None or "pid" not in told[0]:
        connection.close()
        raise ForkingFailed(told[0].get("error", "no process was forked") if told else f"{path} went away without an answer")
    connection.settimeout(None)
    return Forked(told[0]["pid"], None, connection, _pidfd(told[0]["pid"]))


def retire(path: Path) -> None:
    """Have the server at `path` end after its last child. No server, nothing to do."""
    with contextlib.suppress(ForkingFailed, OSError), connect(path) as connection:
        wire.send(connection, {"retire": True})
        connection.recv(1)


def connect(path: Path) -> socket.socket:
    """A connection to the server at `path`.

    Raises:
        ForkingFailed: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_TIMEOUT_S)
    try:
        connection.connect(str(path))
    except OSError as problem:
        connection.close()
        raise ForkingFailed(f"nobody listens at {path}: {problem}") from problem
    return connection


def listens(path: Path) -> bool:
    """Whether a server listens at `path`."""
    try:
        connect(path).close()
    except ForkingFailed:
        return False
    return True


def _readable(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # it has ended already, and its status is on the way
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
