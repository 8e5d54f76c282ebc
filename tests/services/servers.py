"""Servers for tests: started on a free port of this machine, waited for, and ended by process id."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(true: Callable[[], object], within_s: float, unless: Callable[[], object] = lambda: False) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert not unless(), "the server ended"
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@contextmanager
def started(command: list, log: Path, ready: Callable[[str], object], within_s: float = 60) -> Iterator[subprocess.Popen]:
    """The server of `command`, from when `ready` is true of what it has printed until the block ends."""
    with log.open("wb") as printed:
        server = subprocess.Popen([str(word) for word in command], stdout=printed, stderr=printed, start_new_session=True)
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
            server.wait(20)
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
    passes it on and breaks the connection instead of answering, `cut` breaks it in the middle of the answer.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.done: list[str] = []
        self._faults: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        network = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def passed_on(self) -> None:
                network.pass_on(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = passed_on

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self, fault: str, words: str, times: int = 1) -> None:
        self._faults += [(fault, words)] * times

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        fault = self._fault(handler.requestline)
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

    def _fault(self, request: str) -> str | None:
        with self._lock:
            for fault, words in self._faults:
                if words in request:
                    self._faults.remove((fault, words))
                    self.done.append(fault)
                    return fault
        return None
