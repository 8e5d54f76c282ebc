"""`caudal plan` on a company with 500 dbt models: `python -m bench.plan`. Each figure is one process from start to end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = 500
_LAYERS = 10
_DEFINITIONS = """
import dagster as dg
from caudal.runtime.location import code_location
@dg.definitions
def defs() -> dg.Definitions:
    return code_location("many")
"""
_DEFS = """
type: caudal.lake.component.Datasets
attributes:
  source: till
  datasets: [{name: sales, format: csv, contract: contracts/sales.odcs.yaml, path: "*.csv"}]
---
type: caudal.transform.component.DbtProject
attributes: {project: many/dbt}
"""
_CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties: [{name: item, logicalType: string}, {name: amount, logicalType: number}]
"""
_PROJECT = """
name: many
version: "1.0"
profile: many
models: {many: {+schema: marts, +materialized: table}}
"""
_PROFILES = """
many: {target: local, outputs: {local: {type: duckdb, path: "{{ env_var('CAUDAL_DUCKDB_PATH', ':memory:') }}", threads: 1}}}
"""
_SOURCES = "sources: [{name: till, schema: raw, tables: [{name: sales, identifier: till__sales}]}]\n"


def main() -> None:
    """Print the seconds of each kind of plan."""
    with tempfile.TemporaryDirectory(prefix="caudal-bench-") as folder:
        root = Path(folder, "checkout")
        _write(root)
        for command in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            ["-c", "user.name=b", "-c", "user.email=b", "commit", "-qm", "m"],
        ):
            subprocess.run(["git", "-C", root, *command], check=True)
        data = Path(folder, "data")
        _say(
            "load definitions, nothing parsed yet",
            _timed(
                root,
                data,
                "-c",
                "import caudal.runtime.plan.taking as t; "
                "from caudal.environment import Environment as E; t.take(E.current('many'), 'x')",
            ),
        )
        _edit(root)
        _say("plan against a commit, never looked at", _timed(root, data, "-m", "caudal.cli", "plan", "--against", "main"))
        _say("plan against the same commit, once more", _timed(root, data, "-m", "caudal.cli", "plan", "--against", "main"))
        _say(
            "plan against what is deployed",
            _timed(root, data, "-m", "caudal.cli", "plan", before="caudal.runtime.plan.deployed"),
        )
        other = Path(folder, "other")
        _say(
            "plan against a commit in CI, nothing parsed", _timed(root, other, "-m", "caudal.cli", "plan", "--against", "main")
        )


def _write(root: Path) -> None:
    models = root / "many/dbt/models"
    for layer in range(_LAYERS):
        (models / "marts" / f"layer{layer}").mkdir(parents=True)
    for number in range(MODELS):
        layer, parents = number * _LAYERS // MODELS, {number - 1, number * 7 // 8, number // 2}
        read = [f'{{{{ ref("m{each}") }}}}' for each in sorted(parents) if 0 <= each < number] or [
            '{{ source("till", "sales") }}'
        ]
        joined = "\nunion all select item, amount from ".join(read)
        sql = f"select item, sum(amount) as amount from (select item, amount from {joined}) group by item\n"
        (models / "marts" / f"layer{layer}" / f"m{number}.sql").write_text(sql)
    described = [
        f"  - {{name: m{n}, description: Model {n}., columns: [{{name: item, data_type: varchar, data_tests: [not_null]}}, "
        f"{{name: amount, data_type: double}}]}}"
        for n in range(MODELS)
    ]
    (models / "models.yml").write_text("\n".join(["models:", *described, ""]))
    (models / "sources.yml").write_text(_SOURCES)
    (root / "many/dbt/dbt_project.yml").write_text(_PROJECT)
    (root / "many/dbt/profiles.yml").write_text(_PROFILES)
    contracts = root / "many/defs/sales/contracts"
    contracts.mkdir(parents=True)
    (contracts / "sales.odcs.yaml").write_text(_CONTRACT)
    (root / "many/defs/sales/defs.yaml").write_text(_DEFS)
    for package in ("many", "many/defs"):
        (root / package / "__init__.py").write_text("")
    (root / "many/definitions.py").write_text(_DEFINITIONS)
    (root / "workspace.yaml").write_text(
        "load_from:\n  - python_module: {module_name: many.definitions, location_name: many}\n"
    )


def _edit(root: Path) -> None:
    for number in (3, 100, 400):
        (path,) = (root / "many/dbt/models/marts").glob(f"*/m{number}.sql")
        path.write_text(path.read_text().replace("sum(amount)", "sum(amount) + 1"))


def _timed(root: Path, data: Path, *arguments: str, before: str | None = None) -> tuple[float, float, str]:
    places = {"CAUDAL_ROOT": str(root), "CAUDAL_DATA": str(data), "CAUDAL_COMPANY": "many", "PYTHONPATH": str(root)}
    environment = os.environ | places | {"PYTHONWARNINGS": "ignore"}
    if before is not None:
        subprocess.run([sys.executable, "-m", before, "many"], cwd=root, env=environment, check=True, capture_output=True)
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return seconds, processor, (done.stdout.strip().splitlines() or [""])[-1]


def _say(what: str, timed: tuple[float, float, str]) -> None:
    seconds, processor, told = timed
    print(f"{what:45} {seconds:6.1f} s, {processor:6.1f} s of processors   {told}", flush=True)


if __name__ == "__main__":
    main()
