"""What loading into BigQuery asks of Google, and what it adds to their time: `python -m bench.bigquery_load`.

Against the servers of `tests/services`, through proxies that count requests and note when one is being answered. What a real
project's network and servers take is not told by that; how often they are asked, and what is added, is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.cloud import bigquery_server, storage_server
from tests.services.servers import BadNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

RESULTS = Path(__file__).parent / "results" / "bigquery_load.md"
OVERHEAD_GOAL_S = 0.2

_CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - {name: item, logicalType: string}
      - {name: units, logicalType: integer}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)"}
"""


class Counting(BadNetwork):
    """Counts, and knows how long a server was being waited for."""

    busy_s = 0.0
    _waiting = 0
    _since = 0.0
    _clock = threading.Lock()

    def pass_on(self, handler: Any) -> None:
        with Counting._clock:
            if Counting._waiting == 0:
                Counting._since = time.perf_counter()
            Counting._waiting += 1
        try:
            super().pass_on(handler)
        finally:
            with Counting._clock:
                Counting._waiting -= 1
                if Counting._waiting == 0:
                    Counting.busy_s += time.perf_counter() - Counting._since


@dataclass(frozen=True)
class Load:
    """One load.

    Attributes:
        committing_s: from the first request to the last, of which the servers took `servers_s`.

    """

    files: int
    bigquery: Counter[str]
    storage: Counter[str]
    jobs: int
    billed_bytes: int
    seconds: float
    committing_s: float
    servers_s: float

    @property
    def overhead_s(self) -> float:
        return self.committing_s - self.servers_s


def main() -> int:
    """Print and keep the figures; 0 if the goal was reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.bigquery_load", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as (env, dataset, proxies):
        # What a process does once, such as importing the client, is done before.
        first_of_all = measured(env, dataset, proxies, "warm", 1)
        single = [measured(env, dataset, proxies, f"single{n}", 1) for n in range(given.repeats)]
        many = measured(env, dataset, proxies, "many", given.files)
        again = measured(env, dataset, proxies, "many", given.files)
    typical = sorted(single, key=lambda each: each.overhead_s)[given.repeats // 2]
    lines = [
        "# Loading into BigQuery: requests, jobs and what is added to the servers' time",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, 2 cores, load average {os.getloadavg()[0]:.1f}, against the servers of decision 0028.",
        "",
        "| load | files | requests to BigQuery | to Cloud Storage | jobs | billed | s in all | at the servers | added |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        _line("the first of all", first_of_all),
        _line(f"one new file (median of {given.repeats})", typical),
        _line(f"{given.files:,} new files", many),
        _line(f"{given.files:,} changed files", again),
    ]
    overhead = statistics.median(each.overhead_s for each in single)
    lines += ["", f"Added by one load: {overhead * 1000:.0f} ms (goal: at most {OVERHEAD_GOAL_S * 1000:.0f} ms)."]
    lines += ["", f"Requests of the {given.files:,} new files: {_told(many.bigquery)}; {_told(many.storage)}."]
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0 if overhead <= OVERHEAD_GOAL_S else 1


@contextmanager
def world(folder: Path) -> Iterator[tuple[Environment, Dataset, tuple[Counting, Counting]]]:
    """Both servers, each behind a proxy, and a dataset."""
    from caudal.contracts import read_contract
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud
    from caudal.lake.dataset import Dataset

    contract = folder / "sales.odcs.yaml"
    contract.write_text(_CONTRACT)
    with storage_server(folder) as storage, bigquery_server(folder, storage) as server:
        proxies = Counting(int(server.rest_url.rpartition(":")[2])), Counting(storage.port)
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{proxies[1].port}"
        url = f"http://127.0.0.1:{proxies[0].port}"
        cloud = GoogleCloud(server.project, "US", storage.bucket(), f"b{uuid.uuid4().hex[:8]}_", bigquery_url=url)
        data = folder / "data"
        env = Environment("gcp", "shop", folder, data, cloud=cloud, lake_elsewhere=str(folder / "lake"))
        try:
            yield env, Dataset("stall", "sales", "csv", read_contract(contract), duplicates="off"), proxies
        finally:
            for proxy in proxies:
                proxy.close()


def measured(env: Environment, dataset: Dataset, proxies: tuple[Counting, Counting], name: str, files: int) -> Load:
    """Write `files` files and load them."""
    from caudal.lake.ledger import Ledger
    from caudal.lake.watch import look
    from caudal.store import open_store
    from caudal.warehouse import loading

    store, stamp = open_store(env.lake_url), time.time_ns()
    for number in range(files):
        with store.write(f"stall/sales/{name}{number}.csv") as temporary:
            temporary.write_text(f"item,units,amount\napple,{stamp},1.50\n")
    look(env, Ledger(env.state / "ledger.db"), [dataset])
    for proxy in proxies:
        proxy.requests.clear()
    preparing_s, prepare = [0.0], loading.prepare_batch

    def prepared(*arguments: Any, **given: Any) -> Any:
        began = time.perf_counter()
        try:
            return prepare(*arguments, **given)
        finally:
            preparing_s[0] += time.perf_counter() - began

    loading.prepare_batch = prepared
    Counting.busy_s, began = 0.0, time.perf_counter()
    try:
        loaded = loading.load_pending(env, dataset, "bench", look_first=False)
    finally:
        loading.prepare_batch = prepare
    seconds = time.perf_counter() - began
    assert len(loaded.files) == files
    return Load(
        files,
        *(Counter(_kind(request) for request in proxy.requests) for proxy in proxies),
        len(loaded.jobs),
        sum(job.bytes_billed for job in loaded.jobs),
        seconds,
        seconds - preparing_s[0],
        Counting.busy_s,
    )


def _kind(request: str) -> str:
    method, path, *_ = request.split()
    parts = path.partition("?")[0].strip("/").split("/")
    words = [p for p in parts if p in {"datasets", "tables", "jobs", "queries", "upload", "o"}]
    return f"{method} {words[-1] if words else parts[-1]}"


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())


def _line(name: str, load: Load) -> str:
    return (
        f"| {name} | {load.files:,} | {load.bigquery.total()} | {load.storage.total()} | {load.jobs} | {load.billed_bytes:,} B "
        f"| {load.seconds:.2f} | {load.servers_s:.2f} | {load.overhead_s * 1000:.0f} ms |"
    )


if __name__ == "__main__":
    sys.exit(main())
