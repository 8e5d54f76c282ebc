"""What Caudal needs of the machine that it runs on, in every environment."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from caudal.environment import Environment
from caudal.runtime.doctor.checks import Check, failed, ok, skipped
from caudal.store import StoreError, local_folder, open_store

#: What a day's work may write; below it a candidate cannot be copied.
_FREE_BYTES = 2 * 2**30
_OLDEST, _NEWEST = (3, 11), (3, 13)
#: What the environment `gcp` needs, with the packages of the extra that bring it.
_CLOUD = ("google.cloud.bigquery", "google.cloud.bigquery_storage", "gcsfs", "dagster_gcp", "dbt.adapters.bigquery")


def machine_checks(env: Environment) -> Iterator[Check]:
    """Python, packages, the checkout, the folder of data, and a lake that is elsewhere."""
    yield _python()
    yield _packages(env)
    yield _engine(env)
    yield _checkout(env)
    yield _data(env)
    if env.cloud is None or env.lake_elsewhere:
        yield from _lake(env)


def _python() -> Check:
    here = sys.version_info[:2]
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if _OLDEST <= here <= _NEWEST:
        return ok("Python", found)
    return failed("Python", f"{found}; expected 3.11 to 3.13", "make run PYTHON=/path/to/python3.13")


def _packages(env: Environment) -> Check:
    if env.cloud is None:
        return ok("packages", f"Dagster {version('dagster')}, dbt {version('dbt-core')}, DuckDB {version('duckdb')}")
    missing = [name for name in _CLOUD if not _there(name)]
    if missing:
        return failed("packages", f"not installed: {', '.join(missing)}", "uv sync --extra gcp, or pip install 'caudal[gcp]'")
    return ok(
        "packages", f"the extra `gcp`: google-cloud-bigquery {version('google-cloud-bigquery')}, gcsfs {version('gcsfs')}"
    )


def _engine(env: Environment) -> Check:
    """DuckDB, which reads raw tables here, and what comes from BigQuery there."""
    from caudal.warehouse.engine import connect_memory

    try:
        connect_memory(env).close()
    except Exception as broken:  # noqa: BLE001 - whatever it is, it is what the person has to know
        return failed("DuckDB", f"cannot be opened with its extensions: {broken}", "install the packages of uv.lock again")
    return ok("DuckDB", "opens with its extensions")


def _checkout(env: Environment) -> Check:
    from caudal.runtime.services import WorkspaceError, code_locations

    try:
        locations = code_locations(env.root / "workspace.yaml")
    except WorkspaceError as wrong:
        return failed("checkout", str(wrong), "set CAUDAL_ROOT to the folder of workspace.yaml")
    names = [location.name for location in locations]
    if env.company not in names:
        return failed("checkout", f"{env.root} has {', '.join(names)}, not {env.company}", "set CAUDAL_COMPANY")
    return ok("checkout", f"{env.root} with {', '.join(names)}")


def _data(env: Environment) -> Check:
    name = f"data {env.data}"
    try:
        env.data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=env.data):
            pass
    except OSError as refused:
        return failed(name, f"cannot be written: {refused.strerror}", "set CAUDAL_DATA to a folder that this user may write")
    free = shutil.disk_usage(env.data).free
    found = f"writable, {free / 2**30:,.1f} GiB free"
    return ok(name, found) if free >= _FREE_BYTES else failed(name, found, f"free {_FREE_BYTES / 2**30:.0f} GiB")


def _lake(env: Environment) -> Iterator[Check]:
    name = f"lake {env.lake_url}"
    if local_folder(env.lake_url) is not None:
        yield ok(name, "a folder") if env.lake.is_dir() or env.lake_elsewhere is None else skipped(name, "not there yet")
        return
    try:
        next(iter(open_store(env.lake_url, env.acts_as).list("caudal-doctor-asks")), None)
    except StoreError as refused:
        yield failed(name, str(refused))
    else:
        yield ok(name, "can be listed")


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, PackageNotFoundError):
        return False
