"""dbt models through Dagster, against dagster-dbt on the same project.

Each model is a small table with a test. The whole step is measured: candidate copied, built, tested, described and published,
and its events stored. Both store them in the same kind of instance. Ours runs where runs do: beside a parent that dbt is forked
from, whose CPU is not in the table.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.dbt_project import beside_warm_parent, write_project
from bench.frame import Comparison, Options, Side


def comparisons(options: Options) -> Iterator[Comparison]:
    """One model and twenty, and twenty with the row counts and columns that ours always has."""
    work = options.cache / "dbt_step"
    for models, described, goal in ((20, False, 0.16), (1, False, None), (20, True, None)):
        folder = str(_project(work, models))
        yield Comparison(
            f"{models} small model{'s' if models > 1 else ''} and their tests",
            ours=Side("bench.dbt_step:ours", folder),
            against=Side("bench.dbt_step:dagster_dbt", folder, described),
            against_name=f"dagster-dbt{', rows and columns fetched' if described else ''}",
            at_most=goal,
        )


def ours(folder: str) -> Callable[[], object]:
    """The step as `transform.assets` makes it, in a process beside a warm parent."""
    from caudal.environment import Environment
    from caudal.transform.assets import dbt_assets
    from caudal.transform.manifest import read_manifest
    from caudal.transform.project import Project, prepare_manifest
    from caudal.warehouse.candidate import open_candidate

    data = Path(tempfile.mkdtemp(prefix="caudal-dbt-"))
    env = Environment("local", "bench", data, data)
    project = Project(Path(folder), env.state / "dbt", extensions=env.duckdb_extensions)
    definition = dbt_assets(env, project, read_manifest(prepare_manifest(project)), [])
    beside_warm_parent(project.folder, project.state, data / "parent")
    with open_candidate(env) as candidate:
        with candidate.connect():
            pass
        candidate.publish()
    return _materialize(definition, {})


def dagster_dbt(folder: str, described: bool) -> Callable[[], object]:
    """The step as dagster-dbt's documentation has it."""
    import dagster as dg
    from dagster_dbt import DbtCliResource
    from dagster_dbt import dbt_assets as of_dagster_dbt

    data = Path(tempfile.mkdtemp(prefix="dagster-dbt-"))
    os.environ |= {"CAUDAL_DUCKDB_PATH": str(data / "warehouse.duckdb"), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    os.environ["DBT_TARGET_PATH"] = str(data / "target")
    dbt = DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=str(Path(sys.executable).with_name("dbt")))
    dbt.cli(["parse"], target_path=data / "parsed").wait()

    @of_dagster_dbt(manifest=data / "parsed" / "manifest.json")
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[object]:
        events = dbt.cli(["build"], context=context).stream()
        yield from events.fetch_row_counts().fetch_column_metadata() if described else events

    return _materialize(models, {"dbt": dbt})


def _materialize(definition, resources) -> Callable[[], object]:
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    home = tempfile.mkdtemp(prefix="dagster-home-")
    storage = "storage:\n  custom: {module: caudal.runtime.storage, class: LocalStorage}\n"
    Path(home, "dagster.yaml").write_text(f"{storage}telemetry:\n  enabled: false\n")
    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(home))

    def run() -> None:
        assert dg.materialize([definition], instance=instance, resources=resources, raise_on_error=False).success

    return run


def _project(work: Path, models: int) -> Path:
    above = {n: "range(1000) t(id)" if n % 5 == 0 else f"{{{{ ref('model_{n - 1}') }}}}" for n in range(models)}
    written = {f"model_{n}": f"select id, id % 7 as day, {n} as number from {read}" for n, read in above.items()}
    return write_project(work / f"models-{models}", written, ["not_null"])
