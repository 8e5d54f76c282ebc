"""Processes to be killed, each doing its work over and over: `land`, `load`, `spread` and `keep`."""

import random
import subprocess
import sys
import time
from pathlib import Path

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.watch import LakeWatch
from caudal.store import open_store
from caudal.warehouse import shards
from caudal.warehouse.loading import load_pending
from caudal.warehouse.upkeep import Settings, tend
from tests.faults.messages import message

FILES = 12


def declared(contract: Path, workers: int = 1) -> Dataset:
    """A contract that evolves, files of any name that may be archives, and rows that go with their file."""
    return Dataset("stall", "sales", "csv", read_contract(contract), path="*", on_delete="remove", workers=workers)


def land(env: Environment, _contract: Path) -> None:
    """Write and replace files, a few bytes at a time."""
    chance = random.Random()
    store = open_store(env.lake_url)
    while True:
        name, content = message(chance, FILES)
        with store.write(f"stall/sales/{name}") as temporary, temporary.open("wb") as opened:
            for start in range(0, len(content), 64):
                opened.write(content[start : start + 64])
                opened.flush()
        time.sleep(0.01)


def load(env: Environment, contract: Path) -> None:
    """Look as the sensor does, and load what that found."""
    dataset = declared(contract)
    ledger = Ledger(env.state / "ledger.db")
    watch = LakeWatch(env, [dataset])
    while True:
        watch.look(ledger)
        load_pending(env, dataset, "run", batch_files=3, look_first=False)


def spread(env: Environment, contract: Path) -> None:
    """Load with a process for every second file."""
    shards.LEAST_BYTES = 1
    while True:
        load_pending(env, declared(contract, workers=2), "run", batch_files=4, spread=in_processes)


def in_processes(folders):
    commands = [[sys.executable, "-m", "caudal.warehouse.shards", str(f)] for f in folders]
    for process in [subprocess.Popen(c, stderr=subprocess.DEVNULL) for c in commands]:
        process.wait(timeout=120)


def keep(env: Environment, contract: Path) -> None:
    """Compact and clear, with no grace."""
    while True:
        for done in tend(env, declared(contract), Settings(grace_hours=0, small_files=2)):
            assert not done.note, done.note


def once(env: Environment, contract: Path) -> None:
    """Load all that there is."""
    for _ in range(2):
        load_pending(env, declared(contract), "run")


if __name__ == "__main__":
    role, data, contract = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print("ready", flush=True)
    {"land": land, "load": load, "spread": spread, "keep": keep, "once": once}[role](
        Environment("local", "shop", data, data), contract
    )
