"""The process that has imported, and forks.

It has one thread and opens nothing, so that a child starts as clean as a new interpreter, with the imports done. A child
leads a session of its own and outlives the server, unless the request says otherwise.

What a child had to import is imported here once no child is running, if it is among `preloadable`: the next one has it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from caudal.forking import wire

#: Where a forked process finds the server that it came from.
ADDRESS = "CAUDAL_FORKED_BY"
#: How long a request may take to arrive once its sender is connected.
REQUEST_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_NEWS_BYTES = 8192
#: A pause between requests in which to import what children needed: whoever asks meanwhile has to wait.
_PAUSE_S = 0.2


class AlreadyServed(RuntimeError):
    """Another server listens there."""


@dataclass
class _Child:
    connection: socket.socket
    news: int


@dataclass
class Server:
    """Serves until it was idle for `idle_s` seconds, or was told to retire and its last child has ended.

    Attributes:
        path: of the socket. Only this user may connect.
        preloadable: top-level modules that may be imported here because a child needed them. What starts threads, opens
            connections or keeps state at import has no place among them.
        preparations: for some of these, the `module:function` to call instead: it imports them, and makes ready what they need.
        idle_s: seconds without a child and without a request; None for ever.
        tasks: `module:function` of what may be asked for; None for anything.
    """

    path: Path
    preloadable: frozenset[str] = frozenset()
    preparations: Mapping[str, str] = field(default_factory=dict)
    idle_s: float | None = None
    tasks: frozenset[str] | None = None
    _children: dict[int, _Child] = field(default_factory=dict)
    _wanted: set[str] = field(default_factory=set)
    _retiring: bool = False
    _own: list[int] = field(default_factory=list)

    def serve(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Listen and fork.

        Raises:
            AlreadyServed: another process serves at `path`.
        """
        with self._alone(), self._listening() as listener, _child_signals() as news, selectors.PollSelector() as ready:
            ready.register(news, selectors.EVENT_READ)
            ready.register(listener, selectors.EVENT_READ)
            self._own = [news, listener.fileno(), *self._own]
            gc.collect()
            gc.freeze()  # a collection in a child would otherwise write to every page that it shares with this process
            on_ready()
            quiet_since = time.monotonic()
            while not (self._retiring and not self._children):
                waited = ready.select(self._patience(quiet_since))
                for key, _ in waited:
                    if key.fileobj is listener:
                        self._answer(listener)
                        if self._retiring:
                            ready.unregister(listener)
                            self._stop_listening(listener)
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(news, 4096)
                        self._reap()
                if waited or self._children:
                    quiet_since = time.monotonic()
                elif self._wanted:
                    self._preload()
                elif self.idle_s is not None and time.monotonic() - quiet_since >= self.idle_s:
                    return

    def _patience(self, quiet_since: float) -> float | None:
        if self._wanted and not self._children:
            return _PAUSE_S
        if self.idle_s is None or self._children:
            return None
        return max(0.0, self.idle_s - (time.monotonic() - quiet_since))

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        with self.path.with_name(self.path.name + ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyServed(f"another process serves at {self.path}") from None
            self._own = [lock.fileno()]
            yield

    @contextlib.contextmanager
    def _listening(self) -> Generator[socket.socket]:
        self.path.unlink(missing_ok=True)  # of a server that was killed: nobody else holds the lock
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            self.path.chmod(0o600)
            listener.listen(128)
            try:
                yield listener
            finally:
                self.path.unlink(missing_ok=True)

    def _stop_listening(self, listener: socket.socket) -> None:
        self.path.unlink(missing_ok=True)
        listener.close()

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            received = wire.receive(connection)
            if received is None:
                connection.close()
                return
            request, descriptors = received
            try:
                self._do(connection, request, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        except (OSError, ValueError) as problem:
            with contextlib.suppress(OSError):
                wire.send(connection, {"error": str(problem)})
            connection.close()

    def _do(self, connection: socket.socket, request: Mapping[str, Any], given: list[int]) -> None:
        if "retire" in request:
            self._retiring = True
        elif "task" not in request:
            wire.send(connection, {"pid": os.getpid(), "children": sorted(self._children)})
        elif self.tasks is not None and request["task"] not in self.tasks:
            wire.send(connection, {"error": f"{request['task']} is not among the tasks of this process"})
        elif threading.active_count() > 1:
            wire.send(connection, {"error": f"{threading.active_count()} threads run here; a process cannot be forked safely"})
        else:
            self._fork(connection, request, given)
            return
        connection.close()

    def _fork(self, connection: socket.socket, request: Mapping[str, Any], given: list[int]) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            connections = [connection, *(child.connection for child in self._children.values())]
            not_mine = [*self._own, reading, *(child.news for child in self._children.values())]
            for descriptor in (*not_mine, *(each.detach() for each in connections)):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            _become(request, given, writing, server, self)
        os.close(writing)
        self._children[pid] = _Child(connection, reading)
        with contextlib.suppress(OSError):  # whoever asked has gone; the child finds that out by itself, if it matters to it
            wire.send(connection, {"pid": pid})

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            os.set_blocking(child.news, False)
            with contextlib.suppress(BlockingIOError, ValueError):
                self._wanted |= set(json.loads(os.read(child.news, _NEWS_BYTES) or b"[]")) - set(sys.modules)
            os.close(child.news)
            with contextlib.suppress(OSError):
                wire.send(child.connection, {"status": os.waitstatus_to_exitcode(status)})
            child.connection.close()

    def _preload(self) -> None:
        names, self._wanted = sorted(self._wanted), set()
        for name in names:
            try:
                if name in self.preparations:
                    _function(self.preparations[name])()
                else:
                    importlib.import_module(name)
            except Exception:  # noqa: BLE001 - it is the next child that needs it, and will say so
                traceback.print_exc()
        gc.collect()
        gc.freeze()


@contextlib.contextmanager
def _child_signals() -> Generator[int]:
    """A descriptor that can be read when a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    handler = signal.signal(signal.SIGCHLD, lambda *_: None)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGCHLD, handler)
        os.close(reading)
        os.close(writing)


def _become(request: Mapping[str, Any], given: list[int], news: int, server_pid: int, server: Server) -> NoReturn:
    """Do what was asked, in this forked process, and end it."""
    status = 1
    try:
        wakeup = signal.set_wakeup_fd(-1)
        os.close(wakeup)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        _tell_kernel(request.get("name"), server_pid if request.get("dies_with_server") else None)
        for number, descriptor in enumerate(given[:3]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if request.get("environment") is not None:
            os.environ.clear()
            os.environ.update(request["environment"])
        os.environ[ADDRESS] = str(server.path)
        if request.get("folder"):
            os.chdir(request["folder"])
        before = set(sys.modules)
        status = int(_function(request["task"])(request["arguments"], given[3:]) or 0)
        learned = sorted({name for name in server.preloadable if name in sys.modules and name not in before})
        os.write(news, json.dumps(learned).encode()[:_NEWS_BYTES])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # noqa: BLE001 - whatever it was, it must not go on in a copy of the server's loop
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


def _function(path: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _tell_kernel(name: str | None, parent: int | None) -> None:
    """What only Linux can be told: the process's name, and that it dies with its parent."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if name:
        libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    if parent is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
