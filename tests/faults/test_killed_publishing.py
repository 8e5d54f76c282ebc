"""kill -9 while candidates are built, audited, published and rolled back, with readers in other processes all the while."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

from caudal.warehouse import versions
from caudal.warehouse.candidate import open_candidate, publish_tables
from tests.faults import publisher, version_reader

KILLS = int(os.environ.get("CAUDAL_FAULTS", "8"))
READERS = 2


def start(module, env, stack: ExitStack, *arguments: str, **streams) -> subprocess.Popen:
    command = [sys.executable, module.__file__, env.data, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **streams)
    stack.callback(process.wait, 30)
    stack.callback(process.kill)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(f"{module.__name__} did not start: {process.communicate(timeout=10)[1]}")
    return process


def test_no_reader_errs_or_sees_a_mix_or_what_failed_its_audit_however_often_the_publisher_is_killed(env, capsys):
    publish_tables(env, publisher.tables(0, 0), [publisher.AGREE])
    chance = random.Random(5)
    killed_at: dict[str, int] = {}
    with ExitStack() as stack:
        readers = [start(version_reader, env, stack, stdin=subprocess.PIPE) for _ in range(READERS)]
        for number in range(KILLS):
            if number % 2:  # It kills itself, where it matters most.
                process = start(publisher, env, stack, str(number))
                assert process.wait(timeout=120) == -signal.SIGKILL, process.stderr.read()
                count(killed_at, left_behind(env))
                continue
            process = start(publisher, env, stack)
            time.sleep(chance.random() * 0.5)  # some rounds of some 0.1 s each
            assert process.poll() is None, process.stderr.read()
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
            count(killed_at, left_behind(env))
        told = [json.loads(reader.communicate("", timeout=120)[0].splitlines()[-1]) for reader in readers]

    assert [each["problems"] for each in told] == [[]] * READERS
    assert all(each["queries"] > KILLS for each in told)
    assert max(each["versions"] for each in told) > 1

    for each in versions.kept(env):
        assert each.record is not None
        assert each.pins is not None
    with open_candidate(env):  # The next one clears up whatever was left.
        assert [folder.name[0] for folder in env.candidates.iterdir()] == ["2"]
        assert [folder.name for folder in sorted(env.versions.iterdir())] == [each.name for each in versions.kept(env)]
    assert left_behind(env) == "between candidates"
    with capsys.disabled():
        print(f"\n{KILLS} kills: {killed_at}; readers: {told}")


def count(killed_at: dict[str, int], where: str) -> None:
    killed_at[where] = killed_at.get(where, 0) + 1


def left_behind(env) -> str:
    """What the killed process was about."""
    if any(path.name.startswith(".removed") for path in env.candidates.iterdir()):
        return "removing an old version"
    if any(env.candidates.iterdir()):
        (candidate,) = env.candidates.iterdir()
        return "building or auditing" if not (candidate / versions.RECORD).exists() else "publishing: recorded, not moved"
    if any(folder.name > (versions.current(env) or "") for folder in env.versions.iterdir()):
        return "publishing: moved, not visible"
    return "between candidates"
