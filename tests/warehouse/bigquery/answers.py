"""A server that answers as BigQuery's REST interface does: dry runs, sizes of tables, and refusals, as they are told to it.

For what no emulator can show, since it has no bill: the answers have the fields of Google's discovery document, which
`test_costs.py` looks up.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TABLE = re.compile(r"`([\w-]+)\.(\w+)\.(\w+)`")


@dataclass
class Answers:
    """What the server knows.

    Attributes:
        url: where it is.
        sizes: the bytes of each table that is there, by `dataset.table`.
        queries: the SQL of each job it was asked for, in order, with its configuration.

    """

    url: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    queries: list[dict[str, Any]] = field(default_factory=list)

    def dry_run(self, configuration: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A query reads all of each table that it names."""
        sql = configuration["query"]["query"]
        named = list(dict.fromkeys(_TABLE.findall(sql)))
        missing = next((t for t in named if f"{t[1]}.{t[2]}" not in self.sizes), None)
        if missing:
            said = f"Not found: Table {missing[0]}:{missing[1]}.{missing[2]} was not found in location EU"
            return 404, refusal(404, "notFound", said)
        if "no_such_column" in sql:
            return 400, refusal(400, "invalidQuery", "Unrecognized name: no_such_column at [1:8]")
        read = sum(self.sizes[f"{dataset}.{table}"] for _, dataset, table in named)
        limit = int(configuration["query"].get("maximumBytesBilled") or 2**62)
        if read > limit:
            said = f"Query exceeded limit for bytes billed: {limit}. {read} or higher required."
            return 400, refusal(400, "bytesBilledLimitExceeded", said)
        tables = [{"projectId": p, "datasetId": d, "tableId": t} for p, d, t in named]
        query = {"totalBytesProcessed": str(read), "totalBytesBilled": "0", "cacheHit": False, "referencedTables": tables}
        return 200, {
            "kind": "bigquery#job",
            "jobReference": {"projectId": "acme-data", "location": "EU"},
            "configuration": {"jobType": "QUERY", **configuration},
            "status": {"state": "DONE"},
            "statistics": {"creationTime": "1700000000000", "totalBytesProcessed": str(read), "query": query},
        }


def refusal(status: int, reason: str, said: str) -> dict[str, Any]:
    """An error as https://cloud.google.com/bigquery/docs/error-messages describes it."""
    return {"error": {"code": status, "message": said, "errors": [{"message": said, "domain": "global", "reason": reason}]}}


@contextmanager
def answering() -> Iterator[Answers]:
    """The server, as long as the block lasts."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.queries.append(given["configuration"])
            self.answer(*answers.dry_run(given["configuration"]))

        def do_GET(self) -> None:
            project, dataset, table = re.findall(r"/projects/([^/]+)/datasets/([^/]+)/tables/([^/?]+)", self.path)[0]
            if f"{dataset}.{table}" not in answers.sizes:
                self.answer(404, refusal(404, "notFound", f"Not found: Table {project}:{dataset}.{table}"))
                return
            reference = {"projectId": project, "datasetId": dataset, "tableId": table}
            size = str(answers.sizes[f"{dataset}.{table}"])
            self.answer(200, {"kind": "bigquery#table", "tableReference": reference, "type": "TABLE", "numBytes": size})

        def answer(self, status: int, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
