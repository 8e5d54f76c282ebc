"""A small HTTP server that answers as Google's interfaces are described; what does not fit their description fails the test."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.discovery import wrong_with_answer, wrong_with_request


@dataclass
class Documented:
    """The server. `answers` are by the beginning of a request, the longest that fits: `GET /storage/v1/b/lake`."""

    answers: dict[str, Any]
    asked: list[tuple[str, Any]] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def answer(self, request: str, body: Any) -> tuple[int, Any]:
        fitting = [said for said in self.answers if re.match(re.escape(said) + r"(?![\w-])", request)]
        if not fitting:
            return 404, error(404, "notFound", f"{request} is not there")
        said = self.answers[max(fitting, key=len)]
        if callable(said):
            said = said(body)
        return said if isinstance(said, tuple) else (200, said)


def error(code: int, reason: str, message: str) -> dict[str, Any]:
    """A refusal, in the form that Google's interfaces have."""
    return {"error": {"code": code, "message": message, "errors": [{"reason": reason, "message": message, "domain": "global"}]}}


@contextmanager
def documented(answers: dict[str, Any]) -> Iterator[Documented]:
    known = Documented(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return known.headers.get("Date") or super().date_time_string(timestamp)

        def handle_it(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_document = "json" in self.headers.get("Content-Type", "")
            body = json.loads(content) if content and is_document else content.decode() or None
            known.asked.append((f"{self.command} {self.path}", body))
            status, answer = known.answer(f"{self.command} {self.path}", body)
            if not self.path.startswith(("/token", "/tokeninfo")):
                known.misfits += wrong_with_request(self.command, self.path, body if is_document else None)
                if status == 200:
                    known.misfits += wrong_with_answer(self.command, self.path, answer)
            told = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_it

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
    assert known.misfits == []
