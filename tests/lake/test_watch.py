"""What the sensor asks for: everything that is new, in one run, and again if that run left it undone, but not for ever."""

import pytest

from caudal.lake.records import Seen
from caudal.lake.watch import ATTEMPTS, request_for


@pytest.fixture
def datasets(declare):
    return [declare(name="sales"), declare(name="stock")]


def seen(**pending):
    """Sequences by dataset; a negative one has nothing pending."""
    return {f"stall/{n}": Seen(0, 0, 0, 0, int(s > 0), abs(s)) for n, s in pending.items()}


def test_all_that_is_pending_comes_in_one_request_and_is_asked_once(datasets):
    now = seen(sales=5, stock=7)
    request = request_for(datasets, now, {})
    assert request.run_key == "stall/sales:5+stall/stock:7"
    assert request_for(datasets, now, request.asked, busy={"stall/sales", "stall/stock"}) is None


def test_nothing_pending_asks_for_nothing(datasets):
    assert request_for(datasets, seen(sales=-5, stock=0), {}) is None


def test_a_dataset_that_a_run_is_loading_waits_and_does_not_hold_up_the_others(datasets):
    request = request_for(datasets, seen(sales=6, stock=7), {"stall/sales": (5, 1)}, busy={"stall/sales"})
    assert [d.name for d in request.datasets] == ["stock"]
    later = request_for(datasets, seen(sales=6, stock=-7), request.asked)
    assert later.run_key == "stall/sales:6"


def test_files_that_a_failed_run_left_pending_are_asked_for_a_bounded_number_of_times(datasets):
    now, asked, keys = seen(sales=5, stock=0), {}, []
    while request := request_for(datasets, now, asked):
        keys.append(request.run_key)
        asked = request.asked
    assert keys == ["stall/sales:5", "stall/sales:5.2", "stall/sales:5.3"]
    assert len(keys) == ATTEMPTS
    assert request_for(datasets, seen(sales=6, stock=0), asked).run_key == "stall/sales:6"


def test_the_first_request_brings_what_is_still_to_be_extracted(datasets):
    request = request_for(datasets, seen(sales=5, stock=0), {}, extracted={"stall/stock"})
    assert request.run_key == "stall/sales:5+stall/stock:0"
    assert request_for(datasets, seen(sales=-5, stock=0), request.asked, extracted={"stall/stock"}) is None
