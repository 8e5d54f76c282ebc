"""What rows a change would make other ones: the changed models and what is below them, built where nobody else looks.

`whole` copies the published file (sharing its blocks where the file system can), builds in the copy, and compares with what is
published. `sample` builds twice from the same part of the raw rows: with the models that are deployed, and with the changed
ones. Neither is ever published, nor waited for by who publishes: they are no candidates, and only one plan builds at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from caudal.contracts import LINEAGE_COLUMNS
from caudal.contracts.masking import is_masked
from caudal.runtime.plan.comparing import BEFORE, compare
from caudal.runtime.plan.plan import AssetChange, Plan, RowDifference
from caudal.store import exclusive_lock
from caudal.transform.build import BuildError, build
from caudal.transform.manifest import Manifest, read_manifest
from caudal.transform.selection import what_to_run
from caudal.warehouse import relations
from caudal.warehouse.engine import connect_file, verified_extensions
from caudal.warehouse.latest import has_latest, latest_query, latest_table
from caudal.warehouse.local_candidate import copy_file
from caudal.warehouse.raw_views import raw_views
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.runtime.plan.deployed import Known
    from caudal.runtime.plan.snapshot import Snapshot
    from caudal.runtime.plan.taking import Taken
    from caudal.transform.component import DbtProject
    from caudal.transform.outcome import BuildResult

How = Literal["sample", "whole"]

#: A sample has about so many rows of a raw table at most; smaller tables are in it whole.
SAMPLE_ROWS = 100_000

#: What changes no row.
_ONLY_TOLD = ("owner", "description")


class NoRows(RuntimeError):
    """Rows cannot be compared. The message says why, and what to do."""


def with_rows(env: Environment, plan: Plan, taken: Taken, known: Known, how: How) -> Plan:
    """The plan with the rows that would change.

    Raises:
        NoRows: nothing is published, or the deployed models are not known.

    """
    if env.cloud is not None:
        raise NoRows("rows are compared in copies of the published DuckDB file; in BigQuery there is none; leave out --data")
    if not env.published.is_file():
        raise NoRows(f"nothing is published in {env.published} yet, so there are no rows to compare with; leave out --data")
    touched = {key for change in plan.changes if _may_change_rows(change) for key in (change.key, *change.downstream)}
    found: list[RowDifference] = []
    for project, path in taken.projects:
        manifest = read_manifest(path)
        nodes = [unique_id for unique_id, node in manifest.nodes.items() if "/".join(node.key) in touched]
        if nodes:
            found += _differences(env, (project, manifest, nodes), taken, known, how)
    return replace(plan, rows=tuple(sorted(found, key=lambda each: each.asset)), rows_of=how)


def _differences(
    env: Environment, what: tuple[DbtProject, Manifest, Sequence[str]], taken: Taken, known: Known, how: How
) -> Iterator[RowDifference]:
    project, manifest, nodes = what
    several = _combinations(manifest)
    with _scratch(env) as folder:
        after = _copy(env, folder / "after")
        before = env.published.resolve() if how == "whole" else _copy(env, folder / "before")
        sampled = SAMPLE_ROWS if how == "sample" else None
        if sampled:
            deployed = _deployed_manifest(project, known)
            same = {manifest.nodes[unique_id].key for unique_id in _with_parents(manifest, nodes)}
            old = _with_parents(deployed, [u for u, node in deployed.nodes.items() if node.key in same])
            _show_raw(env, before, (), sampled)
            _build(env, project, deployed, before, old, anew=True)
        _show_raw(env, after, taken.datasets, sampled)
        selected = _with_parents(manifest, nodes) if sampled else list(nodes)
        result = _build(env, project, manifest, after, selected, anew=sampled is not None)
        with connect_file(env, after) as connection, relations.attached(connection, before, BEFORE):
            for unique_id in nodes:
                node = manifest.nodes[unique_id]
                key, reason = "/".join(node.key), result.held_back.get(unique_id)
                problem = f"it would not be published: {reason}" if reason else ""
                was_built = unique_id in result.results and result.results[unique_id].status == "success"
                if problem and not was_built:
                    yield RowDifference(key, problem=problem)
                elif not node.is_virtual:
                    keys = _keys(taken.snapshot, key, several.get(unique_id, ()))
                    found = compare(connection, key, node.relation, keys, hiding(taken.snapshot, key))
                    yield replace(found, problem=problem or found.problem)


def hiding(snapshot: Snapshot, key: str) -> Callable[[str], bool]:
    """Whether the values of a column of the table, named in small letters, are shown masked.

    A value may have come from any column above. So what is declared as personal is hidden, and in a table below a contract
    with personal columns all else but what is declared `public`, and what has the name of a column above that is not personal.
    """
    columns = snapshot.assets[key].columns
    above = [snapshot.assets[each] for each in _above(snapshot, key)]
    personal = {c.name.lower() for each in above for c in each.columns if is_masked(c.classification)}
    declared = {c.name.lower() for c in columns if is_masked(c.classification)}
    if not personal:
        return lambda name: name in declared
    plain = {c.name.lower() for each in above if each.is_delivered for c in each.columns} | set(LINEAGE_COLUMNS)
    public = {c.name.lower() for c in columns if c.classification == "public"}
    shown = ((plain | public) - personal) - declared
    return lambda name: name not in shown


def _may_change_rows(change: AssetChange) -> bool:
    return change.fate == "added" or (change.fate == "changed" and any(r.kind not in _ONLY_TOLD for r in change.reasons))


def _above(snapshot: Snapshot, key: str) -> set[str]:
    found: set[str] = set()
    pending = [key]
    while pending:
        for dep in snapshot.assets[pending.pop()].deps:
            if dep not in found and dep in snapshot.assets:
                found.add(dep)
                pending.append(dep)
    return found


def _keys(snapshot: Snapshot, key: str, several: Collection[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Sets of columns that may tell the rows of a table apart: its key, those of tests about several, unique ones."""
    columns = snapshot.assets[key].columns
    declared = tuple(c.name for c in sorted((c for c in columns if c.key), key=lambda c: c.key or 0))
    return [each for each in (declared, *several, *((c.name,) for c in columns if c.unique)) if each]


def _combinations(manifest: Manifest) -> dict[str, list[tuple[str, ...]]]:
    """The columns of each test that says of several columns that no two rows agree in them, by the node's unique id."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for test in json.loads(manifest.path.read_text(encoding="utf-8"))["nodes"].values():
        generic = test.get("test_metadata") or {}
        if "unique" in generic.get("name", "") and test.get("attached_node"):
            lists = [value for value in (generic.get("kwargs") or {}).values() if isinstance(value, list)]
            found.setdefault(test["attached_node"], []).extend(tuple(map(str, columns)) for columns in lists)
    return found


def _deployed_manifest(project: DbtProject, known: Known) -> Manifest:
    for name, path in known.manifests:
        if name == project.project:
            return read_manifest(path)
    raise NoRows(
        f"{known.snapshot.name} has no dbt project {project.project}, so a sample cannot be built with it; ask for --data whole"
    )


def _with_parents(manifest: Manifest, nodes: Collection[str]) -> list[str]:
    found = set(nodes)
    for unique_id in reversed(list(manifest.nodes)):
        if unique_id in found:
            found.update(parent for parent in manifest.nodes[unique_id].parents if parent in manifest.nodes)
    return [unique_id for unique_id in manifest.nodes if unique_id in found]


def _build(
    env: Environment, project: DbtProject, manifest: Manifest, database: Path, nodes: Sequence[str], *, anew: bool
) -> BuildResult:
    if anew:
        with connect_file(env, database) as connection:
            for unique_id in nodes:
                relations.bring(connection, manifest.nodes[unique_id].relation, None)
    tests = what_to_run(manifest, nodes, [u for u, check in manifest.checks.items() if check.attached_to in nodes])
    run = replace(project.dbt_project(env), trusted_extensions=verified_extensions(env))
    try:
        return build(run, manifest, database=database, select=[*nodes, *tests])
    except BuildError as failed:
        raise NoRows(f"dbt could not build what changed: {failed}") from None


def _copy(env: Environment, folder: Path) -> Path:
    folder.mkdir()
    copy_file(env.published.resolve(), folder / env.published.name)
    return folder / env.published.name


def _show_raw(env: Environment, database: Path, datasets: Sequence[Dataset], sample_rows: int | None) -> None:
    """Make the raw views what `datasets` declare, at the versions that are published, and of `sample_rows` at most.

    A dataset that is not published yet is shown as it is now. What a published table does not have is null.
    """
    with connect_file(env, database) as connection:
        bodies = _published_bodies(connection)
        declared = {dataset.table: dataset for dataset in datasets}
        for table in {*bodies, *declared}:
            body = bodies.get(table)
            if body is None:
                body = next(view.body for view in raw_views(env, declared[table]) if view.schema == "raw")
            columns = [row[0] for row in connection.execute(f"DESCRIBE {body}").fetchall()]
            if table in declared:
                body, columns = _as_declared(declared[table], body, columns)
            if sample_rows:
                body = _sampled(connection, body, sample_rows)
            _make(connection, table, body)
            if table in declared and has_latest(declared[table]):
                _make(connection, latest_table(declared[table]), latest_query(declared[table], f"({body})", columns))


def _published_bodies(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    there = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'caudal' AND table_name = 'raw_views'"
    ).fetchone()
    if there is None:
        return {}
    rows = connection.execute("SELECT name, body FROM caudal.raw_views WHERE \"schema\" = 'raw'").fetchall()
    return {name: body for name, body in rows if not name.endswith("__latest")}


def _as_declared(dataset: Dataset, body: str, there: Collection[str]) -> tuple[str, list[str]]:
    wanted = {column.name: column.duckdb_type for column in dataset.contract.columns} | LINEAGE_COLUMNS
    shown = [
        f"TRY_CAST({identifier(name) if name in there else 'NULL'} AS {kind}) AS {identifier(name)}"
        for name, kind in wanted.items()
    ]
    return f"SELECT {', '.join(shown)} FROM ({body})", list(wanted)


def _sampled(connection: duckdb.DuckDBPyConnection, body: str, rows: int) -> str:
    counted = connection.execute(f"SELECT count(*) FROM ({body})").fetchone()
    parts = -(-(counted[0] if counted else 0) // rows)
    return f"SELECT * FROM ({body}) WHERE hash(_file, _row) % {parts} = 0" if parts > 1 else body


def _make(connection: duckdb.DuckDBPyConnection, name: str, body: str) -> None:
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    connection.execute(f"CREATE OR REPLACE VIEW raw.{identifier(name)} AS {body}")


@contextmanager
def _scratch(env: Environment) -> Generator[Path]:
    """A folder on the file system of the published versions, that is gone afterwards; what a killed plan left goes too."""
    home = env.warehouse / "plans"
    with exclusive_lock(env.state / "locks" / "plan.lock"):
        shutil.rmtree(home, ignore_errors=True)
        folder = home / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(home, ignore_errors=True)
