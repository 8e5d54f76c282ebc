"""`dbt build` on one DuckDB file, in a process of its own, with its results as they come.

A process of its own, since dbt keeps global state and DuckDB locks the file for as long as any connection of a process is
open: when the process has ended, the file is free, however it ended.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from caudal.transform.dbt_process import DbtProcess, end, how_it_ended, start
from caudal.transform.manifest import Manifest
from caudal.transform.outcome import BuildResult, FailingRows, NodeResult, hold_back
from caudal.transform.project import SERIALIZED, Project
from caudal.transform.selection import resolve, selection_flags

OnResult = Callable[[NodeResult], None]

_SAMPLE_ROWS = 10
_KEPT_INVOCATIONS = 20


class BuildError(RuntimeError):
    """dbt could not run at all, or did not run to its end. Nothing in the database can be relied on."""


def build(
    project: Project,
    manifest: Manifest,
    *,
    database: Path,
    select: Collection[str] | None = None,
    on_result: OnResult | None = None,
) -> BuildResult:
    """Build and test the selected nodes of `manifest` in `database`, in dbt's order, and judge the outcome.

    A node that fails, or whose test fails as an error, is no exception: the nodes below it are skipped, the rest goes on.
    dbt's log for people goes to this process's standard output. The dbt process never outlives this call, nor this process.

    Args:
        project: where it is and how it is run.
        manifest: what it was when it was parsed; files that changed since then are not read.
        database: a DuckDB file that nobody else has open; its name without suffix is `project.catalog`.
        select: unique ids, or names, of nodes and tests; None for all. Only these are built and only these tests run.
        on_result: called with each result as it completes, before what is known only at the end: `compiled`, `row_count`,
            `columns`, `failing_rows`.

    Raises:
        ValueError: `select` names something that the project does not have, or `database` has another name.
        BuildError: dbt could not run, or its process was killed.

    """
    if database.stem != project.catalog:
        raise ValueError(
            f"The database is {database}; expected a file named {project.catalog}.duckdb, since views hold the database's name"
        )
    selected = resolve(manifest, select)
    started = time.monotonic()
    if not selected:
        return BuildResult(manifest, {}, {}, 0.0)
    invocation = _new_invocation(project.state / "invocations")
    request = _request(project, manifest, selected, database, invocation)
    results = _run(request, project, database, on_result or _ignore)
    held_back = hold_back(manifest, selected, results)
    return BuildResult(manifest, results, held_back, time.monotonic() - started)


def _request(
    project: Project, manifest: Manifest, selected: Collection[str], database: Path, invocation: Path
) -> dict[str, Any]:
    return {
        "arguments": _arguments(project, manifest, selected, invocation),
        "serialized": str(manifest.path.with_name(SERIALIZED)),
        "database": str(database),
        "extensions": project.process_environment(database)["CAUDAL_DUCKDB_EXTENSIONS"],
        "trusted": [str(path) for path in project.trusted_extensions],
        "relations": {u: node.relation for u, node in manifest.nodes.items() if u in selected},
        "tests": {u: check.whole_rows for u, check in manifest.checks.items() if u in selected and check.has_rows},
        "asked_by": os.getpid(),
        "sample_rows": _SAMPLE_ROWS,
    }


def _arguments(project: Project, manifest: Manifest, selected: Collection[str], invocation: Path) -> list[str]:
    return [
        *("--no-use-colors", "--log-level-file", "none", "--log-path", str(invocation / "logs"), "--no-write-json"),
        *("build", "--target-path", str(invocation), "--threads", "1", "--indirect-selection", "empty", "--no-partial-parse"),
        "--cache-selected-only",
        *project.flags(),
        *selection_flags(manifest, selected),
    ]


def _run(request: Mapping[str, Any], project: Project, database: Path, on_result: OnResult) -> dict[str, NodeResult]:
    results: dict[str, NodeResult] = {}
    running = ended = None
    with _dbt_process(project, database, request) as (process, events):
        for line in events:
            event = json.loads(line)
            match event["event"]:
                case "started":
                    running = event["unique_id"]
                case "finished":
                    running = None
                    _take_finished(event, results, on_result)
                case "described":
                    found = results[event["unique_id"]]
                    columns = tuple((name, kind) for name, kind in event["columns"])
                    results[found.unique_id] = dataclasses.replace(found, row_count=event["rows"], columns=columns)
                case "sampled":
                    found = results[event["unique_id"]]
                    rows = FailingRows(tuple(event["columns"]), tuple(tuple(row) for row in event["rows"]))
                    results[found.unique_id] = dataclasses.replace(found, failing_rows=rows)
                case "ended":
                    ended = event
        status = process.wait()
    if ended is None:
        raise BuildError(_how_it_died(status, running))
    if ended["error"] is not None:
        raise BuildError(f"dbt could not run: {ended['error']}")
    return results


def _ignore(result: NodeResult) -> None:
    """Nobody listens."""


def _take_finished(event: Mapping[str, Any], results: dict[str, NodeResult], on_result: OnResult) -> None:
    unique_id = event["unique_id"]
    is_news = unique_id not in results
    results[unique_id] = NodeResult(
        unique_id=unique_id,
        status=event["status"],
        seconds=event["seconds"],
        message=event["message"],
        failures=event["failures"],
        rows_affected=event.get("rows_affected"),
        compiled=Path(event["compiled"]) if event.get("compiled") else None,
    )
    if is_news:
        on_result(results[unique_id])


@contextmanager
def _dbt_process(project: Project, database: Path, request: Mapping[str, Any]) -> Generator[tuple[DbtProcess, IO[str]]]:
    """A dbt process that was told `request`, and its events. When the block ends, for whatever reason, it has ended too."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    told, telling = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as events, os.fdopen(telling, "wb") as standard_input:
        try:
            environment = project.process_environment(database)
            process = start("serve", stdin=told, extra=(writing,), environment=environment, folder=project.folder)
        finally:
            os.close(writing)
            os.close(told)
        try:
            with suppress(BrokenPipeError):
                # Standard input stays open afterwards: the process takes its closing as our end.
                standard_input.write(json.dumps(request).encode() + b"\n")
                standard_input.flush()
            yield process, events
        finally:
            end(process)


def _how_it_died(status: int, running: str | None) -> str:
    doing = f" while it built {running}" if running else ""
    hint = "; most often the machine had no memory left" if status == -signal.SIGKILL else "; its own words are in the log"
    return f"The dbt process {how_it_ended(status)}{doing}{hint}. Nothing of this build is kept."


def _new_invocation(invocations: Path) -> Path:
    """A folder for the SQL of one invocation. The newest few before it are kept for whoever looks for an error."""
    invocations.mkdir(parents=True, exist_ok=True)
    for old in sorted(invocations.iterdir())[: 1 - _KEPT_INVOCATIONS]:
        shutil.rmtree(old, ignore_errors=True)
    new = invocations / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
    new.mkdir()
    return new
