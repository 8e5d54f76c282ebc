"""The commands that a newcomer and the continuous integration type."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN_TESTS = ROOT / "deploy" / "local" / "run_tests"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def plan(*arguments: str) -> str:
    """What make would do."""
    return subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_every_command_that_the_makefile_tells_of_exists() -> None:
    told = re.findall(r"^# make (\w+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(told) == {"run", "test", "coverage", "lint", "services", "faults", "bench", "clean"}
    for target in told:
        plan(target)


def test_running_once_ends_and_running_does_not() -> None:
    assert "caudal up --quickstart shop.quickstart:land --once" in plan("run", "ONCE=1")
    assert "--once" not in plan("run")


def test_cleaning_keeps_the_data_unless_told_otherwise() -> None:
    assert "rm -rf data" not in plan("clean")
    assert "rm -rf data" in plan("clean", "DATA=1")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder whose pytest says what it was asked, and finds no test that is not long."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *"not long"*) exit 5;; *broken*) exit 1;; esac\n')
    python.chmod(0o755)
    for name in ("tests/faults", "tests/broken"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "test_one.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("tests/services", "service tests"), 0, "tests/services: there are no service tests; nothing was run\n"),
        (("tests/faults", "fault tests", "-rs"), 0, "-m pytest tests/faults -rs\n"),
        (("tests/broken", "fault tests"), 1, "-m pytest tests/broken\n"),
        (
            ("tests/faults", "fault tests", "-m", "not long"),
            0,
            "-m pytest tests/faults -m not long\ntests/faults: no fault tests were selected by -m not long; nothing was run\n",
        ),
    ],
)
def test_tests_that_are_not_there_are_told_and_those_that_fail_fail(checkout: Path, arguments, status, said) -> None:
    done = subprocess.run([RUN_TESTS, *arguments], cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, said)


def test_continuous_integration_does_all_of_it_and_stops_at_the_first_failure() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert re.findall(r"^part \w+ make ([\w-]+)", script, flags=re.MULTILINE) == [
        *("installed-for-development", "lint", "test", "services", "faults"),
    ]
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
