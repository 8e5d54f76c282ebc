"""Child processes that live and die with this one.

Each service is a process group of its own, so that a signal to the terminal reaches only this process, and stopping a
service reaches what it started. A service that ends by itself is started again, later each time, until it has ended too
often. If this process is killed, the guardian ends the services; on Linux the kernel does as well.

A service that is a Python module is forked from the nursery while that listens: a process that has imported Dagster, and
shares its memory with what is forked from it. Otherwise, and where the nursery has just ended, an interpreter is started.

Not here: what the services are (`services`), and what is done about the runs of a service that died (`lost_runs`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from caudal.forking import client
from caudal.runtime import guardian
from caudal.runtime.log_files import appended

RESTART_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
#: A service that ran this long has recovered: its next end is counted as its first.
STEADY_S = 120.0

_GUARDIAN = (sys.executable, "-I", "-S", guardian.__file__)
_MODULE = (sys.executable, "-m")
#: How long the nursery may take to import what it has for all.
_NURSERY_TIMEOUT_S = 120.0

Process = subprocess.Popen[bytes] | client.Forked


@dataclass(frozen=True)
class Service:
    """A program to keep running.

    Attributes:
        name: for people, and the name of its log.
        command: program and arguments.
        stops_first: it must be gone before the others are asked to stop, because it gives them work.
        grace_s: how long it may take to stop before it is killed.
    """

    name: str
    command: tuple[str, ...]
    stops_first: bool = False
    grace_s: float = 10.0


class ServiceFailed(RuntimeError):
    """A service ended more often than is worth trying again. The message holds the end of its log."""


@dataclass
class _Running:
    service: Service
    process: Process
    started_s: float
    failures: int = 0
    restart_at_s: float | None = None


@dataclass
class Supervisor:
    """Starts services and keeps them running until `stop`. Use it from the main thread only, as a context manager.

    Attributes:
        home: identifies whose processes these are; what an earlier supervisor of the same home left behind is ended first.
        logs: the folder of one log a service.
        environment: the variables that every service gets.
        folder: the working directory of every service.
        nursery: the socket of the process to fork services from, or None.
        on_death: called with a service that ended by itself, after what it left running was ended and before its restart.
        before_the_end: called when all services have been stopped, and a program can still be `run`.
        clock: seconds, monotonic.
    """

    home: Path
    logs: Path
    environment: Mapping[str, str]
    folder: Path
    nursery: Path | None = None
    on_death: Callable[[Service], None] = lambda _: None
    before_the_end: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    _running: dict[str, _Running] = field(default_factory=dict)
    _guardian: subprocess.Popen[bytes] | None = None
    _marker: str = ""
    _groups: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        guardian.end(f"{self.home}#", grace_s=2, prefix=True)
        self._marker = f"{self.home}#{uuid.uuid4().hex}"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._watch()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start `service` in a process group of its own, its output appended to its log."""
        self._running[service.name] = _Running(service, self._launch(service), self.clock())

    def start_nursery(self, modules: tuple[str, ...]) -> None:
        """Start the process that services are forked from, and wait until it has imported `modules`, or has ended."""
        assert self.nursery is not None
        self.start(Service("nursery", (*_MODULE, "caudal.forking", str(self.nursery), *modules)))
        process, deadline = self._running["nursery"].process, time.monotonic() + _NURSERY_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline and not client.listens(self.nursery):
            time.sleep(0.01)

    def run(self, service: Service, extra: Sequence[int] = ()) -> Process:
        """Start a program that is expected to end. It is not started again, but stopped with the rest.

        Args:
            extra: descriptors for the program, which takes them for the last of its arguments.
        """
        return self._launch(service, extra)

    def log(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"

    def running(self) -> dict[str, int]:
        """The process id of each service that is running."""
        return {name: each.process.pid for name, each in self._running.items() if each.process.poll() is None}

    def tend(self) -> None:
        """Start again what has ended. Call it every second or so.

        Raises:
            ServiceFailed: a service ended more often than `RESTART_DELAYS_S` allows.
        """
        if self._guardian is not None and self._guardian.poll() is not None:
            self._watch()
        for each in self._running.values():
            status = each.process.poll()
            if status is None:
                continue
            now = self.clock()
            if each.restart_at_s is None:
                self._ended(each, status, now)
            elif now >= each.restart_at_s:
                each.process, each.started_s, each.restart_at_s = self._launch(each.service), now, None

    def restart(self, name: str) -> None:
        """Stop a service with everything it started, and start it afresh."""
        each = self._running[name]
        self._end_groups([each])
        each.process, each.started_s, each.restart_at_s = self._launch(each.service), self.clock(), None

    def stop(self) -> None:
        """Stop every service and everything they started. What does not stop within its grace is killed."""
        running = list(self._running.values())
        self._end_groups([each for each in running if each.service.stops_first])
        self._end_groups([each for each in running if not each.service.stops_first and each.service.name != "nursery"])
        self.before_the_end()
        self._end_groups([each for each in running if each.service.name == "nursery"])
        self._running.clear()
        if self._guardian is not None:
            # What moved out of its process group, such as a notebook's kernel, is the guardian's.
            if self._guardian.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian = None

    def _ended(self, each: _Running, status: int, now: float) -> None:
        each.failures = 1 if now - each.started_s > STEADY_S else each.failures + 1
        _signal_group(each.process.pid, signal.SIGKILL)
        self.on_death(each.service)
        if each.failures > len(RESTART_DELAYS_S):
            log = self.log(each.service)
            raise ServiceFailed(
                f"{each.service.name} ended {each.failures} times, the last time {_cause(status)}. The end of {log}:\n"
                + last_lines(log)
            )
        each.restart_at_s = now + RESTART_DELAYS_S[each.failures - 1]

    def _launch(self, service: Service, extra: Sequence[int] = ()) -> Process:
        with appended(self.log(service)) as output, open(os.devnull, "rb") as nothing:
            process = self._forked(service, nothing.fileno(), output.fileno(), extra) or subprocess.Popen(
                [*_GUARDIAN, "become", str(os.getpid()), *service.command, *(str(descriptor) for descriptor in extra)],
                stdin=nothing,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=extra,
                cwd=self.folder,
                env={**self.environment, guardian.MARKER: self._marker},
                start_new_session=True,
            )
        self._groups.append(process.pid)
        self._tell_guardian(process.pid)
        return process

    def _forked(self, service: Service, stdin: int, output: int, extra: Sequence[int]) -> client.Forked | None:
        """The service as a fork of the nursery, if it is a module and the nursery listens."""
        if self.nursery is None or service.name == "nursery" or service.command[:2] != _MODULE:
            return None
        with contextlib.suppress(client.ForkingFailed):
            return client.fork(
                "caudal.forking.tasks:module",
                {"module": service.command[2], "arguments": list(service.command[3:])},
                stdin=stdin,
                stdout=output,
                stderr=output,
                extra=extra,
                environment={**self.environment, guardian.MARKER: self._marker},
                folder=self.folder,
                name=service.name,
                dies_with_server=True,
                server=self.nursery,
            )
        return None

    def _watch(self) -> None:
        self._guardian = subprocess.Popen([*_GUARDIAN, "watch", self._marker], stdin=subprocess.PIPE, start_new_session=True)
        self._tell_guardian(*self._groups)

    def _tell_guardian(self, *groups: int) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it was killed; the next look at it will start another
                self._guardian.stdin.write(b"".join(b"%d\n" % group for group in groups))
                self._guardian.stdin.flush()

    def _end_groups(self, some: list[_Running]) -> None:
        for each in some:
            _signal_group(each.process.pid, signal.SIGTERM)
        asked_s = time.monotonic()
        for each in some:
            try:
                each.process.wait(max(0.0, asked_s + each.service.grace_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
        for each in some:
            _signal_group(each.process.pid, signal.SIGKILL)
            each.process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """The last lines of a log, indented, for a message."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(0, log.stat().st_size - 8192))
            text = re.sub(r"\x1b\[[0-9;]*m", "", opened.read().decode(errors="replace"))
            lines = text.rstrip().splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join("    " + line for line in lines) or "    (empty)"


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _cause(status: int) -> str:
    return f"with exit code {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
