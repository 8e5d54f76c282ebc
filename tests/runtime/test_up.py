"""`caudal up` on a small company: real services, real runs, real deaths."""

from __future__ import annotations

import importlib
import io
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from caudal.environment import Environment
from caudal.runtime import guardian, services
from caudal.runtime.interruption import Interrupted, signals_interrupt
from caudal.runtime.supervisor import Service
from caudal.runtime.up import Settings, up
from tests.services.servers import free_port

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of others are seen through /proc only")

REPOSITORY = Path(__file__).resolve().parents[2]

DEFINITIONS = """
import os, subprocess, time
from pathlib import Path
import dagster as dg
from caudal.runtime.policy import refresh_policy

HOME = Path(os.environ["CAUDAL_DATA"]) / "bakery"

@dg.asset(key=["raw", "oven", "loaves"], automation_condition=dg.AutomationCondition.missing() & ~dg.AutomationCondition.in_progress())
def loaves():
    if (HOME / "slow").exists():
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        (HOME / "slow").rename(HOME / "slowly")
        time.sleep(600)
    return dg.MaterializeResult(metadata={"dagster/row_count": len((HOME / "loaves").read_text())})

@dg.asset(key=["marts", "sales", "daily"], deps=[loaves], automation_condition=refresh_policy(dg.AssetSelection.assets(), over_views=False))
def daily():
    if (HOME / "broken").exists():
        raise ValueError("the scales are broken")
    return dg.MaterializeResult(metadata={"verdict": "a good day"})

defs = dg.Definitions(
    assets=[loaves, daily],
    executor=dg.in_process_executor,
    sensors=[
        dg.AutomationConditionSensorDefinition(
            "automation", target="*", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=5
        )
    ],
)
"""

QUICKSTART = """
def land(home):
    if (home / "no flour").exists():
        raise RuntimeError("there is no flour")
    home.mkdir(parents=True, exist_ok=True)
    (home / "loaves").write_text("ooo")
"""

#: As the command line does it, but with an API that needs nothing.
PROGRAM = """
import importlib, sys
from pathlib import Path
from caudal.environment import Environment
from caudal.runtime import location, services, up
from caudal.runtime.supervisor import Service

location.load_definitions = lambda company: importlib.import_module(f"{company}.definitions").defs
services.api = lambda env, at: Service("api", (sys.executable, "-m", "http.server", str(at.api_port), "--bind", "127.0.0.1"))
ports = up.Settings(dagster_port=int(sys.argv[1]), api_port=int(sys.argv[1]) + 50)
sys.exit(up.up(Environment.current("bakery"), once="--once" in sys.argv, quickstart="bakery.quickstart:land", settings=ports))
"""


def api(env: Environment, at: services.Addresses) -> Service:
    """Something that answers in the API's place."""
    return Service("api", (sys.executable, "-m", "http.server", str(at.api_port), "--bind", services.HOST))


@pytest.fixture
def bakery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """A company in a checkout of its own, importable here and in every child."""
    package = tmp_path / "platform" / "bakery"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (package / "quickstart.py").write_text(QUICKSTART)
    (tmp_path / "deploy" / "local").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "local" / "dagster.yaml", tmp_path / "deploy" / "local")
    (tmp_path / "workspace.yaml").write_text(
        "load_from:\n  - python_module: {module_name: bakery.definitions, location_name: bakery}\n"
    )
    env = Environment("local", "bakery", tmp_path, tmp_path / "data")
    env.home.mkdir(parents=True)
    monkeypatch.syspath_prepend(package.parent)
    for name, value in {"PYTHONPATH": package.parent, "CAUDAL_ROOT": tmp_path, "CAUDAL_DATA": env.data}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(services, "api", api)

    def load(company: str) -> dg.Definitions:
        return importlib.import_module(f"{company}.definitions").defs

    monkeypatch.setattr("caudal.runtime.location.load_definitions", load)
    yield env
    for name in [name for name in sys.modules if name.partition(".")[0] == "bakery"]:
        del sys.modules[name]
    guardian.end(f"{env.dagster_home}#", grace_s=0, prefix=True)


def ports() -> Settings:
    first = free_port()
    return Settings(dagster_port=first, api_port=first + 50, timeout_s=400, poll_s=0.3)


def once(env: Environment, quickstart: str | None = "bakery.quickstart:land") -> tuple[int, str]:
    """Bring it up until all is done: the exit code, and what was said."""
    said = io.StringIO()
    code = up(env, once=True, quickstart=quickstart, settings=ports(), console=Console(file=said, width=120))
    assert guardian.marked(f"{env.dagster_home}#", prefix=True) == []
    return code, said.getvalue()


def runs(env: Environment) -> list[dg.DagsterRun]:
    """Every run, oldest first."""
    with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
        return list(reversed(instance.get_runs()))


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(ports().dagster_port), *arguments]


def command_of(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def until(true: Callable[[], object], within_s: float = 180) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_it_takes_everything_through_and_does_not_do_it_again(bakery: Environment) -> None:
    code, said = once(bakery)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert code == 0, said
    assert "warehouse 3 0.0 1 of 1 tables; 0 rejected" in [re.sub(r" \d+\.\d ", " 0.0 ", line) for line in lines]
    assert "transform 1 of 1 tables; a good day" in lines
    assert "Everything is materialized, and every check passed" in lines
    done = runs(bakery)
    assert {run.status for run in done} == {dg.DagsterRunStatus.SUCCESS}
    code, said = once(bakery)
    assert (code, [run.run_id for run in runs(bakery)]) == (0, [run.run_id for run in done])


def test_what_fails_for_good_is_told_with_its_cause_and_where_to_look(bakery: Environment) -> None:
    (bakery.home / "broken").touch()
    code, said = once(bakery)
    assert code == 1
    failed = [run for run in runs(bakery) if run.status == dg.DagsterRunStatus.FAILURE]
    assert "marts__sales__daily failed: ValueError: the scales are broken" in said
    assert f"/runs/{failed[-1].run_id}" in said
    assert str(bakery.logs) in said.replace("\n", "")


def test_definitions_that_cannot_be_loaded_end_it_with_the_error(bakery: Environment) -> None:
    (bakery.root / "platform" / "bakery" / "definitions.py").write_text("raise ValueError('line 3: no such source')")
    code, said = once(bakery)
    assert code == 1
    assert "Code location bakery cannot be loaded" in said
    assert "line 3: no such source" in said


def test_quick_start_data_that_cannot_be_landed_end_it_with_the_error(bakery: Environment) -> None:
    (bakery.home / "no flour").touch()
    code, said = once(bakery)
    assert code == 1
    assert "RuntimeError: there is no flour" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_ctrl_c_a_request_to_end_and_a_closed_terminal_interrupt_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), signals_interrupt():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_after_a_kill_in_the_middle_of_a_run_nothing_is_left_behind_and_the_next_start_heals(bakery: Environment) -> None:
    def up_to_a_run() -> subprocess.Popen[bytes]:
        (bakery.home / "slowly").unlink(missing_ok=True)
        (bakery.home / "slow").touch()
        started = subprocess.Popen(program("--once"), start_new_session=True, stdout=subprocess.DEVNULL)
        until((bakery.home / "slowly").exists)
        return started

    def left() -> list[int]:
        return guardian.marked(f"{bakery.dagster_home}#", prefix=True)

    killed = up_to_a_run()
    assert len(left()) > 5
    killed.kill()
    killed.wait()
    until(lambda: not left())

    gone = up_to_a_run()
    for process in (gone.pid, *left()):
        os.kill(process, signal.SIGKILL)
    gone.wait()
    cut_off = [run.run_id for run in runs(bakery) if run.status == dg.DagsterRunStatus.STARTED]
    assert cut_off

    code, said = once(bakery)
    assert code == 0, said
    assert "cut off when the platform was last stopped; they will be tried again" in said
    assert {run.status for run in runs(bakery) if run.run_id in cut_off} == {dg.DagsterRunStatus.FAILURE}


def test_on_a_terminal_it_serves_until_ctrl_c_alone_on_its_data_and_loads_changed_definitions(bakery: Environment) -> None:
    shown = bytearray()

    def shows(text: str) -> Callable[[], bool]:
        def look() -> bool:
            while select.select([terminal], [], [], 0)[0]:
                try:
                    shown.extend(os.read(terminal, 65536))
                except OSError:
                    break
            return text.encode() in shown

        return look

    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.executable, program())
    try:
        until(shows("Serving until Ctrl-C"), within_s=300)
        assert b"\x1b[" in shown

        second = subprocess.run(program(), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"(process {child})" in second.stdout
        assert f"already up on {bakery.data} at http://127.0.0.1:" in second.stdout

        processes = guardian.marked(f"{bakery.dagster_home}#", prefix=True)
        (code_server,) = [p for p in processes if Path(f"/proc/{p}/comm").read_text().strip() == "code-bakery"]
        os.kill(code_server, signal.SIGKILL)
        until(shows("code-bakery has ended and is started again"))

        more = '@dg.asset(key=["marts", "sales", "weekly"])\ndef weekly(): ...\n'
        changed = DEFINITIONS.replace("defs = ", more + "defs = ").replace("[loaves, daily]", "[loaves, daily, weekly]")
        (bakery.root / "platform" / "bakery" / "definitions.py").write_text(textwrap.dedent(changed))
        until(shows("Definitions of bakery have changed"))
    finally:
        os.write(terminal, b"\x03")
        until(shows("Stopping"))
        _, status = os.waitpid(child, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert guardian.marked(f"{bakery.dagster_home}#", prefix=True) == []
