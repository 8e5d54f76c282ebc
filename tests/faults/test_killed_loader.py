"""kill -9 at random instants of landing, normalizing, loading, replacing, compacting and deleting: every row is there exactly once."""

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
from tests.faults.messages import message, rows_of

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CAUDAL_FAULTS", "40"))
CHECK_EVERY = 10
ROLES = ("load", "load", "load", "spread", "keep", "land")
EVOLVING = "\ncustomProperties: [{property: driftPolicy, value: evolve}]\n"


def start(role, env, contract):
    """A process that has imported what it needs and begins its work."""
    command = [sys.executable, "-m", "tests.faults.loader", role, env.data, contract]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    if process.poll() is not None:
        error = process.stderr.read()
        assert process.returncode == 0, error
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stderr.close()
    process.stdout.close()


def check(env, dataset):
    """Load what is left, without kills; then the raw table and the rejects are what the lake holds."""
    last = start("once", env, dataset.contract.path)
    _, error = last.communicate(timeout=120)
    assert last.returncode == 0, error
    expected, rejected = Counter(), 0
    files = [f for f in (env.lake / "stall/sales").iterdir() if not f.name.startswith(".")]
    for file in files:
        good, bad = rows_of(file)
        expected.update(good)
        rejected += bad
    rows = DeltaTable(env.raw / dataset.table).to_pyarrow_table().to_pylist()
    ledger = Ledger(env.state / "ledger.db")
    last_good = {f.path: f.live_version for f in ledger.files(dataset.id, "quarantined")}
    kept = [r for r in rows if r["_file"].partition("!")[0] in last_good]
    assert all(r["_version"] == last_good[r["_file"].partition("!")[0]] for r in kept), (
        "rows of another than the last good version"
    )
    found = Counter((r["_file"].rsplit("/", 1)[1], r["item"], r.get("colour")) for r in rows if r not in kept)
    assert found == expected, (found - expected, expected - found)
    refused = DeltaTable(env.quarantine / dataset.table).to_pyarrow_table().to_pylist()
    assert sum(r["_row"] is not None for r in refused) == rejected
    totals = ledger.totals(dataset.id)
    assert totals.rows_read == totals.rows_loaded + totals.rows_rejected
    assert totals.rows_loaded == len(rows)
    assert totals.files.get("pending", 0) + totals.files.get("loading", 0) == 0
    assert totals.files.get("loaded", 0) + totals.files.get("quarantined", 0) == len(files)
    return len(rows)


def test_every_row_is_there_exactly_once_whatever_is_killed_when(env, declare, request):
    from tests.conftest import SALES_CONTRACT

    dataset = declare(SALES_CONTRACT + EVOLVING, path="*", on_delete="remove")
    chance = random.Random(int(os.environ.get("CAUDAL_SEED", "7")))
    folder = env.lake / "stall/sales"
    rows = 0
    for kill in range(1, KILLS + 1):
        roles = [chance.choice(ROLES) for _ in range(chance.choice([1, 1, 2, 3]))]
        processes = [start(role, env, dataset.contract.path) for role in roles]
        deadline = time.monotonic() + chance.random() * 1.5
        while time.monotonic() < deadline:
            name, content = message(chance, 12)
            if chance.random() < 0.25:
                (folder / name).unlink(missing_ok=True)
            else:
                with write_atomically(folder / name) as temporary:
                    temporary.write_bytes(content)
            time.sleep(0.03)
        for process in processes:
            end(process)
        if kill % CHECK_EVERY == 0 or kill == KILLS:
            rows = check(env, dataset)
    print(f"\n{KILLS} kills, {rows} rows at the end, 0 lost, 0 doubled")
