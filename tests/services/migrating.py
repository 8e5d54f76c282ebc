"""A small company on this machine, to be migrated; and a process that migrates it, to be killed."""

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.lake.dataset import Dataset
from caudal.store import write_atomically
from tests.conftest import ROOT

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - {name: item, logicalType: string, required: true}
      - {name: units, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)"}
      - {name: share, logicalType: number, physicalType: DOUBLE}
      - {name: day, logicalType: date}
      - {name: sold_at, logicalType: timestamp}
      - {name: opens, logicalType: time}
      - {name: open, logicalType: boolean}
"""
HEADER = "item,units,amount,share,day,sold_at,opens,open\n"


def row(n: int) -> str:
    return f"piñón {n},{n},{n}.50,{n / 7!r},2024-02-{n % 28 + 1:02},2024-02-01 10:{n % 60:02}:00,09:{n % 60:02}:00,{str(n % 2 == 0).lower()}\n"


def dataset(folder: Path) -> Dataset:
    contract = folder / "sales.odcs.yaml"
    contract.write_text(CONTRACT)
    return Dataset("stall", "sales", "csv", read_contract(contract), path="*.csv")


def environments(
    folder: Path, project: str, bucket: str, begin: str, url: str, read_host: str
) -> tuple[Environment, Environment]:
    """Here and there."""
    cloud = GoogleCloud(project, "EU", bucket, begin, bigquery_url=url, bigquery_read_host=read_host)
    here = Environment("local", "stall", ROOT, folder / "data")
    return here, Environment("gcp", "stall", ROOT, folder / "there", cloud=cloud)


def fill(env: Environment, sales: Dataset, files: int = 12) -> None:
    """Files with good and bad rows, one that cannot be read, one that is gone, one that changed since; tables; a registry."""
    import pyarrow as pa

    from caudal.lake.ledger import Ledger
    from caudal.lake.watch import look
    from caudal.warehouse.candidate import publish_tables
    from caudal.warehouse.loading import load_pending

    for n in range(files):
        land(env, f"{n}.csv", HEADER + "".join(row(n * 100 + i) for i in range(20)) + "bad,-1,,,,,,\n")
    land(env, "broken.csv", "nothing,of,that\n1,2,3\n")
    land(env, "gone.csv", HEADER + row(9001))
    load_pending(env, sales, "run")
    (env.lake / "stall/sales/gone.csv").unlink()
    look(env, Ledger(env.state / "ledger.db"), [sales])
    land(env, "0.csv", HEADER + row(7))
    look(env, Ledger(env.state / "ledger.db"), [sales])
    numbers = list(range(500))
    tables = {
        "marts.daily": pa.table(
            {
                "n": numbers,
                "amount": [Decimal(n) / 4 if n % 5 else None for n in numbers],
                "day": [date(2024, 1, n % 28 + 1) for n in numbers],
                "at": [datetime(2024, 1, 1, n % 24, tzinfo=UTC) for n in numbers],
                "naive": [datetime(2024, 1, 1, n % 24, tzinfo=UTC).replace(tzinfo=None) for n in numbers],
                "time": [time(n % 24, 30) for n in numbers],
                "names": [["a", "b"][: n % 3] for n in numbers],
                "inner": [{"x": n, "y": str(n)} for n in numbers],
            }
        ),
        "predictions.next": pa.table({"n": numbers, "value": [n / 3 for n in numbers]}),
        "marts.empty": pa.table({"n": pa.array([], pa.int64())}),
    }
    publish_tables(env, tables)
    (env.registry / "artifacts/r1/artifacts").mkdir(parents=True)
    (env.registry / "artifacts/r1/artifacts/model.json").write_text("{}")
    with closing(sqlite3.connect(env.registry / "mlflow.db")) as db, db:
        db.execute("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, artifact_location TEXT)")
        db.execute("INSERT INTO experiments VALUES (1, ?)", (str(env.registry / "artifacts"),))


def land(env: Environment, name: str, text: str) -> None:
    with write_atomically(env.lake / "stall/sales" / name) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    from caudal.runtime.migration.migrate import migrate

    here, there = environments(Path(sys.argv[1]), *sys.argv[2:7])
    print("ready", flush=True)
    migrate(here, there, [dataset(Path(sys.argv[1]))], lambda line: print(line.name, line.state, flush=True))
