"""kill -9 of any process of `caudal up` at random instants, while runs are asked for all the time."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.runtime.warm.places import Places
from tests.faults import platform_up
from tests.services.servers import free_port

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of others are seen through /proc only")

#: The platform's own measure is 100 kills; CAUDAL_FAULTS counts those of the loader, which are quicker.
KILLS = max(10, int(os.environ.get("CAUDAL_FAULTS", "40")) // 2)
TARGETS = ("run", "run", "caudal parent", "daemon", "webserver", "code-bakery", "nursery")
MOST_QUEUED = 12


def test_every_run_ends_in_a_true_state_and_none_runs_twice_whatever_is_killed(tmp_path: Path) -> None:
    env = platform_up.company(tmp_path)
    chance, port = random.Random(7), free_port()
    platform = platform_up.start(env, port)
    killed: collections.Counter[str] = collections.Counter()
    asked: list[str] = []
    enough = threading.Event()
    load = threading.Thread(target=keep_asking, args=(env, port, asked, enough))
    try:
        platform_up.until(lambda: platform_up.launch(port, "rung"), 120, "the first run is taken")
        load.start()
        with instance_of(env) as instance:
            while killed.total() < KILLS:
                assert platform.poll() is None, (env.data / "said").read_text()
                target = chance.choice(TARGETS)
                there = [pid for pid, name in platform_up.processes(env).items() if name.startswith(target)]
                if there:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(sorted(there)), signal.SIGKILL)
                        killed[target] += 1
                time.sleep(chance.uniform(0.05, 1.5))
            enough.set()
            load.join(60)

            began = time.monotonic()
            (env.data / "ring-last").touch()
            rung = {"run_key": "ring-last"}
            platform_up.until(lambda: final(instance, rung), 120, "the sensor's next tick asks for a run")
            platform_up.until(lambda: unfinished(instance) == 0, 180, "every run ends")
            (last,) = instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": "ring-last"}), limit=1)
            assert last.status == dg.DagsterRunStatus.SUCCESS or last.tags.get("dagster/will_retry") == "true"
            quiet_s = time.monotonic() - began
            after = None
            while after is None:
                after = platform_up.launch(port, "flour", "dough", "bread")
            platform_up.until(lambda: (r := instance.get_run_by_id(after)) and r.is_finished, 60, "a run afterwards ends")

            platform_up.until(lambda: unfinished(instance) == 0, 180, "retries end too")

            judge(env, instance, asked)
            assert platform_up.zombies(env) == []
            workers = Places(env.dagster_home).workers
            platform_up.until(lambda: not list(workers.claimed()), 60, "no claim stays")
    except AssertionError:
        sys.stdout.write(logs(env))
        raise
    finally:
        enough.set()
        platform.send_signal(signal.SIGINT)
        try:
            platform.wait(60)
        finally:
            platform.kill()
    assert platform_up.processes(env) == {}
    sys.stdout.write(f"killed: {dict(killed)}; runs asked for: {len(asked)}; all ended {quiet_s:.1f} s after the last kill\n")


def keep_asking(env: Environment, port: int, asked: list[str], enough: threading.Event) -> None:
    """Queue runs as long as few are waiting."""
    chance = random.Random(8)
    with instance_of(env) as instance:
        while not enough.is_set():
            if unfinished(instance) < MOST_QUEUED:
                run_id = platform_up.launch(port, *chance.choice((["flour", "dough", "bread"], ["flour", "dough"], ["rung"])))
                asked += [run_id] if run_id else []
            enough.wait(0.2)


def instance_of(env: Environment) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(env.dagster_home))


def unfinished(instance: dg.DagsterInstance) -> int:
    over = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    return instance.get_runs_count(dg.RunsFilter(statuses=[each for each in dg.DagsterRunStatus if each not in over]))


def final(instance: dg.DagsterInstance, tags: dict[str, str]) -> bool:
    runs = instance.get_runs(dg.RunsFilter(tags={f"dagster/{name}": value for name, value in tags.items()}))
    return any(run.is_finished for run in runs)


def judge(env: Environment, instance: dg.DagsterInstance, asked: list[str]) -> None:
    """What the assets wrote down and what Dagster says of the runs must be the same."""
    told = collections.Counter((env.data / "told").read_text().split("\n"))
    told.pop("")
    assert {line: times for line, times in told.items() if times > 1} == {}, "something ran twice"
    runs = {run.run_id: run for run in instance.get_runs()}
    assert set(asked) <= set(runs), "a run that was taken is gone"
    ended = collections.defaultdict(set)
    for line in told:
        word, run_id, step = line.split()
        if word == "ended":
            ended[run_id].add(step)
    for run_id, run in runs.items():
        assert run.is_finished
        wanted = {key.path[0] for key in run.asset_selection or ()}
        if run.status == dg.DagsterRunStatus.SUCCESS:
            done = ended[run_id] | set(steps_of_parents(run, runs, ended))
            assert wanted <= done, f"run {run_id} is a success, and did not do {wanted - done}"
        events = instance.all_logs(run_id, of_type={dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE})
        assert len(events) <= 1, f"run {run_id} has {len(events)} ends"
    retried = collections.Counter(run.parent_run_id for run in runs.values() if run.parent_run_id)
    assert all(times == 1 for times in retried.values()), "a run was retried twice"


def steps_of_parents(run: dg.DagsterRun, runs: dict[str, dg.DagsterRun], ended: dict[str, set[str]]) -> set[str]:
    parent = runs.get(run.parent_run_id or "")
    return set() if parent is None else ended[parent.run_id] | steps_of_parents(parent, runs, ended)


def logs(env: Environment) -> str:
    """The end of each log, with what the threads of services do."""
    from caudal.runtime.supervisor import last_lines

    for pid in platform_up.processes(env):
        if Path(f"/proc/{pid}/comm").read_text().strip() in ("daemon", "webserver", "code-bakery", "observer"):
            os.kill(pid, signal.SIGUSR1)
    time.sleep(1)
    return "\n".join(f"{log.name}\n{last_lines(log, 200)}" for log in sorted(env.logs.glob("*.log")))
