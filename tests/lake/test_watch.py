"""What the sensor asks for: everything that is new, in one run, and again if that run left it undone, but not for ever."""

import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.notified import NotifiedWatch
from caudal.lake.records import Seen
from caudal.lake.watch import ATTEMPTS, LakeWatch, request_for
from caudal.store import StoreUnreachable, open_store
from caudal.store.notifications import Told


@pytest.fixture
def datasets(declare):
    return [declare(name="sales"), declare(name="stock")]


def seen(**pending):
    """Sequences by dataset; a negative one has nothing pending."""
    return {f"stall/{n}": Seen(pending=int(s > 0), sequence=abs(s)) for n, s in pending.items()}


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


def test_the_first_request_brings_what_dagster_was_never_told_of_unless_a_run_is_at_it(datasets):
    request = request_for(datasets, seen(sales=5, stock=0), {}, untold={"stall/stock"})
    assert request.run_key == "stall/sales:5+stall/stock:0"
    assert request_for(datasets, seen(sales=-5, stock=0), request.asked) is None
    again = request_for(datasets, seen(sales=-5, stock=0), request.asked, untold={"stall/stock"})
    assert (again.run_key, [d.id for d in again.datasets]) == ("stall/stock:0.2", ["stall/stock"])
    assert request_for(datasets, seen(sales=-5, stock=0), {}, untold={"stall/stock"}, busy={"stall/stock"}) is None


class Heard:
    """Notifications as the test tells them."""

    def __init__(self):
        self.next, self.acknowledged, self.reachable = Told(), [], True

    def pull(self):
        if not self.reachable:
            raise StoreUnreachable("Pub/Sub does not answer")
        told, self.next = self.next, Told()
        return told

    def acknowledge(self, told):
        self.acknowledged += told.receipts


@pytest.fixture
def notified(env, declare, drop, monkeypatch):
    """A watch of a lake that notifies; which it is, the local one does not know."""
    dataset = declare()
    heard, watch = Heard(), LakeWatch(env, [dataset])
    monkeypatch.setattr(watch, "_notifications", heard)
    monkeypatch.setattr(watch, "_watch", lambda d: NotifiedWatch(open_store(env.lake_url), d.prefix))
    ledger = Ledger(env.state / "ledger.db")
    drop("stall/sales/a.csv", "x")
    assert watch.look(ledger)[dataset.id].pending == 1
    return heard, watch, ledger, dataset.id


def test_what_notifications_tell_of_is_acknowledged_when_the_ledger_has_it(notified, drop):
    heard, watch, ledger, name = notified
    drop("stall/sales/b.csv", "x")
    assert watch.look(ledger)[name].pending == 1
    heard.next = Told(frozenset({"stall/sales/b.csv", "other/place.csv"}), ("1", "2"))
    assert watch.look(ledger)[name].pending == 2
    assert heard.acknowledged == ["1", "2"]


def test_notifications_are_not_acknowledged_when_the_ledger_could_not_be_told(notified, drop, monkeypatch):
    heard, watch, ledger, name = notified
    drop("stall/sales/b.csv", "x")
    heard.next = Told(frozenset({"stall/sales/b.csv"}), ("1",))
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.look(ledger)
    assert heard.acknowledged == []
    assert watch.look(ledger)[name].pending == 2


def test_everything_is_listed_while_notifications_cannot_be_had_and_now_and_then(notified, drop, monkeypatch):
    heard, watch, ledger, name = notified
    drop("stall/sales/b.csv", "x")
    heard.reachable = False
    assert watch.look(ledger)[name].pending == 2
    heard.reachable = True
    drop("stall/sales/c.csv", "x")
    assert watch.look(ledger)[name].pending == 2
    monkeypatch.setattr("caudal.lake.watch.CONFIRM_S", 0.0)
    assert watch.look(ledger)[name].pending == 3
