"""Servers for tests: started on a free port of this machine, waited for, and ended by process id."""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Of Linux: the signal that a process gets when the thread that started it ends.
PR_SET_PDEATHSIG = 1
#: Loaded here: between fork and exec, where other threads may have held the loader's lock, nothing may be loaded.
SYSTEM = ctypes.CDLL(None)

#: What tests/services/install brings.
INSTALLED = ROOT / ".services"

#: Headers that concern one connection only.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


def installed(path: str) -> Path:
    """A path below `.services`. Where it is missing, the test fails on a machine that checks changes and is skipped elsewhere."""
    found = INSTALLED / path
    if not found.exists():
        reason = f"there is no .services/{path}; tests/services/install brings it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


def free_port() -> int:
    """A port for a server that starts in seconds: of those that no connection is given meanwhile, by chance of no seed."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def until(true: Callable[[], object], within_s: float, unless: Callable[[], object] = lambda: False) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert not unless(), "the server ended"
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def _end_with_us() -> None:
    """Have this process ended when its parent is killed, where the system can."""
    if sys.platform == "linux":
        SYSTEM.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def started(command: list, log: Path, ready: Callable[[str], object], within_s: float = 180) -> Iterator[subprocess.Popen]:
    """The server of `command`, from when `ready` is true of what it has printed until the block ends."""
    with log.open("wb") as printed:
        server = subprocess.Popen(
            [str(word) for word in command],
            stdout=printed,
            stderr=printed,
            start_new_session=True,
            preexec_fn=_end_with_us,  # noqa: PLW1509 - it only makes one system call
        )
    try:
        until(lambda: ready(log.read_text(errors="replace")), within_s, unless=lambda: server.poll() is not None)
        yield server
    except AssertionError as failed:
        failed.add_note(f"{command[0]} printed:\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(3)  # Some wait for clients that are gone; what they hold is of no use to anybody.
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(20)


def answers(port: int, path: str = "/") -> bool:
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    return True


class BadNetwork:
    """Stands before a server and does to chosen requests what networks and busy servers do.

    Each fault is for one request, the next whose first line holds `words`: `busy` answers 503 in the server's place, `lost`
    passes it on and breaks the connection instead of answering, `cut` breaks it in the middle of the answer, `held` keeps it
    until `release`, and what `answer` is given is answered in the server's place.

    Attributes:
        requests: the first line of each request so far.
        answered: the status of each answer of the server so far.

    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.done: list[str] = []
        self.requests: list[str] = []
        self.answered: list[int] = []
        self.release = threading.Event()
        self._faults: list[tuple[str, str]] = []
        self._answers: list[tuple[str, int, bytes]] = []
        self._lock = threading.Lock()
        network = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # Else what follows the headers waits 40 ms.

            def log_message(self, *_: object) -> None:
                pass

            def passed_on(self) -> None:
                network.pass_on(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = passed_on

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self, fault: str, words: str, times: int = 1) -> None:
        self._faults += [(fault, words)] * times

    def forget(self) -> None:
        """Nothing bad happens any more."""
        with self._lock:
            self._faults, self._answers = [], []

    def answer(self, status: int, content: object, words: str, times: int = 1, after: int = 0) -> None:
        """Answer the next `times` such requests so, but for the first `after`; `content` is sent as JSON."""
        self._answers += [(words, 0, b"")] * after + [(words, status, json.dumps(content).encode())] * times

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        self.requests.append(handler.requestline)
        if answered := self._answer(handler.requestline):
            handler.send_response(answered[1])
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(answered[2])))
            handler.end_headers()
            handler.wfile.write(answered[2])
            return
        fault = self._fault(handler.requestline)
        if fault == "held":
            assert self.release.wait(60)
        if fault == "busy":
            handler.send_response(503)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        connection = HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in HOP}
        connection.request(handler.command, handler.path, body, headers | {"Content-Length": str(length)})
        answer = connection.getresponse()
        content = answer.read()
        self.answered.append(answer.status)
        if fault == "lost":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                handler.send_header(name, value)
        told = answer.getheader("Content-Length") if handler.command == "HEAD" else None
        handler.send_header("Content-Length", told or str(len(content)))
        handler.end_headers()
        if fault == "cut":
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif handler.command != "HEAD":
            handler.wfile.write(content)

    def _answer(self, request: str) -> tuple[str, int, bytes] | None:
        with self._lock:
            for answered in self._answers:
                if answered[0] in request:
                    self._answers.remove(answered)
                    return answered if answered[1] else None
        return None

    def _fault(self, request: str) -> str | None:
        with self._lock:
            for fault, words in self._faults:
                if words in request:
                    self._faults.remove((fault, words))
                    self.done.append(fault)
                    return fault
        return None
