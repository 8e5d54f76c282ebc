"""Runs from the click to success, and the start of it all, against stock Dagster of the same version.

Stock is `dagster dev` with its own settings; the third comparison spares it the processes that its executor starts for steps. A
measurement starts a platform, makes one run to warm up, and measures the second. CPU and memory are those of whoever clicks,
save for the start, where they are those of all processes of the platform ten seconds later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.frame import Comparison, Options, Side

if TYPE_CHECKING:
    from bench.platforms import Platform

CHAIN = [f"link{number}" for number in range(5)]


def comparisons(_: Options) -> Iterator[Comparison]:
    """One asset, five in a chain, and the start."""
    for name, assets, executor, goal in (
        ("click to success, one asset", ["one"], "default", 1 / 8),
        ("click to success, one asset, stock in one process", ["one"], "in_process", None),
        ("click to success, a chain of five", CHAIN, "default", 1 / 8),
    ):
        yield Comparison(
            name,
            ours=Side("bench.runs:click_ours", assets),
            against=Side("bench.runs:click_stock", assets, executor),
            against_name="dagster dev",
            at_most=goal,
        )
    yield Comparison(
        "start until the shop's definitions are loaded",
        ours=Side("bench.runs:start_ours"),
        against=Side("bench.runs:start_stock"),
        against_name="dagster dev",
        memory_mib=400,
    )


def click_ours(assets: list[str]) -> Callable[[], object]:
    from bench.platforms import ours

    return _click(ours(), assets)


def click_stock(assets: list[str], executor: str) -> Callable[[], object]:
    from bench.platforms import stock

    return _click(stock(executor), assets)


def start_ours() -> Callable[[], object]:
    from bench.platforms import REPOSITORY, ours

    return _start(ours("shop", root=REPOSITORY))


def start_stock() -> Callable[[], object]:
    from bench.platforms import REPOSITORY, stock

    platform = stock(module="shop.definitions")
    platform.environment |= {"CAUDAL_ROOT": str(REPOSITORY), "CAUDAL_DATA": str(platform.folder / "data")}
    return _start(platform)


def _click(platform: Platform, assets: list[str]) -> Callable[[], object]:
    platform.start()
    platform.wait_for_daemons()
    platform.click(*assets)
    return lambda: platform.click(*assets)


def _start(platform: Platform) -> Callable[[], object]:
    def start() -> dict[str, Any]:
        seconds = platform.start()
        time.sleep(10)
        return {"seconds": seconds, "cpu_s": platform.cpu_s(), "peak_mib": platform.memory_mib()}

    return start
