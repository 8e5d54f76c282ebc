"""DuckDB with the signed extensions that installed packages bring. Nothing is downloaded at run time."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

EXTENSIONS = ("delta",)


def link_extensions(env: Environment, connection: duckdb.DuckDBPyConnection | None = None) -> Path:
    """DuckDB's `extension_directory`, in which each installed extension package is linked where DuckDB looks for it.

    With it a plain `SELECT` from a raw view loads the Delta extension by itself, in dbt and in any tool that sets it.

    Args:
        connection: one that is open, which spares opening another.
    """
    import duckdb

    version = duckdb.__version__
    folder = env.duckdb_extensions / f"v{version}" / _platform(connection)
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


def verified_extensions(env: Environment) -> tuple[Path, ...]:
    """The installed extensions. DuckDB has verified the signature of each, as it stands on disk, at least once."""
    import duckdb

    folder = link_extensions(env)
    paths = tuple(_installed(name, duckdb.__version__) for name in EXTENSIONS)
    found = {str(path): _identity(path) for path in paths}
    record = folder / "verified.json"
    try:
        known = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        known = None
    if known != found:
        with duckdb.connect(config={"extension_directory": str(folder)}) as connection:
            for path in paths:
                connection.load_extension(str(path))
        with write_atomically(record) as temporary:
            temporary.write_text(json.dumps(found))
    return paths


def connect_file(env: Environment, path: Path) -> duckdb.DuckDBPyConnection:
    """A database file, writable, with the extensions loaded.

    DuckDB hashes all of an extension to verify it whenever a database loads it: 0.2 s and 0.35 s of processors for `delta`. So
    these are loaded unverified, since they have been verified before, and after them no unverified one can be.
    """
    import duckdb

    extensions = verified_extensions(env)
    config = {"extension_directory": str(env.duckdb_extensions), "allow_unsigned_extensions": "true"}
    connection = duckdb.connect(str(path), config={**config})
    for extension in extensions:
        connection.load_extension(str(extension))
    connection.execute("SET allow_unsigned_extensions = false")  # and DuckDB lets nobody set it again
    return connection


def connect_memory(env: Environment, memory_limit: str = "2GB") -> duckdb.DuckDBPyConnection:
    """A private in-memory database that spills to disk, for work whose result is a file."""
    import duckdb

    spill = env.state / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "extension_directory": str(env.duckdb_extensions),
            "temp_directory": str(spill),
            "memory_limit": memory_limit,
            "autoinstall_known_extensions": False,
        }
    )
    link_extensions(env, connection)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _installed(name: str, version: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"DuckDB's extension {name} is not installed; expected the package duckdb-extension-{name}=={version}"
        )
    return Path(spec.origin).parent / "extensions" / f"v{version}" / f"{name}.duckdb_extension"


def _identity(path: Path) -> list[int]:
    """Differs whenever somebody wrote to the file, or put another one in its place."""
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _platform(connection: duckdb.DuckDBPyConnection | None = None) -> str:
    """What DuckDB calls this machine."""
    if connection is None:
        return _asked_platform()
    row = connection.execute("PRAGMA platform").fetchone()
    assert row is not None
    return row[0]


@cache
def _asked_platform() -> str:
    import duckdb

    with duckdb.connect() as connection:
        return _platform(connection)
