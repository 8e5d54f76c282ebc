"""No run has two workers, and a dead worker is known to be dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caudal.runtime.warm.places import Places
from caudal.runtime.warm.workers import By, Workers

CLAIM = """
import sys, time
from pathlib import Path
from caudal.runtime.warm.workers import Workers
time.sleep(max(0.0, float(sys.argv[3]) - time.time()))
won = Workers(Path(sys.argv[1])).claim(sys.argv[2])
print("won" if won else "lost", flush=True)
if won:
    time.sleep(600)
"""


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    return Workers(tmp_path / "runs")


def test_of_many_that_claim_a_run_at_once_one_wins_and_is_known_until_it_dies(workers: Workers) -> None:
    at = str(time.time() + 1.0)
    command = [sys.executable, "-c", CLAIM, str(workers.folder), "run", at]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        answers = [process.stdout.readline().strip() for process in processes if process.stdout]
        assert sorted(answers) == ["lost"] * 5 + ["won"]
        winner = processes[answers.index("won")]
        claim = workers.look("run")
        assert claim is not None
        assert (claim.by, claim.pid, claim.alive) == (By.WARM, winner.pid, True)
        assert list(workers.claimed()) == ["run"]
        assert workers.send_signal("run", signal.SIGKILL)
        winner.wait(60)
        claim = workers.look("run")
        assert claim is not None
        assert not claim.alive
        assert not workers.send_signal("run", signal.SIGKILL)
        assert not workers.claim("run")  # it was begun: nobody begins it again
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def test_a_run_that_was_given_away_is_not_alive_here_and_can_be_forgotten(workers: Workers) -> None:
    assert workers.look("run") is None
    assert workers.claim("run", By.STOCK)
    claim = workers.look("run")
    assert claim is not None
    assert (claim.by, claim.alive) == (By.STOCK, False)
    assert not workers.claim("run")
    workers.forget("run")
    workers.forget("run")
    assert workers.look("run") is None
    assert workers.claim("run", By.NOBODY)
    assert not list(workers.folder.glob(".*"))


def test_a_claim_is_not_inherited_by_programs_that_the_worker_starts(workers: Workers) -> None:
    code = CLAIM.replace(
        'print("won"',
        'import subprocess; left = subprocess.Popen(["sleep", "600"], start_new_session=True)\nprint(left.pid, "won"',
    )
    with subprocess.Popen([sys.executable, "-c", code, str(workers.folder), "run", "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        left, said = process.stdout.readline().split()
        process.kill()
    try:
        assert said == b"won"
        assert not workers.is_alive("run")
    finally:
        os.kill(int(left), signal.SIGKILL)


def test_sockets_are_beside_the_rest_or_below_the_temporary_folder_where_the_path_is_too_long(tmp_path: Path) -> None:
    near = Places(Path("/srv/caudal"))
    assert near.nursery == Path("/srv/caudal/warm/nursery.sock")
    far = Places(tmp_path / ("far" * 40))
    assert len(os.fsencode(far.parent("a location with a long name", "server"))) < 100
    assert far.nursery != Places(tmp_path / ("fat" * 40)).nursery
    assert far.parent("shop", "one") != far.parent("shop", "two") != far.parent("barn", "two")
