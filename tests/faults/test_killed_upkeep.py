"""kill -9 of upkeep and of the loader beside it at random instants, while a reader reads what is published."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from deltalake import DeltaTable

from caudal.warehouse import delta, published
from caudal.warehouse.candidate import open_candidate
from tests.faults import keeper

KEEPER = Path(keeper.__file__)
KILLS = int(os.environ.get("CAUDAL_FAULTS", "40"))
FOR_EVER = "-1"


def start(role, env, contract, times=FOR_EVER):
    command = [sys.executable, KEEPER, role, env.data, contract, times]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(f"{role} did not start: {process.communicate(timeout=10)[1]}")
    return process


def kill(process):
    assert process.poll() is None, f"it ended by itself: {process.stderr.read()}"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)


def items(env) -> set[str]:
    rows = published.read_arrow(env, "SELECT item, count(*) OVER () AS n FROM raw.stall__sales").to_pylist()
    found = {row["item"] for row in rows}
    assert all(row["n"] == len(found) for row in rows), "a row is there twice"
    return found


def publish(env, dataset) -> set[str]:
    """Publish the raw view as it is now; what a reader of this version must see for as long as it is published."""
    with open_candidate(env, [dataset]) as candidate:
        candidate.publish()
    seen = items(env)
    number = max((int(item.split("-")[0]) for item in seen), default=0)
    assert seen == keeper.expected(number)
    return seen


def test_no_row_is_lost_and_no_reader_fails_however_often_upkeep_and_the_loader_are_killed(env, declare):
    dataset = declare(rejects_retention_days=30)
    chance = random.Random(11)
    contract = dataset.contract.path
    loader = start("load", env, contract)
    published_items = publish(env, dataset)
    for _ in range(KILLS):
        tending = start("keep", env, contract)
        deadline = time.monotonic() + chance.random() * 1.2
        while True:
            assert items(env) == published_items
            if time.monotonic() >= deadline:
                break
        kill(tending)
        if chance.random() < 0.3:
            kill(loader)
            loader = start("load", env, contract)
        if chance.random() < 0.4:
            published_items = publish(env, dataset)
    kill(loader)

    for role, times in (("load", "1"), ("keep", "2")):
        last = start(role, env, contract, times)
        assert last.wait(timeout=120) == 0, last.stderr.read()
    raw = DeltaTable(env.raw / dataset.table)
    number = raw.transaction_version(keeper.APPLICATION)
    found = [row["item"] for row in raw.to_pyarrow_table().to_pylist()]
    assert number is not None
    assert (len(found), set(found)) == (min(number, keeper.FILES) * keeper.ROWS, keeper.expected(number))
    rejects = delta.read_rows(env.quarantine / dataset.table, ["_version", "_loaded_at"], 1_000)
    assert sorted(r["_version"] for r in rejects) == sorted(
        str(n) for n in range(max(1, number - keeper.FILES + 1), number + 1)
    )
    assert {r["_loaded_at"] for r in rejects} == {keeper.NOW}
    assert items(env) == published_items
    on_disk = {path.name for path in raw_files(env, dataset)}
    assert len(on_disk) < 4 * keeper.FILES, "what nobody reads was not removed"


def raw_files(env, dataset):
    return (env.raw / dataset.table).glob("*.parquet")
