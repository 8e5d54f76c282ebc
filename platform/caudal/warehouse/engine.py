"""DuckDB with the signed extensions that installed packages bring. Nothing is downloaded at run time."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

EXTENSIONS = ("delta",)


def link_extensions(env: Environment) -> Path:
    """DuckDB's `extension_directory`, in which each installed extension package is linked where DuckDB looks for it.

    With it a plain `SELECT` from a raw view loads the Delta extension by itself, in dbt and in any tool that sets it.
    """
    import duckdb

    version = duckdb.__version__
    platform_name = _platform()
    folder = env.duckdb_extensions / f"v{version}" / platform_name
    folder.mkdir(parents=True, exist_ok=True)
    for name in EXTENSIONS:
        link = folder / f"{name}.duckdb_extension"
        target = _installed(name, version)
        if link.is_symlink() and link.readlink() == target:
            continue
        link.unlink(missing_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(target)
    return env.duckdb_extensions


def connect_memory(env: Environment, memory_limit: str = "2GB") -> duckdb.DuckDBPyConnection:
    """A private in-memory database that spills to disk, for work whose result is a file."""
    import duckdb

    spill = env.state / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "extension_directory": str(link_extensions(env)),
            "temp_directory": str(spill),
            "memory_limit": memory_limit,
            "autoinstall_known_extensions": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _installed(name: str, version: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"DuckDB's extension {name} is not installed; expected the package duckdb-extension-{name}=={version}"
        )
    return Path(spec.origin).parent / "extensions" / f"v{version}" / f"{name}.duckdb_extension"


def _platform() -> str:
    import duckdb

    with duckdb.connect() as connection:
        row = connection.execute("PRAGMA platform").fetchone()
    assert row is not None
    return row[0]
