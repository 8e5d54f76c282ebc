"""dbt projects that benchmarks write, and the warm parent that ours forks dbt from."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

_PARENT = """
import sys
from pathlib import Path
from caudal.forking.server import Server
from caudal.transform.preloading import preload
from caudal.transform.project import Project, prepare_manifest
prepare_manifest(Project(Path(sys.argv[2]), Path(sys.argv[3])))
preload()
Server(Path(sys.argv[1])).serve(on_ready=lambda: print("ready", flush=True))
"""

_PROFILE = """
bench:
  target: local
  outputs:
    local:
      type: duckdb
      path: "{{ env_var('CAUDAL_DUCKDB_PATH') }}"
      threads: 1
      config_options:
        extension_directory: "{{ env_var('CAUDAL_DUCKDB_EXTENSIONS', '') }}"
"""

_PROJECT = """
name: bench
profile: bench
version: '1.0'
flags: {send_anonymous_usage_stats: false}
models: {bench: {+materialized: table}}
"""


def write_project(folder: Path, models: Mapping[str, str], tests: Collection[str]) -> Path:
    """A project of these tables, by name, on whose columns `id` are these tests."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "profiles.yml").write_text(_PROFILE)
    (folder / "dbt_project.yml").write_text(_PROJECT)
    tested = [f"  - {{name: {name}, columns: [{{name: id, data_tests: [{', '.join(tests)}]}}]}}\n" for name in models]
    (folder / "models" / "models.yml").write_text("models:\n" + "".join(tested))
    for name, sql in models.items():
        (folder / "models" / f"{name}.sql").write_text(f"{sql}\n")
    return folder


def beside_warm_parent(folder: Path, state: Path, socket: Path) -> None:
    """Have this process fork dbt from a parent that has it, and the project, loaded. The parent ends with this process."""
    from caudal.forking.server import ADDRESS

    command = [sys.executable, "-c", _PARENT, str(socket), str(folder), str(state)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    atexit.register(parent.kill)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    os.environ[ADDRESS] = str(socket)
