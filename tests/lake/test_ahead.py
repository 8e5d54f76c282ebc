"""Working ahead: in order, bounded, and what fails is told in its turn."""

import threading
from functools import partial
from itertools import count

import pytest

from caudal.lake.readers import ahead
from caudal.lake.readers.ahead import in_order, read_ahead


@pytest.mark.parametrize("size", [0, 1, 2, 50])
def test_results_come_in_the_order_of_the_tasks(size):
    assert list(in_order(partial(pow, n, 2) for n in range(size))) == [n * n for n in range(size)]


def test_a_single_task_needs_no_thread():
    (name,) = in_order([threading.current_thread])
    assert name is threading.current_thread()


def test_tasks_are_drawn_a_bounded_number_ahead(monkeypatch):
    monkeypatch.setattr(ahead, "_threads", lambda: 2)
    drawn = count()
    results = in_order(partial(int, next(drawn)) for _ in range(1000))
    assert next(results) == 0
    assert next(drawn) <= 5
    results.close()


def test_what_a_task_raises_is_raised_in_its_turn():
    def work(n):
        if n == 3:
            raise ZeroDivisionError
        return n

    results = in_order(partial(work, n) for n in range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_are_drawn_by_one_thread_and_an_error_comes_after_those_before_it():
    threads = set()

    def items():
        for n in range(5):
            threads.add(threading.current_thread())
            yield n
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for item in read_ahead(items()):
            seen.append(item)  # noqa: PERF402 - what came before the error is kept
    assert seen == [0, 1, 2, 3, 4]
    assert len(threads) == 1
    assert list(read_ahead(iter(()))) == []
