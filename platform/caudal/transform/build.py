"""`dbt build` on one DuckDB file, or in one candidate in BigQuery, in a process of its own, with its results as they come.

A process of its own, since dbt keeps global state and DuckDB locks the file for as long as any connection of a process is
open: when the process has ended, the file is free, however it ended. A job in BigQuery may outlive the process that asked for
it: it is ended from here, and what it may still have written is in a candidate that is given up.
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

from caudal.google_cloud import GoogleCloud
from caudal.transform.checks import Check
from caudal.transform.dbt_process import DbtProcess, end, how_it_ended, start
from caudal.transform.ended_jobs import end_jobs
from caudal.transform.manifest import Manifest
from caudal.transform.outcome import BuildResult, FailingRows, NodeResult, hold_back
from caudal.transform.placing import Placement
from caudal.transform.project import SERIALIZED, STAND_IN, Project
from caudal.transform.selection import resolve, selection_flags
from caudal.warehouse.bigquery.costs import job_labels

OnResult = Callable[[NodeResult], None]

_SAMPLE_ROWS = 10
_KEPT_INVOCATIONS = 20
#: Jobs of one build that BigQuery works on at a time; it limits queries of a project by their slots, not by their number.
_THREADS_ON_BIGQUERY = 8


class BuildError(RuntimeError):
    """dbt could not run at all, or did not run to its end. Nothing in the database can be relied on."""


def build(
    project: Project,
    manifest: Manifest,
    *,
    database: Path | Placement,
    select: Collection[str] | None = None,
    on_result: OnResult | None = None,
) -> BuildResult:
    """Build and test the selected nodes of `manifest` in `database`, in dbt's order, and judge the outcome.

    A node that fails, or whose test fails as an error, is no exception: the nodes below it are skipped, the rest goes on.
    dbt's log for people goes to this process's standard output. The dbt process never outlives this call, nor this process.

    Args:
        project: where it is and how it is run.
        manifest: what it was when it was parsed; files that changed since then are not read.
        database: a DuckDB file that nobody else has open; its name without suffix is `project.catalog`. On BigQuery where
            each table is.
        select: unique ids, or names, of nodes and tests; None for all. Only these are built and only these tests run.
        on_result: called with each result as it completes, before what is known only at the end: `compiled`, `row_count`,
            `columns`, `failing_rows`.

    Raises:
        ValueError: `select` names something that the project does not have, or `database` has another name.
        BuildError: dbt could not run, or its process was killed.

    """
    if isinstance(database, Path) and database.stem != project.catalog:
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
    if isinstance(database, Placement):
        # A view that was only taken along is told of where it failed, since what reads it did not come about.
        selected |= {u for u in database.beside if u in results and results[u].status not in ("success", "skipped")}
        results = {u: result for u, result in results.items() if u in selected or u not in database.beside}
        looked_at = {u: len(days) for u, days in database.tested.items() if u in results}
        results |= {u: dataclasses.replace(results[u], days=days) for u, days in looked_at.items()}
    held_back = hold_back(manifest, selected, results)
    return BuildResult(manifest, results, held_back, time.monotonic() - started)


def _request(
    project: Project, manifest: Manifest, selected: frozenset[str], database: Path | Placement, invocation: Path
) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    if isinstance(database, Placement):
        placed = {"bigquery": _placed(manifest, database)}
        arguments = _arguments(project, manifest, selected | database.beside, invocation, _THREADS_ON_BIGQUERY)
    else:
        arguments = _arguments(project, manifest, selected, invocation)
    return placed | {
        "arguments": arguments,
        "serialized": str(manifest.path.with_name(SERIALIZED)),
        "database": str(_file(project, database)),
        "extensions": project.process_environment()["CAUDAL_DUCKDB_EXTENSIONS"],
        "trusted": [str(path) for path in project.trusted_extensions],
        "relations": {u: node.relation for u, node in manifest.nodes.items() if u in selected},
        "tests": {u: _rows_of(c, manifest, database) for u, c in manifest.checks.items() if u in selected and c.has_rows},
        "asked_by": os.getpid(),
        "sample_rows": _SAMPLE_ROWS,
    }


def _rows_of(check: Check, manifest: Manifest, database: Path | Placement) -> str | None:
    """The SQL that selects the failing rows of a test, where they are."""
    if isinstance(database, Path) or check.whole_rows is None:
        return check.whole_rows
    relation = manifest.relations[check.attached_to]
    here, there = f"`{STAND_IN}.{relation}`", f"`{database.cloud.project}.{'.'.join(database.tables[relation])}`"
    return check.whole_rows.replace(here.replace(".", "`.`"), there)


def _placed(manifest: Manifest, placement: Placement) -> dict[str, Any]:
    nodes = manifest.nodes
    of_node = {u: job_labels(n.key, owner=next(iter(n.owners), "")) for u, n in nodes.items()}
    of_node |= {u: job_labels(c.asset) | {"check": c.name} for u, c in manifest.checks.items()}
    about = {u: u for u in nodes} | {u: c.attached_to for u, c in manifest.checks.items()}
    return {
        "project": placement.cloud.project,
        "tables": placement.tables,
        "days": {u: (d.partitions, d.carried) for u, d in placement.days.items() if d.partitions is not None},
        "tested": {u: (nodes[manifest.checks[u].attached_to].day_column, days) for u, days in placement.tested.items()},
        "labels": {"caudal": placement.cloud.datasets.strip("_"), **placement.labels},
        "of_node": of_node,
        "maximum_bytes": {u: limit for u, n in about.items() if n in nodes and (limit := nodes[n].maximum_bytes)},
        "branch": _of_branch(placement.cloud),
    }


def _of_branch(cloud: GoogleCloud) -> dict[str, str]:
    """Of which branch the environment is, for `caudal.transform.dbt_bigquery.guarded_clients`; nothing for production."""
    if cloud.branch is None:
        return {}
    return {"short": cloud.branch, "bucket": cloud.bucket, "datasets": cloud.production.datasets}


def _file(project: Project, database: Path | Placement) -> Path:
    """The DuckDB file; on BigQuery one that is not there and that nobody opens."""
    return database if isinstance(database, Path) else project.state / f"{project.catalog}.duckdb"


def _arguments(
    project: Project, manifest: Manifest, selected: Collection[str], invocation: Path, threads: int = 1
) -> list[str]:
    return [
        *("--no-use-colors", "--log-level-file", "none", "--log-path", str(invocation / "logs"), "--no-write-json"),
        *(
            "build",
            "--target-path",
            str(invocation),
            "--threads",
            str(threads),
            "--indirect-selection",
            "empty",
            "--no-partial-parse",
        ),
        "--cache-selected-only",
        *project.flags(),
        *selection_flags(manifest, selected),
    ]


def _run(
    request: Mapping[str, Any], project: Project, database: Path | Placement, on_result: OnResult
) -> dict[str, NodeResult]:
    results: dict[str, NodeResult] = {}
    asked_for: dict[str, str] = {}
    try:
        ended = _follow(request, project, database, on_result, results, asked_for)
    except BaseException:
        if isinstance(database, Placement):
            end_jobs(database.cloud, asked_for)
        raise
    if ended["error"] is not None:
        raise BuildError(f"dbt could not run: {ended['error']}")
    return results


def _follow(
    request: Mapping[str, Any],
    project: Project,
    database: Path | Placement,
    on_result: OnResult,
    results: dict[str, NodeResult],
    asked_for: dict[str, str],
) -> Mapping[str, Any]:
    """The last event of a dbt process that came to its end; `results` and `asked_for`, jobs, are filled as it goes."""
    running = ended = None
    with _dbt_process(project, _file(project, database), request) as (process, events):
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
                case "job":
                    asked_for[event["id"]] = event["location"]
                case "billed":
                    _take_jobs(event["jobs"], results)
                case "ended":
                    ended = event
        status = process.wait()
    if ended is None:
        raise BuildError(_how_it_died(status, running))
    return ended


def _take_jobs(jobs: Mapping[str, list[dict[str, Any]]], results: dict[str, NodeResult]) -> None:
    from caudal.warehouse.bigquery.jobs import Job

    for unique_id, found in jobs.items():
        if unique_id in results:
            results[unique_id] = dataclasses.replace(results[unique_id], jobs=tuple(Job(**job) for job in found))


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
