"""A look at a folder of 100,000 lake files, against listing it.

The files lie in one folder, the worst case for directory times. They and the folder have not changed for a minute, but for the
one file of the second comparison, which appears right before each side looks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.frame import Comparison, Options, Side

FILES = 100_000
PREFIX = "shop/sales"

#: Looks measured together, where one is too short for the clock.
LOOKS = 20


def comparisons(options: Options) -> Iterator[Comparison]:
    """An unchanged folder, and one with a file more; as the watch sees it, and with the ledger told."""
    lake = str(_lake(options))
    yield Comparison(
        f"{LOOKS} looks, nothing changed",
        ours=Side("bench.lake_tick:look_unchanged", lake),
        against=Side("bench.lake_tick:scan", lake),
        against_name=f"{LOOKS} x os.scandir",
        at_most=0.05,
    )
    yield Comparison(
        f"{LOOKS} looks and the ledger, nothing changed",
        ours=Side("bench.lake_tick:tick_unchanged", lake),
        against=Side("bench.lake_tick:scan", lake),
        against_name=f"{LOOKS} x os.scandir",
        at_most=0.05,
    )
    yield Comparison(
        "a look and the ledger, one file more",
        ours=Side("bench.lake_tick:tick_changed", lake),
        against=Side("bench.lake_tick:scan_and_stat", lake),
        against_name="os.scandir and stat of each",
        at_most=1.2,
    )


def look_unchanged(lake: str) -> Callable[[], object]:
    """The watch of one folder."""
    from caudal.lake.folders import FolderWatch

    watch = FolderWatch(_settled(lake), PREFIX)
    assert len(watch.look().found) >= FILES // 100
    return lambda: [watch.look() for _ in range(LOOKS)]


def tick_unchanged(lake: str) -> Callable[[], object]:
    """What a tick of the sensor does when nothing is new."""
    watch, ledger = _watched(lake)
    return lambda: [watch.look(ledger) for _ in range(LOOKS)]


def tick_changed(lake: str) -> Callable[[], object]:
    """What a tick of the sensor does when a file has appeared."""
    watch, ledger = _watched(lake)
    _one_more(lake)

    def tick() -> None:
        (seen,) = watch.look(ledger).values()
        assert seen.pending

    return tick


def scan(lake: str) -> Callable[[], object]:
    """Names only."""
    folder = _settled(lake) / PREFIX
    return lambda: [sum(1 for _ in os.scandir(folder)) for _ in range(LOOKS)]


def scan_and_stat(lake: str) -> Callable[[], object]:
    """Names, sizes and times."""
    folder = _settled(lake) / PREFIX
    _one_more(lake)
    return lambda: sum(entry.stat().st_size + entry.stat().st_mtime_ns for entry in os.scandir(folder))


def _watched(lake: str):
    import tempfile

    from caudal.contracts import Contract
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.ledger import Ledger
    from caudal.lake.records import Outcome
    from caudal.lake.watch import LakeWatch

    _settled(lake)
    data = Path(tempfile.mkdtemp(prefix="caudal-tick-"))
    env = Environment("local", "shop", data, data, lake_elsewhere=lake)
    source, name = PREFIX.split("/")
    dataset = Dataset(source, name, "csv", Contract(data, "t", "t", "1", "", None, ()))
    ledger, watch = Ledger(env.state / "ledger.db"), LakeWatch(env, [dataset])
    watch.look(ledger)
    batch = ledger.claim(dataset, "run", -1)
    assert batch is not None
    ledger.prepare(batch, [Outcome(f.path) for f in batch.files])
    ledger.finish(batch.number)
    return watch, ledger


def _lake(options: Options) -> Path:
    lake = options.cache / f"tick-{int(FILES * options.scale)}"
    folder = lake / PREFIX
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(os.listdir(folder)), int(FILES * options.scale)):
        (folder / f"{number:06}.csv").write_bytes(b"")
    long_ago = time.time() - 3600
    for entry in os.scandir(folder):
        os.utime(entry.path, (long_ago, long_ago))
    return lake


def _settled(lake: str) -> Path:
    """The lake as it was an hour ago."""
    folder = Path(lake) / PREFIX
    (folder / "one more.csv").unlink(missing_ok=True)
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))
    return Path(lake)


def _one_more(lake: str) -> None:
    (Path(lake) / PREFIX / "one more.csv").write_bytes(b"")
