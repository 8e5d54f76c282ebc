"""dbt, in a process of its own: forked, or `python -P -m caudal.transform.dbt_child serve <events fd>`. See `dbt_process`.

Reads one line of JSON on standard input, the request, and writes one line of JSON for each event on the given file
descriptor. Standard output is dbt's log for people. The process ends when whoever asked does: its standard input then closes,
and Linux kills it besides where that is its parent. With it ends DuckDB's lock on the database.

Request: `arguments` (of dbt), `serialized` (path of dbt's serialized manifest, or null), `database` and `extensions` (paths),
`trusted` (paths of DuckDB extensions that need not be verified again), `relations` (unique id -> `schema.name`, to be described
once they are built), `tests` (unique id -> the SQL that selects the failing rows to be sampled, null for the test's own),
`asked_by` (process id), `sample_rows`; on BigQuery besides `bigquery`: `project`, `tables` (`schema.name` -> dataset, table),
`days`, `tested`, `of_node` (labels) and `maximum_bytes` (all by unique id) and `labels`, as `placing.Placement` has them.
Events: `{"event": "started", "unique_id"}`, `{"event": "finished", ...}` with a node's outcome, `{"event": "described",
"unique_id", "rows", "columns"}`, `{"event": "sampled", "unique_id", "columns", "rows"}`, on BigQuery `{"event": "job", "id",
"location"}` before a job starts and `{"event": "billed", "jobs"}` with all that ended well by unique id, and last
`{"event": "ended", "error"}`, where `error` is why dbt could not run at all, or null.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.transform import dbt_speed

if TYPE_CHECKING:
    import duckdb
    from dbt.cli.main import dbtRunner

Emit = Callable[..., None]

_LONGEST_VALUE = 200
_PR_SET_PDEATHSIG = 1
#: Collections of garbage that would find little: the process does one thing and ends.
_GC_THRESHOLDS = (50_000, 20, 50)

#: Manifests that a warm parent has read, by the path of the serialized one. A fork finds them here; nobody else puts any in.
PRELOADED: dict[str, Any] = {}


def serve(_: Mapping[str, Any], descriptors: list[int]) -> int:
    """Serve one request; the exit status says only whether the protocol was kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _write_lines_at_once()
    request = json.loads(_read_line(0))
    _end_with_whoever_asked(request["asked_by"])
    with os.fdopen(descriptors[0], "w", buffering=1, encoding="utf-8") as events:
        one_at_a_time = threading.Lock()

        def emit(event: str, **fields: Any) -> None:
            line = json.dumps({"event": event, **fields}, default=str) + "\n"
            with one_at_a_time:
                events.write(line)

        error = run(request, emit)
        sys.stdout.flush()
        emit("ended", error=error)
    return 0


def parse(_: Mapping[str, Any], __: list[int]) -> int:
    """Parse a project as one line of JSON on standard input says, and read its models' columns; 0 if dbt is content."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_read_line(0))
    _end_with_whoever_asked(request["asked_by"])
    outcome = _runner()().invoke(request["arguments"])
    if type(outcome.exception).__name__ == "DbtUsageException":  # dbt tells of all others by itself
        sys.stdout.write(f"{outcome.exception}\n")
    if outcome.success:
        _read_columns(outcome.result, request["folder"], request["previous"])
    sys.stdout.flush()
    return 0 if outcome.success else 1


def _read_columns(manifest: Any, folder: str, previous: str | None) -> None:
    """What the project's columns are made of, beside its manifest. The project can be built without."""
    from caudal.transform.columns.project import RENDERED, write_columns
    from caudal.transform.rendering import write_rendered

    try:
        write_rendered(manifest, Path(folder, RENDERED))
        write_columns(Path(folder), Path(previous) if previous else None)
    except Exception:  # noqa: BLE001 - it is told, and what is asked about columns is answered so
        import traceback

        sys.stdout.write(f"What the columns of the models are made of could not be read:\n{traceback.format_exc()}\n")


def run(request: Mapping[str, Any], emit: Emit) -> str | None:
    """Run dbt as `request` says; why it could not run at all, or None."""
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

    runner = _runner()
    if "bigquery" in request:
        return _run_on_bigquery(request, runner, report, emit)
    with dbt_speed.database(request["database"], request["extensions"], request["trusted"]) as database:
        outcome = runner(_manifest(request["serialized"]), [report]).invoke(request["arguments"])
        results = getattr(outcome.result, "results", None)
        if results is None:
            return str(outcome.exception or "dbt gave no result")
        for result in results:
            emit("finished", **_outcome(result), is_final=True)
        _look_closer(request, results, database, emit)
    return None


def _run_on_bigquery(
    request: Mapping[str, Any], runner: type[dbtRunner], report: Callable[[Any], None], emit: Emit
) -> str | None:
    from caudal.transform import dbt_bigquery

    manifest, asked = _manifest(request["serialized"]), request["bigquery"]
    if manifest is None:
        return "the manifest that dbt wrote beside its JSON is gone: without it nothing can be placed in BigQuery"
    dbt_bigquery.place(manifest, asked)
    dbt_bigquery.guarded_clients(asked)
    jobs = dbt_bigquery.Jobs(asked, emit)
    with dbt_bigquery.noted(jobs):
        outcome = runner(manifest, [report]).invoke(request["arguments"])
    results = getattr(outcome.result, "results", None)
    if results is not None:
        for result in results:
            emit("finished", **_outcome(result), is_final=True)
        dbt_bigquery.look_closer(request, results, jobs, emit)
    emit("billed", jobs=jobs.ended)
    return str(outcome.exception or "dbt gave no result") if results is None else None


def _runner() -> type[dbtRunner]:
    dbt_speed.before_import()
    gc.disable()
    from dbt.cli.main import dbtRunner

    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    dbt_speed.drop_unheard_events()
    return dbtRunner


def _manifest(serialized: str | None) -> Any:
    """The manifest, without parsing anything, or None: then dbt parses the project itself."""
    if serialized is None:
        return None
    return PRELOADED.get(serialized) or read_serialized(serialized)


def read_serialized(path: str) -> Any:
    """The manifest in its own form, as dbt's runner takes it; None if there is no such file."""
    from dbt.contracts.graph.manifest import Manifest

    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
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


def _look_closer(request: Mapping[str, Any], results: list[Any], database: dbt_speed.Database, emit: Emit) -> None:
    """Describe what was built, and sample the rows for which tests failed, while the database is at hand."""
    built = [r for r in results if str(r.status) == "success" and r.node.unique_id in request["relations"]]
    failed = [r for r in results if str(r.status) in ("fail", "warn") and r.node.unique_id in request["tests"]]
    if not built and not failed:
        return
    with database.connect() as connection:
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


def _end_with_whoever_asked(process: int) -> None:
    """Standard input is a pipe that nobody writes to any more: it closes when whoever asked has gone.

    A fork's parent is another process, which may end.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()
    if sys.platform == "linux" and os.getppid() == process:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != process:
            os._exit(1)


def _write_lines_at_once() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _read_line(fd: int) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        chunk = os.read(fd, 65536)
        if not chunk:
            os._exit(1)
        read += chunk
    return read


if __name__ == "__main__":
    task = {"serve": serve, "parse": parse}[sys.argv[1]]
    sys.exit(task({}, [int(word) for word in sys.argv[2:]]))
