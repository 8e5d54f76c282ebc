"""Child processes: kept running, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caudal.runtime import guardian
from caudal.runtime.supervisor import RESTART_DELAYS_S, Service, ServiceFailed, Supervisor, last_lines

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of others are seen through /proc only")

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
#: A service whose child has left its process group and its session, as a notebook's kernel does.
WITH_RUNAWAY = (
    sys.executable,
    "-c",
    (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True); time.sleep(600)"
    ),
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def processes_of(home: Path) -> list[int]:
    return guardian.marked(f"{home}#", prefix=True)


def supervisor(home: Path, **more: Any) -> Supervisor:
    return Supervisor(home, home / "logs", dict(os.environ), home, **more)


def test_a_service_that_ends_is_started_again_after_a_delay_that_grows(tmp_path: Path) -> None:
    clock, deaths = Clock(), []
    service = Service("short", (sys.executable, "-S", "-c", "print('over')"))
    with supervisor(tmp_path, clock=clock, on_death=deaths.append) as supervised:
        supervised.start(service)
        for count, delay_s in enumerate(RESTART_DELAYS_S[:2], start=1):
            until(lambda: not supervised.running())
            supervised.tend()
            clock.now_s += delay_s - 0.1
            supervised.tend()
            assert not supervised.running()
            clock.now_s += 0.1
            supervised.tend()
            assert deaths == [service] * count
        until(lambda: not supervised.running())
    assert supervised.log(service).read_text() == "over\n" * 3


def test_a_service_that_always_ends_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    clock = Clock()
    service = Service("broken", (sys.executable, "-S", "-c", "print('\\x1b[31mno such table\\x1b[0m'); raise SystemExit(3)"))
    with supervisor(tmp_path, clock=clock) as supervised:
        supervised.start(service)
        with pytest.raises(ServiceFailed, match=r"broken ended 6 times, the last time with exit code 3") as failure:
            for _ in range(100):
                until(lambda: not supervised.running())
                supervised.tend()
                clock.now_s += 20
                supervised.tend()
    assert "    no such table" in str(failure.value)


def test_a_service_that_ran_long_enough_starts_counting_anew(tmp_path: Path) -> None:
    clock = Clock()
    with supervisor(tmp_path, clock=clock) as supervised:
        supervised.start(Service("sometimes", (sys.executable, "-S", "-c", "")))
        for _ in range(2 * len(RESTART_DELAYS_S)):
            until(lambda: not supervised.running())
            clock.now_s += 1000
            supervised.tend()
            clock.now_s += RESTART_DELAYS_S[0]
            supervised.tend()


def test_stopping_ends_what_the_services_started_even_in_sessions_of_their_own(tmp_path: Path) -> None:
    with supervisor(tmp_path) as supervised:
        supervised.start(Service("runaway", WITH_RUNAWAY))
        until(lambda: len(processes_of(tmp_path)) == 2)
    assert processes_of(tmp_path) == []


def test_a_service_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    service = Service("deaf", (sys.executable, "-c", deaf), grace_s=0.2)
    with supervisor(tmp_path) as supervised:
        supervised.start(service)
        until(lambda: supervised.log(service).read_text() == "deaf\n")
        supervised.stop()
        assert processes_of(tmp_path) == []


def test_services_that_give_work_are_gone_before_the_others_are_asked_to_stop(tmp_path: Path) -> None:
    order = tmp_path / "order"
    last_words = (
        "import signal, sys, time\n"
        "def go(*_):\n    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, go)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    worker = Service("worker", (sys.executable, "-c", last_words, str(order), "worker "))
    giver = Service("giver", (sys.executable, "-c", last_words, str(order), "giver "), stops_first=True)
    with supervisor(tmp_path) as supervised:
        for service in (worker, giver):
            supervised.start(service)
        until(lambda: all(supervised.log(each).read_text() for each in (worker, giver)))
    assert order.read_text() == "giver worker "


def test_restarting_a_service_ends_what_it_started_and_starts_it_afresh(tmp_path: Path) -> None:
    with supervisor(tmp_path) as supervised:
        supervised.start(Service("code", SLEEP))
        before = supervised.running()["code"]
        supervised.restart("code")
        assert supervised.running()["code"] != before
        assert not Path(f"/proc/{before}").exists()


@pytest.mark.parametrize("also_guardian", [False, True], ids=["supervisor", "supervisor and guardian"])
def test_killing_the_supervisor_leaves_no_service_behind(tmp_path: Path, also_guardian: bool) -> None:
    program = textwrap.dedent(
        f"""
        import os, pathlib, time
        from caudal.runtime.supervisor import Service, Supervisor
        home = pathlib.Path({str(tmp_path)!r})
        with Supervisor(home, home / "logs", dict(os.environ), home) as supervised:
            supervised.start(Service("service", {(SLEEP if also_guardian else WITH_RUNAWAY)!r}))
            print(supervised._guardian.pid, flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervised:
        assert supervised.stdout is not None
        its_guardian = int(supervised.stdout.readline())
        until(lambda: len(processes_of(tmp_path)) == (1 if also_guardian else 2))
        if also_guardian:
            os.kill(its_guardian, signal.SIGKILL)
        supervised.kill()
    until(lambda: not processes_of(tmp_path))


def test_what_an_earlier_supervisor_left_behind_is_ended_at_the_start(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEP, env={**os.environ, guardian.MARKER: f"{tmp_path}#an earlier one"}, start_new_session=True)
    until(lambda: processes_of(tmp_path) == [left.pid])
    with supervisor(tmp_path):
        assert left.wait(60) in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_guardian_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with supervisor(tmp_path) as supervised:
        supervised.start(Service("service", SLEEP))
        first = supervised._guardian
        assert first is not None
        first.kill()
        first.wait()
        supervised.tend()
        assert supervised._guardian is not None
        assert supervised._guardian.pid != first.pid


def test_a_log_that_grew_too_long_is_put_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caudal.runtime.log_files.LOG_LIMIT_BYTES", 10)
    service = Service("talker", (sys.executable, "-S", "-c", "print('a' * 20)"))
    with supervisor(tmp_path) as supervised:
        supervised.run(service).wait()
        supervised.run(service).wait()
        log = supervised.log(service)
        assert [log.read_text(), log.with_suffix(".log.1").read_text()] == ["a" * 20 + "\n"] * 2


def test_the_end_of_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log") == "    (empty)"
