"""Working ahead: several threads, results in order, a bounded number of them waiting. Arrow and DuckDB run beside Python."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: More threads than this gain little: rows are cut and written one after the other.
MAX_THREADS = 8


def in_order(tasks: Iterable[Callable[[], T]]) -> Generator[T]:
    """Yield what each of `tasks` returns, in their order, while later ones are worked on.

    `tasks` is drawn from in the thread of the caller. A single one is done there too. What a task raises is raised in its turn.
    """
    waiting: deque[Future[T]] = deque()
    remaining = iter(tasks)
    first = next(remaining, None)
    second = next(remaining, None)
    if second is None:
        if first is not None:
            yield first()
        return
    assert first is not None
    threads = _threads()
    pool = ThreadPoolExecutor(threads, "ahead")
    try:
        waiting.extend(pool.submit(task) for task in (first, second))
        for task in remaining:
            waiting.append(pool.submit(task))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_ahead(items: Iterator[T], count: int = 2) -> Generator[T]:
    """Yield `items`, which are drawn ahead in a thread of their own. What drawing raises is raised in its turn."""

    def draw() -> list[T]:
        return list(islice(items, 1))

    pool = ThreadPoolExecutor(1, "read-ahead")
    waiting = deque(pool.submit(draw) for _ in range(count))
    try:
        while drawn := waiting.popleft().result():
            waiting.append(pool.submit(draw))
            yield from drawn
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _threads() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, MAX_THREADS))
