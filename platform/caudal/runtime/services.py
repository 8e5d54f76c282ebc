"""What `caudal up` runs: one code server a code location, the webserver, the daemon and the API, on loopback.

The webserver and the daemon share the code servers: the workspace that they read, generated beside Dagster's other state,
holds sockets, not modules. A code server is `dagster api grpc`: one process where `dagster code-server` has two; what
the latter adds, reloading, is done here by restarting it.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caudal.environment import Environment
from caudal.runtime.lock import AlreadyUp, only_one
from caudal.runtime.sockets import folder_of_user, mark_of, place_of_socket
from caudal.runtime.supervisor import Service

HOST = "127.0.0.1"
_DAGSTER = (sys.executable, "-m", "dagster")
#: What more than one service imports: the nursery has it for all.
SHARED_MODULES = (
    "dagster",
    "dagster._cli",
    "dagster._core.workspace.context",
    "dagster._core.workspace.load_target",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "dagster._core.instance.factory",
    "dagster._core.definitions.external_asset",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._grpc.client",
    "dagster._grpc.server",
    "caudal.runtime.compute_logs",
    "caudal.runtime.location",
    "caudal.runtime.observation",
    "caudal.runtime.storage",
    "caudal.runtime.warm.launcher",
    "caudal.runtime.warm.queue",
    "sqlalchemy.dialects.sqlite",
    "alembic.command",
    "alembic.script",
    "fsspec.implementations.local",
    "multiprocessing.queues",
    "starlette.applications",
    "starlette.staticfiles",
    "upath.implementations.local",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "yaml",
)
#: Without the proxies that the environment may name: they know nothing of this machine's loopback.
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class WorkspaceError(ValueError):
    """`workspace.yaml` is not what `caudal up` understands."""


@dataclass(frozen=True)
class CodeLocation:
    """An entry of `workspace.yaml`: the module whose definitions are one code location."""

    name: str
    module: str


@dataclass(frozen=True)
class Addresses:
    """Ports on loopback."""

    dagster_port: int
    api_port: int

    @property
    def dagster(self) -> str:
        return f"http://{HOST}:{self.dagster_port}"

    @property
    def api(self) -> str:
        return f"http://{HOST}:{self.api_port}"


def code_locations(workspace: Path) -> tuple[CodeLocation, ...]:
    """The code locations that a `workspace.yaml` declares.

    Raises:
        WorkspaceError: the file is missing, is empty, or has an entry that is not a `python_module`.
    """
    import yaml

    try:
        entries = (yaml.safe_load(workspace.read_text(encoding="utf-8")) or {}).get("load_from") or []
    except FileNotFoundError:
        raise WorkspaceError(f"{workspace} does not exist; it names the code locations, one `python_module` each") from None
    found = []
    for entry in entries:
        module = entry.get("python_module") if isinstance(entry, dict) else None
        if isinstance(module, str):
            module = {"module_name": module}
        if not isinstance(module, dict) or "module_name" not in module:
            raise WorkspaceError(
                f"{workspace}: found {json.dumps(entry)}; expected `python_module:` with `module_name` and `location_name`"
            )
        found.append(CodeLocation(module.get("location_name", module["module_name"]), module["module_name"]))
    if not found:
        raise WorkspaceError(f"{workspace} names no code location; add a `python_module` below `load_from`")
    return tuple(found)


def socket_of(env: Environment, location: CodeLocation) -> Path:
    """Where the code server of `location` listens: always the same place for the same data."""
    beside = env.dagster_home / "sockets" / f"{location.name}.sock"
    return place_of_socket(beside, f"{mark_of(beside)}.sock")


def prepare(env: Environment, locations: tuple[CodeLocation, ...]) -> None:
    """Make Dagster's home ready: its settings, and a workspace that points to the code servers."""
    import yaml

    env.dagster_home.mkdir(parents=True, exist_ok=True)
    settings = env.root / "deploy" / "local" / "dagster.yaml"
    _write_if_different(
        env.dagster_home / "dagster.yaml",
        f"# Generated from {settings.relative_to(env.root)} at every start. Change that file, not this one.\n"
        + settings.read_text(encoding="utf-8"),
    )
    remove_sockets(env, locations)
    entries = []
    for location in locations:
        place = socket_of(env, location)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries.append({"grpc_server": {"socket": str(place), "location_name": location.name}})
    _write_if_different(
        workspace_of(env),
        "# Generated from workspace.yaml at every start: the same code locations, as sockets of their code servers.\n"
        + yaml.safe_dump({"load_from": entries}, sort_keys=False),
    )


def workspace_of(env: Environment) -> Path:
    """The generated workspace."""
    return env.dagster_home / "workspace.yaml"


def code_server(env: Environment, location: CodeLocation) -> Service:
    """The service that holds the definitions of `location`. It executes a run only if no worker can be forked (`warm`)."""
    # Lazy: definitions that cannot be loaded are shown in the UI, and the server lives on.
    grpc = (*_DAGSTER, "api", "grpc", "--module-name", location.module, "--working-directory", str(env.root))
    options = ("--socket", str(socket_of(env, location)), "--location-name", location.name, "--lazy-load-user-code")
    # It would wait for a sensor that holds its tick.
    return Service(f"code-{location.name}", grpc + options, grace_s=2.0)


def webserver(env: Environment, addresses: Addresses) -> Service:
    """Dagster's UI, for the person at this machine or, where `CAUDAL_ACCESS` says so, for people who sign in."""
    serve = (sys.executable, "-m", "caudal.runtime.access", "serve", "--workspace", str(workspace_of(env)), "--host", HOST)
    return Service("webserver", (*serve, "--port", str(addresses.dagster_port)))


def daemon(env: Environment) -> Service:
    """Dagster's daemon: sensors, schedules, automation, the run queue."""
    return Service(
        "daemon", (sys.executable, "-m", "caudal.runtime.daemon", "--workspace", str(workspace_of(env))), stops_first=True
    )


def api(env: Environment, addresses: Addresses) -> Service:
    """The HTTP API of the company."""
    serve = (sys.executable, "-m", "caudal.serving.api", "--company", env.company, "--host", HOST)
    return Service("api", (*serve, "--port", str(addresses.api_port)))


def variables(env: Environment, inherited: dict[str, str]) -> dict[str, str]:
    """The environment variables of every service: the same place for all, no telemetry, no idle threads that spin."""
    return {
        **inherited,
        "CAUDAL_ENV": env.name,
        "CAUDAL_COMPANY": env.company,
        "CAUDAL_ROOT": str(env.root),
        "CAUDAL_DATA": str(env.data),
        "DAGSTER_HOME": str(env.dagster_home),
        # A tick of the automation policy looks at events up to one moment only. Without this, those that arrive while it looks
        # are seen by some of its conditions and not by others, and a run in full flow is taken for news.
        "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "0.2",
        # The materializations of one output, such as a thousand partitions, are stored as one change.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        # macOS ends a forked process that comes near its frameworks, unless it is told that this is meant.
        **({"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"} if sys.platform == "darwin" else {}),
    }


def free_port(preferred: int, held: ExitStack) -> int:
    """`preferred`, or else one of the next twenty, or else any that is free on loopback.

    No other `caudal up` of this user is given it until `held` is closed: it is chosen seconds before somebody listens there.
    """
    for port in (*range(preferred, preferred + 20), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found = probe.getsockname()[1]
        try:
            held.enter_context(only_one(folder_of_user() / "ports" / f"{found}.lock"))
        except AlreadyUp:
            continue
        return found
    raise OSError("no port is free on loopback")


def api_answers(addresses: Addresses) -> bool:
    """Whether the API answers at all; what it answers is its own matter."""
    try:
        with _LOOPBACK.open(f"{addresses.api}/openapi.json", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def locations_loaded(addresses: Addresses, token: str | None = None) -> dict[str, str | None] | None:
    """For each code location, None or why it cannot be loaded. None instead of it all while one is not there yet."""
    query = (
        "{workspaceOrError{... on Workspace{locationEntries{name loadStatus "
        "locationOrLoadError{__typename ... on PythonError{message causes{message}}}}}}}"
    )
    request = urllib.request.Request(  # noqa: S310 - the address is on loopback
        f"{addresses.dagster}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with _LOOPBACK.open(request, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
    except OSError:
        return None
    entries = found["data"]["workspaceOrError"].get("locationEntries") or []
    if not entries or any(entry["loadStatus"] != "LOADED" or not entry["locationOrLoadError"] for entry in entries):
        return None
    found_errors = {entry["name"]: _load_error(entry["locationOrLoadError"]) for entry in entries}
    if any(error is not None and "DagsterUserCodeUnreachableError" in error for error in found_errors.values()):
        return None  # its code server is slower to start than the webserver, which will try again
    return found_errors


def _load_error(answer: dict[str, Any]) -> str | None:
    """What the webserver says of a location that cannot be loaded, the first cause last; None if it could."""
    if "message" not in answer:
        return None
    return "\n".join(error["message"].strip() for error in (answer, *answer["causes"]))


def remove_sockets(env: Environment, locations: tuple[CodeLocation, ...]) -> None:
    """Remove what the code servers listened on. The folder for long paths goes with its last socket."""
    for location in locations:
        place = socket_of(env, location)
        place.unlink(missing_ok=True)
        if place.parent != env.dagster_home / "sockets" and place.parent.is_dir() and not any(place.parent.iterdir()):
            shutil.rmtree(place.parent, ignore_errors=True)


def _write_if_different(path: Path, text: str) -> None:
    from caudal.store import write_atomically

    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
