"""dbt, in a process of its own: `python -P dbt_child.py <events fd>`, started by `build`.

Reads one line of JSON on standard input, the request, and writes one line of JSON for each event on the given file
descriptor. Standard output is dbt's log for people. The process ends when its parent does: its standard input then closes,
and Linux kills it besides. With it ends DuckDB's lock on the database.

It imports nothing of caudal, and is run by path, so that it starts wherever Python does.

Request: `arguments` (of dbt), `serialized` (path of dbt's serialized manifest, or null), `database` and `extensions` (paths),
`relations` (unique id -> `schema.name`, to be described once they are built), `tests` (unique id -> the SQL that selects the
failing rows to be sampled, null for the test's own), `parent` (process id), `sample_rows`.
Events: `{"event": "started", "unique_id"}`, `{"event": "finished", ...}` with a node's outcome, `{"event": "described",
"unique_id", "rows", "columns"}`, `{"event": "sampled", "unique_id", "columns", "rows"}`, and last
`{"event": "ended", "error"}`, where `error` is why dbt could not run at all, or null.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

Emit = Callable[..., None]

_LONGEST_VALUE = 200
_PR_SET_PDEATHSIG = 1


def main(events_fd: int) -> int:
    """Serve one request; the exit status says only whether the protocol was kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_read_line(0))
    _end_with_parent(request["parent"])
    with os.fdopen(events_fd, "w", buffering=1, encoding="utf-8") as events:

        def emit(event: str, **fields: Any) -> None:
            events.write(json.dumps({"event": event, **fields}, default=str) + "\n")

        error = run(request, emit)
        sys.stdout.flush()
        emit("ended", error=error)
    return 0


def run(request: dict[str, Any], emit: Emit) -> str | None:
    """Run dbt as `request` says; why it could not run at all, or None."""
    gc.disable()
    from dbt.cli.main import dbtRunner

    gc.freeze()
    gc.enable()
    reported: set[str] = set()

    def report(event: Any) -> None:
        if event.info.name == "NodeStart":
            emit("started", unique_id=event.data.node_info.unique_id)
        elif event.info.name == "NodeFinished":
            unique_id, result = event.data.node_info.unique_id, event.data.run_result
            failures = result.num_failures if event.data.node_info.resource_type == "test" else None
            reported.add(unique_id)
            emit(
                "finished",
                unique_id=unique_id,
                status=result.status,
                seconds=result.execution_time,
                message=result.message or None,
                failures=failures,
            )

    outcome = dbtRunner(manifest=_preloaded(request["serialized"]), callbacks=[report]).invoke(request["arguments"])
    results = getattr(outcome.result, "results", None)
    if results is None:
        return str(outcome.exception or "dbt gave no result")
    for result in results:
        emit("finished", **_outcome(result), is_final=True)
    _look_closer(request, results, emit)
    return None


def _preloaded(serialized: str | None) -> Any:
    """The manifest, without parsing anything, or None: then dbt parses the project itself."""
    if serialized is None or not os.path.isfile(serialized):
        return None
    from dbt.contracts.graph.manifest import Manifest

    with open(serialized, "rb") as file:
        manifest = Manifest.from_msgpack(file.read())
    manifest.build_flat_graph()
    return manifest


def _outcome(result: Any) -> dict[str, Any]:
    affected = (result.adapter_response or {}).get("rows_affected")
    return {
        "unique_id": result.node.unique_id,
        "status": str(result.status),
        "seconds": result.execution_time,
        "message": result.message,
        "failures": result.failures,
        "rows_affected": affected,
        "compiled": getattr(result.node, "compiled_path", None),
    }


def _look_closer(request: dict[str, Any], results: list[Any], emit: Emit) -> None:
    """Describe what was built, and sample the rows for which tests failed, while the database is at hand."""
    built = [r for r in results if str(r.status) == "success" and r.node.unique_id in request["relations"]]
    failed = [r for r in results if str(r.status) in ("fail", "warn") and r.node.unique_id in request["tests"]]
    if not built and not failed:
        return
    import duckdb
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()
    config = {"extension_directory": request["extensions"]}
    with duckdb.connect(request["database"], config=config) as connection:
        for result in built:
            unique_id = result.node.unique_id
            schema, name = request["relations"][unique_id].split(".", 1)
            _describe(connection, f'"{schema}"."{name}"', unique_id, emit)
        for result in failed:
            sql = request["tests"][result.node.unique_id] or result.node.compiled_code
            _sample(connection, result.node.unique_id, sql, request["sample_rows"], emit)


def _describe(connection: duckdb.DuckDBPyConnection, relation: str, unique_id: str, emit: Emit) -> None:
    import duckdb

    try:
        counted = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
        columns = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {relation}").fetchall()]
    except duckdb.Error as problem:
        sys.stderr.write(f"{relation} was built, and cannot be read: {problem}\n")
        return
    emit("described", unique_id=unique_id, rows=counted[0] if counted else None, columns=columns)


def _sample(connection: duckdb.DuckDBPyConnection, unique_id: str, sql: str, rows: int, emit: Emit) -> None:
    import duckdb

    try:
        found = connection.execute(f"SELECT * FROM (\n{sql}\n) LIMIT {rows}")
        columns = [column[0] for column in found.description or ()]
        values = [[None if v is None else str(v)[:_LONGEST_VALUE] for v in row] for row in found.fetchall()]
    except duckdb.Error as problem:
        sys.stderr.write(f"The rows that failed {unique_id} cannot be sampled: {problem}\n")
        return
    emit("sampled", unique_id=unique_id, columns=columns, rows=values)


def _end_with_parent(parent: int) -> None:
    """Standard input is a pipe that nobody writes to any more: it closes when the parent has gone."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read_line(fd: int) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        chunk = os.read(fd, 65536)
        if not chunk:
            os._exit(1)
        read += chunk
    return read


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
