"""kill -9 of loaders at random instants while files are dropped, changed and deleted: every row is there exactly once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from deltalake import DeltaTable

from caudal.lake.ledger import Ledger
from caudal.store import write_atomically

LOADER = Path(__file__).with_name("loader.py")
KILLS = int(os.environ.get("CAUDAL_FAULTS", "40"))


def start(env, contract, *more):
    """A loader that has imported what it needs and begins to load."""
    command = [sys.executable, LOADER, env.data, contract, *more]
    loader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert loader.stdout is not None
    assert loader.stdout.readline() == "ready\n"
    return loader


def test_every_row_is_there_exactly_once_however_often_loaders_are_killed(env, declare):
    dataset = declare()
    chance = random.Random(7)
    folder = env.lake / "stall" / "sales"
    content: dict[str, list[str]] = {}
    for kill in range(KILLS):
        loaders = [start(env, dataset.contract.path) for _ in range(chance.choice([1, 1, 2]))]
        deadline = time.monotonic() + chance.random() * 1.2
        while time.monotonic() < deadline:
            name = f"{chance.randrange(12)}.csv"
            if name in content and chance.random() < 0.25:
                (folder / name).unlink()
                del content[name]
            else:
                content[name] = [f"{name}-{kill}-{n},{n},1.50" for n in range(chance.randrange(4))]
                with write_atomically(folder / name) as temporary:
                    temporary.write_text("\n".join(["item,units,amount", *content[name]]) + "\n")
            time.sleep(0.02)
        for loader in loaders:
            loader.send_signal(signal.SIGKILL)
            loader.wait(timeout=10)
    assert start(env, dataset.contract.path, "once").wait(timeout=120) == 0

    rows = DeltaTable(env.raw / dataset.table).to_pyarrow_table().to_pylist()
    expected = Counter(line.split(",")[0] for lines in content.values() for line in lines)
    assert Counter(r["item"] for r in rows) == expected
    totals = Ledger(env.state / "ledger.db").totals(dataset.id)
    assert totals.rows_read == totals.rows_loaded + totals.rows_rejected == len(rows)
    assert totals.files.get("pending", 0) == 0
    assert totals.files.get("loaded", 0) == len(content)
