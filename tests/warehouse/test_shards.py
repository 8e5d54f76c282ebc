"""Files normalized by several processes: the same as by one, and nothing at all if one of them is lost."""

import subprocess
import sys

import dagster as dg
import pytest
from deltalake import DeltaTable

from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile
from caudal.warehouse import shards
from caudal.warehouse.component import raw_asset
from caudal.warehouse.loading import load_pending
from caudal.warehouse.shards import ShardFailed, split

HEADER = "item,units,amount\n"


@pytest.fixture
def small(monkeypatch):
    """Every file is worth a process."""
    monkeypatch.setattr(shards, "LEAST_BYTES", 1)


def file(path, size):
    return LedgerFile(path, "1", size, "loading", None, None, False, 0, 0, 0, None, None)


def in_processes(folders):
    commands = [[sys.executable, "-m", "caudal.warehouse.shards", str(f)] for f in folders]
    for process in [subprocess.Popen(c, stderr=subprocess.DEVNULL) for c in commands]:
        process.wait(timeout=120)


def items(env, dataset):
    return sorted(DeltaTable(env.raw / dataset.table).to_pyarrow_table()["item"].to_pylist())


def test_files_are_split_by_size_and_little_work_is_not_split():
    files = [file("a", 100 << 20), file("b", 60 << 20), file("c", 50 << 20), file("d", 0)]
    assert [[f.path for f in g] for g in split(files, 2)] == [["a", "d"], ["b", "c"]]
    assert [[f.path for f in g] for g in split(files[1:], 8)] == [["b", "c", "d"]]
    assert len(split(files, 8)) == 3


def test_processes_load_what_one_would_and_refuse_what_one_would(env, declare, drop, small):
    dataset = declare(workers=3)
    for n in range(7):
        drop(f"stall/sales/{n}.csv", HEADER + f"item{n},{n},1.00\nbad{n},x,1.00\n")
    drop("stall/sales/empty.csv", "")
    loaded = load_pending(env, dataset, "run", spread=in_processes)
    assert items(env, dataset) == [f"item{n}" for n in range(7)]
    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected) == (14, 7, 7)
    assert Ledger(env.state / "ledger.db").totals(dataset.id).files == {"loaded": 7, "quarantined": 1}
    assert not list((env.state / "parts").rglob("*.parquet"))


def test_a_lost_process_loses_nothing_and_doubles_nothing(env, declare, drop, small):
    dataset = declare(workers=2)
    for n in range(4):
        drop(f"stall/sales/{n}.csv", HEADER + f"item{n},{n},1.00\n")
    with pytest.raises(ShardFailed, match="shard 1 ended without a result"):
        load_pending(env, dataset, "run", spread=lambda folders: in_processes(folders[:1]))
    assert load_pending(env, dataset, "run", spread=in_processes).rows_loaded == 4
    assert items(env, dataset) == [f"item{n}" for n in range(4)]


def test_a_dataset_that_compares_its_files_has_one_worker(declare):
    with pytest.raises(ValueError, match="workers is 2; expected at least 1, and 1 with `copies: refuse`"):
        declare(workers=2, copies="refuse")


def test_a_step_of_dagster_spreads_its_work_and_logs_each_process(env, declare, drop, small):
    dataset = declare(workers=2)
    for n in range(4):
        drop(f"stall/sales/{n}.csv", HEADER + f"item{n},{n},1.00\n")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([raw_asset(env, dataset, dropped=True)], instance=instance)
        told = [e.user_message for e in instance.all_logs(result.run_id)]
    assert result.success
    assert items(env, dataset) == [f"item{n}" for n in range(4)]
    assert sum("shard" in m and "2 files, 2 rows" in m for m in told) == 2
