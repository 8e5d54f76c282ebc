"""A small company on our platform and on stock Dagster: started, asked, measured and ended. For benchmarks of the runtime."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]

#: One asset, a chain of five, and many that do nothing. The executor is Dagster's own unless BENCH_EXECUTOR says otherwise.
DEFINITIONS = """
import os
import dagster as dg

def made(name, deps=()):
    @dg.asset(name=name, deps=list(deps))
    def asset():
        return dg.MaterializeResult(metadata={"rows": 1})
    return asset

in_process = os.environ.get("BENCH_EXECUTOR") == "in_process"
defs = dg.Definitions(
    assets=[made("one"), *(made(f"link{i}", [f"link{i - 1}"] if i else []) for i in range(5))],
    executor=dg.in_process_executor if in_process else None,
)
"""
_WORKSPACE = "load_from:\n  - python_module: {module_name: tiny.definitions, location_name: tiny}\n"
_LAUNCH = """
mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack } } }
"""
_STATUS = "query($r: ID!) { pipelineRunOrError(runId: $r) { ... on Run { status } } }"
_LOADED = """
query { workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }
"""
_DAEMONS = "query { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Platform:
    """A platform of its own folder and port. It ends with this process."""

    command: list[str]
    environment: dict[str, str]
    port: int
    location: str = "tiny"
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="caudal-bench-")))
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until its definitions can be asked for; seconds."""
        began = time.perf_counter()
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        atexit.register(self.stop)
        while not self.loaded():
            if self.process.poll() is not None or time.perf_counter() - began > 300:
                raise RuntimeError(f"it is not up:\n{(self.folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)
        return time.perf_counter() - began

    def loaded(self) -> bool:
        """Whether the webserver answers and every code location is loaded."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            entries = self.ask(_LOADED)["workspaceOrError"]["locationEntries"]
            good = ("LOADED", "RepositoryLocation")
            return bool(entries) and all((e["loadStatus"], e["locationOrLoadError"]["__typename"]) == good for e in entries)
        return False

    def wait_for_daemons(self) -> None:
        """Wait until every daemon has told that it is there."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, TypeError):
                statuses = self.ask(_DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
                if all(each["healthy"] for each in statuses if each["required"]):
                    return
            time.sleep(0.2)
        raise RuntimeError("the daemons are not healthy")

    def ask(self, query: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        address = f"http://127.0.0.1:{self.port}"
        request = urllib.request.Request(
            f"{address}/graphql",
            data=json.dumps({"query": query, "variables": values or {}}).encode(),
            headers={"Content-Type": "application/json", "Origin": address},
        )
        with _WITHOUT_PROXY.open(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def launch(self, *assets: str) -> str:
        """What a click on "Materialize" does; the run's id."""
        selector = {
            "repositoryLocationName": self.location,
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
            "assetCheckSelection": [],
        }
        answer = self.ask(_LAUNCH, {"p": {"selector": selector, "mode": "default"}})["launchPipelineExecution"]
        if "run" not in answer:
            raise RuntimeError(answer)
        return answer["run"]["runId"]

    def status(self, run_id: str) -> str:
        return self.ask(_STATUS, {"r": run_id})["pipelineRunOrError"]["status"]

    def click(self, *assets: str) -> None:
        """From the click to success.

        Raises:
            RuntimeError: the run did not succeed.
        """
        run_id = self.launch(*assets)
        while (status := self.status(run_id)) not in ("SUCCESS", "FAILURE", "CANCELED"):
            time.sleep(0.02)
        if status != "SUCCESS":
            raise RuntimeError(f"run {run_id} is a {status}")

    def processes(self) -> list[int]:
        """Every process that belongs to it: those that have its folder in their environment."""
        mark = f"BENCH_FOLDER={self.folder}".encode()
        found = []
        for each in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if each.name.isdigit() and mark in (each / "environ").read_bytes().split(b"\0"):
                    found.append(int(each.name))
        return found

    def memory_mib(self) -> float:
        """What all processes hold together; shared pages count once (PSS)."""
        total_kib = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total_kib += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        return total_kib / 1024

    def cpu_s(self) -> float:
        """Processor time of all processes that are there."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(value) for value in values[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it, and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def ours(company: str = "tiny", *, root: Path | None = None, arguments: tuple[str, ...] = ()) -> Platform:
    """`caudal up` of the small company, or of one in `root`."""
    port, made = free_port(), Platform([], {}, 0, company)
    root = root or _checkout(made.folder / "root")
    code = (
        "import sys; from caudal.environment import Environment; from caudal.runtime import up; "
        f"sys.exit(up.up(Environment.current({company!r}), settings=up.Settings(dagster_port={port}, api_port={port + 1}), "
        f"quickstart={arguments[0] if arguments else None!r}))"
    )
    made.command, made.port = [sys.executable, "-c", code], port
    made.environment = {
        "BENCH_FOLDER": str(made.folder),
        "BENCH_EXECUTOR": "in_process",
        "CAUDAL_ROOT": str(root),
        "CAUDAL_DATA": str(made.folder / "data"),
        "CAUDAL_COMPANY": company,
        "PYTHONPATH": str(root / "platform"),
    }
    return made


def stock(executor: str = "default", *, module: str | None = None, environment: dict[str, str] | None = None) -> Platform:
    """`dagster dev` of the same definitions, with Dagster's own settings."""
    port, made = free_port(), Platform([], {}, 0)
    root = REPOSITORY if module else _checkout(made.folder / "root")
    made.location = module or "tiny.definitions"
    (made.folder / "home").mkdir()
    (made.folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    made.command = [sys.executable, "-m", "dagster", "dev", "-m", made.location, "-p", str(port), "-h", "127.0.0.1"]
    made.port = port
    made.environment = {
        "BENCH_FOLDER": str(made.folder),
        "BENCH_EXECUTOR": executor,
        "DAGSTER_HOME": str(made.folder / "home"),
        "PYTHONPATH": str(root / "platform"),
        **(environment or {}),
    }
    return made


def free_port() -> int:
    """One that is free, as the next is."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                two.bind(("127.0.0.1", one.getsockname()[1] + 1))
                return one.getsockname()[1]


def _checkout(root: Path) -> Path:
    package = root / "platform" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (root / "deploy" / "local").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "local" / "dagster.yaml", root / "deploy" / "local")
    (root / "workspace.yaml").write_text(_WORKSPACE)
    return root
