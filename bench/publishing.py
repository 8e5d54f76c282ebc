"""Audit and publish, against plain dbt builds in place, on the same marts.

Ten marts of 100 MB, each with two tests, are there already and are built again; and one small mart beside them. Against is `dbt
build` of the same nodes in the file that readers have open, with the same warm dbt: what a failed test finds is then already
there, and readers and builder shut each other out. Ours copies the file, builds in the copy, records, flushes and publishes it.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.dbt_project import beside_warm_parent, write_project
from bench.frame import Comparison, Options, Side

MARTS = 10
ROWS = 3_200_000
SMALL = "small"


def comparisons(options: Options) -> Iterator[Comparison]:
    """All of it, and a small part of it."""
    folder = str(_project(options.cache / "publishing", int(ROWS * options.scale)))
    size = f"{options.scale:.3g} GB of marts"
    for name, select, goal in (
        (f"{size}, all built again", None, 1.15),
        (f"one small mart beside {size} (the copy is not free: no reflinks on ext4)", SMALL, None),
    ):
        yield Comparison(
            name,
            ours=Side("bench.publishing:ours", folder, select),
            against=Side("bench.publishing:in_place", folder, select),
            against_name="plain dbt build",
            at_most=goal,
        )


def ours(folder: str, select: str | None) -> Callable[[], object]:
    """Candidate, build, audit, publish."""
    from caudal.transform.build import build
    from caudal.transform.selection import resolve
    from caudal.transform.settling import settle
    from caudal.warehouse.candidate import open_candidate

    env, project, manifest = _prepared(folder)

    def publish(chosen: str | None) -> None:
        selected = resolve(manifest, _nodes(manifest, chosen))
        with open_candidate(env) as candidate:

            def run(nodes):
                return build(project, manifest, database=candidate.path, select=nodes)

            result = settle(run(selected), selected, candidate.restore, candidate.holds, run)
            assert not result.held_back
            candidate.publish([manifest.nodes[u].relation for u in result.passed])

    publish(None)
    return lambda: publish(select)


def in_place(folder: str, select: str | None) -> Callable[[], object]:
    """The same nodes in one file."""
    from caudal.transform.build import build

    env, project, manifest = _prepared(folder)
    database = env.data / "warehouse.duckdb"

    def run(chosen: str | None) -> None:
        assert not build(project, manifest, database=database, select=_nodes(manifest, chosen)).held_back

    run(None)
    return lambda: run(select)


def _nodes(manifest, chosen: str | None) -> list[str] | None:
    if chosen is None:
        return None
    (node,) = [n for n in manifest.nodes.values() if n.key[-1] == chosen]
    return [node.unique_id, *(u for u, check in manifest.checks.items() if check.attached_to == node.unique_id)]


def _prepared(folder: str):
    from caudal.environment import Environment
    from caudal.transform.manifest import read_manifest
    from caudal.transform.project import Project, prepare_manifest
    from caudal.warehouse.engine import verified_extensions

    data = Path(tempfile.mkdtemp(prefix="caudal-publishing-", dir=Path(folder).parent))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    env = Environment("local", "bench", data, data)
    trusted = verified_extensions(env)
    project = Project(Path(folder), env.state / "dbt", extensions=env.duckdb_extensions, trusted_extensions=trusted)
    manifest = read_manifest(prepare_manifest(project))
    beside_warm_parent(project.folder, project.state, Path(tempfile.mkdtemp(prefix="caudal-"), "parent"))
    return env, project, manifest


def _project(work: Path, rows: int) -> Path:
    columns = ", ".join(f"hash(i + {seed}) as c{seed}" for seed in range(4))
    sizes = {**{f"mart_{number}": rows for number in range(MARTS)}, SMALL: 1_000}
    models = {name: f"select i as id, {columns} from range({count}) t(i)" for name, count in sizes.items()}
    return write_project(work / f"marts-{rows}", models, ["not_null", "unique"])
