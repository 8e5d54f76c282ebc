"""A dataset whose rows are people's, loaded, repaired, published and copied wherever the platform copies."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import Repair
from caudal.runtime.erasure import finding
from caudal.runtime.erasure.applying import apply
from caudal.runtime.erasure.subjects import Where, where
from caudal.serving.online import KeyedTable, publish_online
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.loading import load_pending

MARKER = "marker-7qx-ana"

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - name: customer
        logicalType: string
        required: true
        classification: personal
        customProperties: [{property: subjectKey, value: customer}]
      - {name: item, logicalType: string}
      - {name: units, logicalType: integer, logicalTypeOptions: {minimum: 0}}
"""

HEADER = "customer,item,units\n"


@dataclass
class Shop:
    """The environment, and what tests do with it."""

    env: Environment
    dataset: Dataset

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.env.state / "ledger.db")

    def load(self):
        return load_pending(self.env, self.dataset, "run")

    def publish(self, *, keyed: bool = False) -> str:
        """One table with the customer's name under another, one of sums, and a view."""
        with open_candidate(self.env, [self.dataset]) as candidate:
            with candidate.connect() as connection:
                connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
                connection.execute("CREATE OR REPLACE TABLE marts.buyers AS SELECT customer, units FROM raw.stall__sales")
                connection.execute("CREATE OR REPLACE TABLE marts.who AS SELECT customer AS buyer FROM raw.stall__sales")
                connection.execute("CREATE OR REPLACE TABLE marts.totals AS SELECT sum(units) AS units FROM raw.stall__sales")
                if keyed:
                    connection.execute("CREATE TABLE marts.keyed AS SELECT DISTINCT customer, 1 AS units FROM marts.buyers")
                connection.execute("CREATE OR REPLACE VIEW marts.names AS SELECT customer FROM marts.buyers")
            return candidate.publish(["marts.buyers", "marts.who", "marts.totals"])

    @property
    def where(self) -> Where:
        return where(self.env, "customer", [self.dataset], {"marts.who": {"buyer"}})

    def plan(self, value: str = MARKER, **given):
        return finding.find(self.env, self.where, value, reason="T-1", asked_by="ann", **given)

    def apply(self, plan, tell=lambda datasets: [f"raw/{d.id}" for d in datasets]):
        return apply(self.env, plan, self.where, "bob", tell)

    def rows(self) -> list[tuple]:
        with connect_memory(self.env) as connection:
            sql = f"SELECT customer, item, units FROM delta_scan('{self.env.raw / self.dataset.table}') ORDER BY ALL"
            return connection.execute(sql).fetchall()

    def read(self, sql: str) -> list[tuple]:
        from caudal.warehouse.published import connect

        with connect(self.env) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shop(env, declare) -> Shop:
    return Shop(env, declare(CONTRACT))


@pytest.fixture
def everywhere(shop, drop) -> Shop:
    """The person of `MARKER` is in each place that the platform copies rows to."""
    env = shop.env
    drop("stall/sales/a.csv", f"{HEADER}{MARKER},apple,1\nben,pear,2\n{MARKER},fig,many\n")
    drop("stall/sales/b.csv", f"{HEADER}ben,plum,3\n{MARKER},nut,4\ncleo,kiwi,none\n")
    shop.load()
    shop.publish()
    (refused,) = [f for f in shop.ledger.files("stall/sales") if f.path.endswith("a.csv")]
    record = json.dumps({"customer": MARKER, "item": "fig", "units": "5"})
    shop.ledger.repair("stall/sales", [Repair(refused.path, refused.version, refused.path, 4, record)])
    shop.load()
    drop("stall/sales/b.csv", f"{HEADER}ben,plum,3\n{MARKER},nut,4\n{MARKER},nut,x\ncleo,kiwi,none\n")
    shop.load()
    shop.publish(keyed=True)
    kept = env.failing / "raw__stall__sales" / "few" / "1.parquet"
    kept.parent.mkdir(parents=True)
    pq.write_table(pa.table({"customer": [MARKER, "ben"], "units": [1, 2]}), kept)
    publish_online(env, None, (KeyedTable("keyed", "marts.keyed", "customer"),))
    notebook = env.reports / "notebooks" / "explore" / "a.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.write_text(json.dumps({"cells": [MARKER]}))
    return shop


def holding(root: Path, marker: str = MARKER) -> list[str]:
    """The files below `root` that hold the marker: in their bytes, or in the values of Parquet, SQLite and DuckDB."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        holds = marker.encode() in path.read_bytes()
        if path.suffix == ".parquet":
            holds |= marker in str(pq.read_table(path).to_pylist())
        elif path.suffix in (".sqlite", ".db"):
            with closing(sqlite3.connect(path)) as db:
                holds |= marker in "".join(db.iterdump())
        elif path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as db:
                tables = db.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
                holds |= any(marker in str(db.execute(f'SELECT * FROM "{s}"."{t}"').fetchall()) for s, t in tables)
        if holds:
            found.append(path.relative_to(root).as_posix())
    return found
