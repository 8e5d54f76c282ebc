"""A dbt project on disk, and its manifest, parsed once for each change of the project.

dbt is slow to import (1.8 to 3 s) and keeps global state, so it runs in a process of its own, and what it wrote is kept under
a key made of everything that its parser reads. Nothing is ever written into the project's folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from caudal.google_cloud import GoogleCloud
from caudal.store import exclusive_lock
from caudal.transform.columns.project import COLUMNS, READING
from caudal.transform.dbt_process import end, start

_LOGGER = logging.getLogger(__name__)

MANIFEST = "manifest.json"
#: dbt's own serialization of the manifest, which its runner can start from.
SERIALIZED = "partial_parse.msgpack"

#: What a manifest calls the project in Google Cloud. Its nodes' `database` says nothing: a build has its own placement.
STAND_IN = "project"

_PACKAGES = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb", "dbt-bigquery", "duckdb", "sqlglot")
_WRITTEN_BY_DBT = {"target", "logs"}
_KEPT_MANIFESTS = 5
_PARSE_TIMEOUT_S = 300
_MOST_EDITS_WHILE_PARSING = 5
#: Environment variables that say where the tables are, which changes nothing of what dbt reads in the project.
_OF_THE_PROCESS = (b"CAUDAL_DUCKDB_", b"CAUDAL_GCP_")
_ENV_VAR = re.compile(rb"env_var\(\s*['\"]([A-Za-z_][A-Za-z0-9_]*)['\"]")
_TIME_OF_DAY = re.compile(r"^\d\d:\d\d:\d\d(\.\d+)?  ?", re.MULTILINE)


_PREPARED: dict[tuple[Path, Path], tuple[Project, Path]] = {}


class ProjectError(RuntimeError):
    """dbt refuses the project. The message is dbt's, with file and line where it names them."""


@dataclass(frozen=True)
class Project:
    """A dbt project, and how it is run here.

    Attributes:
        folder: holds `dbt_project.yml` and `profiles.yml`; never written to.
        state: a writable folder of its own for manifests and invocations.
        catalog: the DuckDB database's name, which is its file's name without suffix; views hold it in their definitions.
        target: the profile's target.
        cloud: where the tables are in Google Cloud; None for a DuckDB file.
        variables: dbt's `--vars`.
        extensions: DuckDB's `extension_directory`, or None for an empty one.
        trusted_extensions: those that have been verified, as `warehouse.engine.verified_extensions` says.
        shipped: manifests that were made when the image was built, read before any is made; None if there are none.

    """

    folder: Path
    state: Path
    catalog: str = "warehouse"
    target: str = "local"
    cloud: GoogleCloud | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    extensions: Path | None = None
    trusted_extensions: tuple[Path, ...] = ()
    shipped: Path | None = None

    def flags(self) -> list[str]:
        """What every dbt command is told about the project."""
        folder = str(self.folder)
        return [
            *("--project-dir", folder, "--profiles-dir", folder, "--target", self.target),
            *("--vars", json.dumps(dict(self.variables))),
        ]

    def process_environment(self, database: Path | None = None) -> dict[str, str]:
        """The environment of a dbt process that works on `database`, which the profile names as `CAUDAL_DUCKDB_PATH`.

        On BigQuery it has the variables of `caudal.google_cloud`, all of them, each with what is in force.

        Args:
            database: None for a process that only reads the project. It is told no database, and of the project in Google
                Cloud no more than a stand-in for its name: what it finds out is the same everywhere.

        """
        told = {} if self.cloud is None else self.cloud.variables() if database else {"CAUDAL_GCP_PROJECT": STAND_IN}
        # dbt parses all again where the profile differs, which names the file.
        return (
            os.environ
            | told
            | {
                "CAUDAL_DUCKDB_PATH": str(database or self.state / f"{self.catalog}.duckdb"),
                "CAUDAL_DUCKDB_EXTENSIONS": str(self.extensions or self.state / "duckdb_extensions"),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                "DO_NOT_TRACK": "1",
                "PYTHONUNBUFFERED": "1",
            }
        )


def prepare_manifest(project: Project) -> Path:
    """The path of the project's `manifest.json`, up to date; dbt runs only if the project changed since it was made.

    Needs no database and no network. Any number of processes may ask at once: one parses, the others wait for it.

    Raises:
        ProjectError: dbt refuses the project.

    """
    manifest = _prepare(project)
    _PREPARED[project.folder, project.state] = project, manifest
    return manifest


def prepared() -> list[tuple[Project, Path]]:
    """The projects of which this process has asked for a manifest, and the newest of each."""
    return list(_PREPARED.values())


def ship_manifest(project: Project, shipped: Path) -> Path:
    """Make the manifest that a process with the same project at the same place will find in `shipped`; its path."""
    return _prepare(replace(project, state=shipped, shipped=None))


def _prepare(project: Project) -> Path:
    if not (project.folder / "dbt_project.yml").is_file():
        raise ProjectError(f"{project.folder} is not a dbt project: it has no dbt_project.yml")
    manifests, key = project.state / "manifests", _key(project)
    for home in (project.shipped and project.shipped / "manifests" / key, manifests / key):
        if home and (home / MANIFEST).is_file():
            return home / MANIFEST
    with exclusive_lock(project.state / "manifests.lock"):
        home = _parse_if_needed(project, manifests)
        _forget_all_but_newest(manifests)
    return home / MANIFEST


def _parse_if_needed(project: Project, manifests: Path) -> Path:
    """A manifest is filed only if the project was the same before and after dbt read it."""
    for _ in range(_MOST_EDITS_WHILE_PARSING):
        key = _key(project)
        if (manifests / key / MANIFEST).is_file():
            return manifests / key
        unfinished = manifests / f".{key}.{uuid.uuid4().hex[:8]}.tmp"
        unfinished.mkdir(parents=True)
        try:
            _parse(project, unfinished)
            if _key(project) == key:
                unfinished.replace(manifests / key)
                return manifests / key
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    raise ProjectError(f"{project.folder} changes faster than dbt can read it; let it be for some seconds, then reload")


def _parse(project: Project, target: Path) -> None:
    arguments = [
        *("--no-use-colors", "--log-level", "warn", "--log-level-file", "none", "--log-path", str(target / "logs")),
        *("parse", *_what_is_known(target.parent), "--target-path", str(target), *project.flags()),
    ]
    newest = _newest(target.parent)
    request = {"arguments": arguments, "folder": str(target), "previous": str(newest) if newest else None}
    status, output = _run_dbt(project, request, target)
    said = _TIME_OF_DAY.sub("", output).strip()
    if status != 0:
        raise ProjectError(f"dbt cannot parse the project in {project.folder}:\n{said or 'it gave no reason'}")
    if newest is not None and not (target / SERIALIZED).exists():  # dbt found all as it was, and then writes none
        with suppress(FileNotFoundError):
            shutil.copyfile(newest / SERIALIZED, target / SERIALIZED)
    if said:
        _LOGGER.warning("dbt warns about the project in %s:\n%s", project.folder, said)


def _what_is_known(manifests: Path) -> list[str]:
    """With these dbt reads only the files that changed since the newest manifest; all, if more than files changed."""
    newest = _newest(manifests)
    if newest is None or not (newest / SERIALIZED).is_file():
        return ["--no-partial-parse"]
    return ["--partial-parse", "--partial-parse-file-path", str(newest / SERIALIZED)]


def _newest(manifests: Path) -> Path | None:
    return max(_finished(manifests), key=lambda home: home.stat().st_mtime_ns, default=None)


def _run_dbt(project: Project, request: Mapping[str, Any], target: Path) -> tuple[int, str]:
    """The status of a dbt process that parses as `request` says, and what it said."""
    said = target / "said.txt"
    told, telling = os.pipe()
    with os.fdopen(telling, "wb") as standard_input, said.open("wb") as output:
        try:
            process = start(
                "parse",
                stdin=told,
                stdout=output.fileno(),
                stderr=output.fileno(),
                environment=project.process_environment(),
                folder=project.folder,
            )
        finally:
            os.close(told)
        try:
            with suppress(BrokenPipeError):
                standard_input.write(json.dumps({**request, "asked_by": os.getpid()}).encode() + b"\n")
                standard_input.flush()
            status = process.wait(_PARSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ProjectError(f"dbt has not read {project.folder} within {_PARSE_TIMEOUT_S} s; it was ended") from None
        finally:
            end(process)
    return status, said.read_text(encoding="utf-8", errors="replace")


def _forget_all_but_newest(manifests: Path) -> None:
    """Remove what processes that were killed left, and manifests that nothing has asked for lately."""
    finished = _finished(manifests)
    unfinished = [p for p in manifests.iterdir() if p.name.startswith(".")]
    finished.sort(key=lambda p: p.stat().st_mtime_ns)
    for old in (*unfinished, *finished[:-_KEPT_MANIFESTS]):
        shutil.rmtree(old, ignore_errors=True)


def _finished(manifests: Path) -> list[Path]:
    return [home for home in manifests.iterdir() if not home.name.startswith(".")]


def _key(project: Project) -> str:
    """Differs whenever dbt would parse something else: files, environment variables they read, flags, versions of dbt."""
    digest = hashlib.sha256()
    facts = [str(project.folder), project.target, project.catalog, dict(project.variables), sys.version_info[:2], _versions()]
    facts.append([COLUMNS, READING])
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    variables: set[bytes] = set()
    for path in _files(project.folder):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(project.folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
        variables.update(_ENV_VAR.findall(content))
    for name in sorted(v for v in variables if not v.startswith(_OF_THE_PROCESS)):
        digest.update(b"\0" + name + b"\0" + os.environb.get(name, b""))
    return digest.hexdigest()[:24]


def _files(folder: Path) -> Iterator[Path]:
    for directory, subdirectories, names in os.walk(folder):
        at_top = Path(directory) == folder
        subdirectories[:] = sorted(
            d for d in subdirectories if not d.startswith((".", "__")) and not (at_top and d in _WRITTEN_BY_DBT)
        )
        yield from (Path(directory, name) for name in sorted(names) if not name.startswith("."))


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
