"""dlt's filesystem source into DuckDB, in an environment of its own, made under the cache folder.

All but `interpreter` runs there, where nothing of this project is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REQUIREMENT = "dlt[duckdb,filesystem,parquet]==1.31.0"
PANDAS = "pandas<3"


def interpreter(cache: Path) -> str:
    """The Python of an environment that has dlt."""
    home = cache / "dlt-environment"
    python = home / "bin" / "python"
    if not (home / "finished").exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = shutil.which("uv")
        made = [uv, "venv", "--python", sys.executable, home] if uv else [sys.executable, "-m", "venv", home]
        install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run(made, check=True, capture_output=True)
        subprocess.run([*install, REQUIREMENT, PANDAS], check=True, capture_output=True)
        (home / "finished").touch()
    return str(python)


def loading(folder: str, file_format: str) -> Callable[[], object]:
    """Load all files of the folder into a database of its own."""
    work = Path(tempfile.mkdtemp(prefix="dlt-", dir=Path(folder).parent))
    return _measured(_pipeline(folder, file_format, work), work)


def loading_first(folder: str, file_format: str, state: str) -> Callable[[], object]:
    """Load all files of the folder, and keep database and state in the folder `state`."""
    return _pipeline(folder, file_format, Path(state))


def loading_more(folder: str, file_format: str, state: str, new: str) -> Callable[[], object]:
    """Load the file `new`, which is put into the folder beside those that `loading_first` loaded."""
    work = Path(tempfile.mkdtemp(prefix="dlt-", dir=Path(folder).parent))
    shutil.copytree(state, work, dirs_exist_ok=True)
    put = Path(folder) / f"new.{file_format}"
    shutil.copy(new, put)
    return _measured(_pipeline(folder, file_format, work), work, put)


def _pipeline(folder: str, file_format: str, work: Path) -> Callable[[], int]:
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    from dlt.sources.filesystem import filesystem, read_csv, read_jsonl, read_parquet

    reader = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}[file_format]
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.duckdb(str(work / "rows.duckdb")),
        dataset_name="raw",
        pipelines_dir=str(work / "pipelines"),
    )

    def run() -> int:
        files = filesystem(bucket_url=Path(folder).as_uri(), file_glob=f"*.{file_format}")
        files.apply_hints(incremental=dlt.sources.incremental("modification_date"))
        pipeline.run((files | reader()).with_name("rows"), write_disposition="append")
        return pipeline.last_trace.last_normalize_info.row_counts["rows"]

    return run


def _measured(run: Callable[[], int], work: Path, *put: Path) -> Callable[[], object]:
    def measured() -> None:
        try:
            assert run()
        finally:
            for path in (*put, work):
                path.unlink() if path.is_file() else shutil.rmtree(path)

    return measured
