"""How long after a file has landed a mart shows it, and whether many runs leave anything behind: `python -m bench.latency`.

The company of `tests/companies`: one dataset of CSV files, a staging view and two marts with their tests. A file of a hundred
rows is renamed into the lake; the clock stops when the mart's materialization is stored, so that raw table, checks, candidate,
dbt, its tests and publishing are all within. Files land at moments that know nothing of the sensor's ticks.

Then runs: fifty queued at once, and hundreds one after another, with memory and open files of every process before and after.
No peer: what stock Dagster does instead has a sensor of thirty seconds and automation of thirty more.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.platforms import REPOSITORY, Platform, ours

if TYPE_CHECKING:
    import dagster as dg

MART = ["marts", "sales", "net_by_month"]
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
RESULTS = Path(__file__).parent / "results" / "latency.md"


def main() -> int:
    """Print and keep the figures; 0 if the goals were reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    lines = [
        "# From a file to a mart, and many runs",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, 2 cores",
        "",
        "| | | goal |",
        "|---|---:|---:|",
    ]
    good = True
    for text, reached in (*file_to_mart(given.files), *many_runs(given.runs)):
        lines.append(text)
        print(text, flush=True)
        good &= reached
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


def file_to_mart(count: int) -> list[tuple[str, bool]]:
    """Median and 95th percentile of `count` files, and where the time went."""
    platform = _retail()
    ready_s = platform.start()
    import dagster as dg

    with dg.DagsterInstance.from_config(str(platform.folder / "data" / "dagster")) as instance:
        lake = platform.folder / "data" / "retail" / "lake" / "web" / "order_lines"
        chance = random.Random(3)
        for warm_up in range(3):
            _land(lake, 200 + warm_up)
            _materialized_after(instance, time.time() - 1, 120)
            time.sleep(8)  # the parent imports what the first runs needed
        found = []
        for number in range(count):
            time.sleep(chance.uniform(3.0, 9.0))
            landed = _land(lake, number)
            found.append(_materialized_after(instance, landed, 60) - landed)
            print(f"file {number}: {found[-1]:.2f} s", flush=True)
    platform.stop()
    median, late = statistics.median(found), sorted(found)[int(0.95 * len(found))]
    return [
        (f"| ready | {ready_s:.1f} s | 10 s |", ready_s <= 10),
        (f"| file landed to mart, median of {count} | {median:.2f} s | 2.5 s |", median <= 2.5),
        (f"| file landed to mart, 95th percentile | {late:.2f} s | 4 s |", late <= 4.0),
    ]


def many_runs(count: int) -> list[tuple[str, bool]]:
    """Fifty at once, then `count` in turns of ten; what they leave behind."""
    platform = ours()
    platform.start()
    platform.wait_for_daemons()
    platform.click("one")
    began = time.perf_counter()
    fifty = [platform.launch("one") for _ in range(50)]
    failed = _wait(platform, fifty)
    took_s = time.perf_counter() - began
    before = _resources(platform)
    for _ in range(count // 10):
        failed += _wait(platform, [platform.launch("one") for _ in range(10)])
    time.sleep(5)
    after = _resources(platform)
    platform.stop()
    grown, opened = after[0] / before[0], after[1] - before[1]
    return [
        (f"| 50 runs queued at once | {took_s:.1f} s | all end |", True),
        (f"| runs of {50 + count} that did not succeed | {failed} | 0 |", failed == 0),
        (
            f"| memory of all processes after 50 runs, and {count} more | {before[0]:.0f} -> {after[0]:.0f} MiB | flat |",
            grown < 1.1,
        ),
        (f"| their open files | {before[1]} -> {after[1]} | flat |", opened <= 10),
        (f"| their processes | {before[2]} -> {after[2]} | flat |", after[2] <= before[2]),
    ]


def _retail() -> Platform:
    made = ours()
    root = made.folder / "retail-root"
    shutil.copytree(REPOSITORY / "tests" / "companies", root)
    shutil.copytree(REPOSITORY / "deploy" / "local", root / "deploy" / "local")
    platform = ours("retail", root=root)
    platform.environment["PYTHONPATH"] = str(root)
    return platform


def _land(lake: Path, number: int) -> float:
    """Write a file of a hundred rows and rename it into the lake; when that was done, in seconds since the epoch."""
    lake.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"{700000 + number},{20000 + row},POPPY SEED ROLL,{row + 1},2011-03-{1 + number % 28:02} 08:26:00,2.55,17850.0,France\n"
        for row in range(100)
    )
    unseen = lake / f".{number}.tmp"
    unseen.write_text(HEADER + rows)
    unseen.rename(lake / f"{date(2010, 12, 1) + timedelta(days=number)}.csv")
    return time.time()


def _materialized_after(instance: dg.DagsterInstance, since_s: float, within_s: float) -> float:
    import dagster as dg

    deadline = time.time() + within_s
    while time.time() < deadline:
        event = instance.get_latest_materialization_event(dg.AssetKey(MART))
        if event is not None and event.timestamp > since_s:
            return event.timestamp
        time.sleep(0.02)
    raise RuntimeError(f"{'/'.join(MART)} was not materialized within {within_s:.0f} s")


def _wait(platform: Platform, runs: list[str]) -> int:
    """How many did not succeed."""
    ends = {}
    while len(ends) < len(runs):
        for run in runs:
            status = ends.get(run) or platform.status(run)
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                ends[run] = status
        time.sleep(0.05)
    return sum(status != "SUCCESS" for status in ends.values())


def _resources(platform: Platform) -> tuple[float, int, int]:
    """Memory in MiB, open files and number of all processes."""
    processes = platform.processes()
    opened = 0
    for pid in processes:
        try:
            opened += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return platform.memory_mib(), opened, len(processes)


if __name__ == "__main__":
    sys.exit(main())
