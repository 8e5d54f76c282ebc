"""`caudal up` of a company of assets that write down what they do, to be killed in parts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from caudal.environment import Environment
from caudal.runtime import guardian
from tests.launching import LAUNCH, launch_of

REPOSITORY = Path(__file__).resolve().parents[2]

DEFINITIONS = """
import os, time
from pathlib import Path
import dagster as dg

HOME = Path(os.environ["CAUDAL_DATA"])

def told(context, word):
    line = f"{word} {context.run_id} {context.op.name}\\n".encode()
    descriptor = os.open(HOME / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)

def made(name, seconds, deps=()):
    @dg.asset(name=name, deps=list(deps))
    def asset(context):
        told(context, "began")
        time.sleep(seconds)
        told(context, "ended")
        return dg.MaterializeResult(metadata={"at": time.time()})
    return asset

@dg.sensor(name="bell", minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING, asset_selection=["rung"])
def bell(context):
    for file in sorted(HOME.glob("ring-*")):
        yield dg.RunRequest(run_key=file.name)

defs = dg.Definitions(
    assets=[made("flour", 0.05), made("dough", 1.0, ["flour"]), made("bread", 0.1, ["dough"]), made("rung", 0.01)],
    sensors=[bell],
    executor=dg.in_process_executor,
)
"""

#: As the command line does it, with an API that needs nothing. What is killed again and again is started again and again.
PROGRAM = """
import sys
from caudal.environment import Environment
from caudal.runtime import services, supervisor, up
from caudal.runtime.supervisor import Service

supervisor.STEADY_S = 0.0
services.api = lambda env, at: Service("api", (sys.executable, "-m", "http.server", str(at.api_port), "--bind", "127.0.0.1"))
ports = up.Settings(dagster_port=int(sys.argv[1]), api_port=int(sys.argv[1]) + 50)
sys.exit(up.up(Environment.current("bakery"), settings=ports))
"""

#: What a process is, if it was started and not forked: by what stands in its command line.
_STARTED_AS = {
    "guardian.py watch": "guardian",
    "caudal.forking": "nursery",
    "api grpc": "code-bakery",
    "caudal.runtime.daemon": "daemon",
    "caudal.runtime.access": "webserver",
    "dagster_webserver": "webserver",
    "caudal.runtime.warm.parent": "caudal parent",
    "caudal.runtime.observer": "observer",
    "http.server": "api",
}
_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def company(folder: Path) -> Environment:
    """A checkout of its own, of which `Environment.current` is this one in every process that `start` starts."""
    package = folder / "platform" / "bakery"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (folder / "deploy" / "local").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "local" / "dagster.yaml", folder / "deploy" / "local")
    (folder / "workspace.yaml").write_text(
        "load_from:\n  - python_module: {module_name: bakery.definitions, location_name: bakery}\n"
    )
    env = Environment("local", "bakery", folder, folder / "data")
    env.home.mkdir(parents=True)
    return env


def variables(env: Environment) -> dict[str, str]:
    places = {"PYTHONPATH": env.root / "platform", "CAUDAL_ROOT": env.root, "CAUDAL_DATA": env.data, "CAUDAL_COMPANY": "bakery"}
    return {**os.environ, **{name: str(value) for name, value in places.items()}}


def start(env: Environment, port: int) -> subprocess.Popen[bytes]:
    """`caudal up`, its words in `said`."""
    with (env.data / "said").open("ab") as said:
        command = [sys.executable, "-c", PROGRAM, str(port)]
        return subprocess.Popen(command, env=variables(env), stdout=said, stderr=subprocess.STDOUT, start_new_session=True)


def ask(port: int, query: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the webserver answers.

    Raises:
        OSError: it does not, at the moment.
    """
    address = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query, "variables": values or {}}).encode(),
        headers={"Content-Type": "application/json", "Origin": address},
    )
    with _WITHOUT_PROXY.open(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def launch(port: int, *assets: str) -> str | None:
    """Ask for a run as the UI does; its id, or None if nobody is there to take it."""
    try:
        answer = ask(port, LAUNCH, launch_of(*assets))
    except (OSError, ValueError):
        return None
    return ((answer or {}).get("launchPipelineExecution") or {}).get("run", {}).get("runId")


def processes(env: Environment) -> dict[int, str]:
    """Everything that belongs to the platform, by process id: what the system calls it, and how it was started."""
    found = {}
    for pid in guardian.marked(f"{env.dagster_home}#", prefix=True):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        started_as = next((kind for words, kind in _STARTED_AS.items() if words in command), None)
        found[pid] = (started_as or name) if name.startswith("python") or started_as == "guardian" else name
    return found


def zombies(env: Environment) -> list[int]:
    """Children that ended and that nobody waited for, below any process of the platform."""
    ours = set(processes(env))
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) in ours:
                found.append(int(folder.name))
    return found


def until(true: Any, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.05)
