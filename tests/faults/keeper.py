"""Processes to be killed: `keep` does upkeep over and over, `load` loads one file a commit, into raw table and rejects."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.store import exclusive_lock
from caudal.warehouse import delta
from caudal.warehouse.parts import reject_schema
from caudal.warehouse.upkeep import Settings, tend

FILES = 12
ROWS = 5
APPLICATION = "loader"
LONG_AGO, NOW = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def keep(env: Environment, dataset: Dataset, times: int) -> None:
    settings = Settings(grace_hours=0, small_files=4)
    while times:
        for done in tend(env, dataset, settings):
            assert not done.note, done.note
        times -= 1


def load(env: Environment, dataset: Dataset, times: int) -> None:
    while times:
        with exclusive_lock(env.state / "locks" / f"{dataset.table}.lock"):
            number = (delta.last_transaction(env.raw / dataset.table, APPLICATION) or 0) + 1
            transaction = delta.Transaction(APPLICATION, number)
            file = f"{number % FILES}.csv"
            lineage = {"_file": file, "_version": str(number)}
            rows = [{"item": f"{number}-{n}", "units": n, **lineage, "_row": n, "_loaded_at": NOW} for n in range(1, ROWS + 1)]
            bad = [{**lineage, "_row": n, "reason": "bad", "_loaded_at": (LONG_AGO, NOW)[n]} for n in (0, 1)]
            rejects, schema = env.quarantine / dataset.table, dataset.contract.arrow_schema()
            parts = [_part(env, "rejects", bad, reject_schema())]
            delta.replace_files(rejects, reject_schema(), parts, [file], transaction=transaction, append=number <= FILES)
            parts = [_part(env, "rows", rows, schema)]
            delta.replace_files(env.raw / dataset.table, schema, parts, [file], transaction=transaction, append=number <= FILES)
        times -= 1


def expected(number: int) -> set[str]:
    """The items in the raw table after so many commits."""
    newest = range(max(1, number - FILES + 1), number + 1)
    return {f"{commit}-{n}" for commit in newest for n in range(1, ROWS + 1)}


def _part(env: Environment, name: str, rows: list[dict], schema: pa.Schema) -> Path:
    part = env.state / f"{name}.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), part)
    return part


def main(role: str, data: Path, contract: Path, times: int) -> None:
    env = Environment("local", "shop", data, data)
    dataset = Dataset("stall", "sales", "csv", read_contract(contract), path="*.csv", rejects_retention_days=30)
    print("ready", flush=True)
    {"keep": keep, "load": load}[role](env, dataset, times)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
