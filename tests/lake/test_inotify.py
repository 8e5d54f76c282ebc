"""Linux tells of changes in folders: of each, soon, once what came together is there; and what it cannot tell of is looked at."""

import logging
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from caudal.lake import inotify
from caudal.lake.inotify import FolderEvents
from caudal.lake.ledger import Ledger
from caudal.lake.watch import LakeWatch
from caudal.store import write_atomically

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

LONG_S = 20.0


@pytest.fixture
def events(tmp_path):
    (tmp_path / "s/n/2024").mkdir(parents=True)
    events = FolderEvents(tmp_path)
    for path in ("s/n", "s/n/2024"):
        events.watch(path)
    yield events
    events.close()


def told(events, most_s=0.05):
    return events.wait(most_s, 0.01, 0.1)


def test_a_quiet_folder_tells_nothing(events):
    assert not told(events)


@pytest.mark.parametrize("place", ["s/n/a.csv", "s/n/2024/a.csv"])
def test_a_file_that_is_renamed_into_place_is_told_and_the_writing_before_is_not(events, tmp_path, place):
    with write_atomically(tmp_path / place) as temporary:
        temporary.write_text("x")
        assert not told(events)
    assert told(events)
    assert not told(events)


def test_a_file_that_is_written_in_place_is_told_when_it_is_closed(events, tmp_path):
    with (tmp_path / "s/n/a.csv").open("w") as opened:
        opened.write("half")
        opened.flush()
        assert not told(events)
    assert told(events)
    assert events.collect().written == {"s/n/a.csv"}


def test_a_file_that_gets_a_second_name_is_told(events, tmp_path):
    (tmp_path / "elsewhere").write_text("x")
    os.link(tmp_path / "elsewhere", tmp_path / "s/n/a.csv")
    assert told(events)
    os.symlink(tmp_path / "elsewhere", tmp_path / "s/n/b.csv")
    assert told(events)


def test_removals_and_moves_are_told(events, tmp_path):
    (tmp_path / "s/n/a.csv").write_text("x")
    assert told(events)
    (tmp_path / "s/n/a.csv").rename(tmp_path / "s/n/2024/a.csv")
    assert told(events)
    (tmp_path / "s/n/2024/a.csv").unlink()
    assert told(events)


def test_a_folder_that_comes_to_be_is_told_wherever_on_the_way(tmp_path):
    events = FolderEvents(tmp_path)
    events.watch("s/n")
    for path in ("s", "s/n"):
        (tmp_path / path).mkdir()
        assert told(events)
        events.watch("s/n")
    (tmp_path / "s/n/a.csv").write_text("x")
    assert told(events)
    events.close()


def test_a_burst_is_told_once_it_is_over_and_one_without_end_is_told_nevertheless(events, tmp_path):
    def write(count, pause_s, enough):
        for number in range(count):
            (tmp_path / f"s/n/{number}.csv").touch()
            if enough.wait(pause_s):
                break

    burst = threading.Thread(target=write, args=(40, 0.005, threading.Event()))
    burst.start()
    assert events.wait(LONG_S, 0.5, 60.0)
    assert len(os.listdir(tmp_path / "s/n")) == 41
    burst.join()
    over = threading.Event()
    endless = threading.Thread(target=write, args=(6000, 0.01, over))
    endless.start()
    assert events.wait(LONG_S, 0.5, 0.15)
    assert endless.is_alive()
    over.set()
    endless.join()


def test_more_than_the_system_keeps_is_told_as_lost(events, tmp_path):
    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if kept > 100_000:
        pytest.skip(f"this system keeps {kept} events")
    files = [tmp_path / "s/n/a.csv", tmp_path / "s/n/b.csv"]
    for file in files:
        file.touch()
    for number in range(kept):
        os.utime(files[number % 2])
    assert told(events)
    assert events.collect().lost


def test_a_watched_folder_that_is_moved_is_told_as_lost_and_watched_where_it_stands(events, tmp_path):
    (tmp_path / "s/n/2024").rename(tmp_path / "s/n/2023")
    assert told(events)
    assert events.collect().lost
    (tmp_path / "s/n/2024").mkdir()
    for path in ("s/n", "s/n/2023", "s/n/2024"):
        events.watch(path)
        events.wait(0, 0, 0)
    for path in ("s/n/2023", "s/n/2024"):
        (tmp_path / path / "a.csv").touch()
        assert told(events), path


def test_what_nobody_could_make_use_of_is_told_again(events, tmp_path):
    (tmp_path / "s/n/a.csv").write_text("x")
    heard = events.collect()
    events.give_back(heard)
    assert events.collect().written == {"s/n/a.csv"}


def test_ten_watches_of_a_hundred_folders_cost_ten_descriptors_and_give_them_back(tmp_path):
    for number in range(100):
        (tmp_path / str(number)).mkdir()
    before = len(os.listdir("/proc/self/fd"))
    many = [FolderEvents(tmp_path) for _ in range(10)]
    for events in many:
        for number in range(100):
            events.watch(str(number))
    assert len(os.listdir("/proc/self/fd")) == before + 10
    for events in many:
        events.close()
    assert len(os.listdir("/proc/self/fd")) == before


# The watch of a lake ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(env, declare):
    """A watch of `stall/sales` that has looked once, its ledger, and how it waits: whether before `LONG_S` were over."""
    dataset = declare()
    (env.lake / "stall/sales").mkdir(parents=True)
    watch, ledger = LakeWatch(env, [dataset]), Ledger(env.state / "ledger.db")
    watch.look(ledger)
    yield watch, ledger, dataset.id
    watch.close()


def is_woken(watch, monkeypatch):
    monkeypatch.setattr("caudal.lake.watch.UNTOLD_S", LONG_S)
    began = time.monotonic()
    watch.wait(LONG_S)
    return time.monotonic() - began < LONG_S / 2


def test_a_file_that_lands_wakes_who_waits(lake, drop, monkeypatch):
    watch, ledger, name = lake
    landing = threading.Timer(0.05, drop, ("stall/sales/a.csv", "x"))
    landing.start()
    assert is_woken(watch, monkeypatch)
    assert watch.look(ledger)[name].pending == 1
    landing.join()


def test_files_in_a_folder_that_appeared_are_seen_whenever_they_came(lake, drop, monkeypatch):
    watch, ledger, name = lake
    drop("stall/sales/2024/01/a.csv", "x")
    assert is_woken(watch, monkeypatch)
    assert watch.look(ledger)[name].pending == 1
    drop("stall/sales/2024/01/b.csv", "x")
    assert is_woken(watch, monkeypatch)
    assert watch.look(ledger)[name].pending == 2


def test_an_old_file_that_is_written_in_place_is_seen_at_once(lake, env, drop, monkeypatch):
    watch, ledger, name = lake
    place = drop("stall/sales/a.csv", "x")
    os.utime(place, (time.time() - 1000,) * 2)
    os.utime(place.parent, (time.time() - 1000,) * 2)
    watch.look(ledger)
    watch.look(ledger)
    before = ledger.files(name)[0].version
    place.write_text("longer")
    os.utime(place, (time.time() - 500,) * 2)
    assert is_woken(watch, monkeypatch)
    watch.look(ledger)
    assert ledger.files(name)[0].version != before


def test_when_something_was_lost_all_files_are_examined(lake, drop, monkeypatch):
    watch, ledger, name = lake
    place = drop("stall/sales/a.csv", "x")
    os.utime(place, (time.time() - 1000,) * 2)
    os.utime(place.parent, (time.time() - 1000,) * 2)
    watch.look(ledger)
    watch.look(ledger)
    watch._events.collect()
    place.write_text("longer")
    os.utime(place, (time.time() - 500,) * 2)
    watch._events.collect()
    watch._events._heard.lost = True
    before = ledger.files(name)[0].version
    watch.look(ledger)
    assert ledger.files(name)[0].version != before


@pytest.mark.parametrize("call", ["inotify_init1", "inotify_add_watch"])
def test_where_the_system_watches_no_more_the_lake_is_looked_at_over_and_over_and_that_is_said_once(
    env, declare, drop, monkeypatch, caplog, call
):
    libc = inotify._libc()

    class Full:
        inotify_init1 = staticmethod(libc.inotify_init1)
        inotify_add_watch = staticmethod(libc.inotify_add_watch)

    def refuse(*_):
        inotify.ctypes.set_errno(inotify.errno.ENOSPC)
        return -1

    monkeypatch.setattr(Full, call, staticmethod(refuse))
    monkeypatch.setattr(inotify, "_libc", lambda: Full)
    dataset = declare()
    watch, ledger = LakeWatch(env, [dataset]), Ledger(env.state / "ledger.db")
    with caplog.at_level(logging.WARNING, "caudal.lake"):
        drop("stall/sales/a.csv", "x")
        watch.look(ledger)
        began = time.monotonic()
        for _ in range(3):
            watch.wait(LONG_S)
            watch.look(ledger)
    assert time.monotonic() - began < LONG_S / 2
    drop("stall/sales/b.csv", "x")
    watch.wait(0)
    assert watch.look(ledger)[dataset.id].pending == 2
    why = "more folders than fs.inotify.max_user_watches"
    (said,) = [r.getMessage() for r in caplog.records]
    assert said == f"{env.lake}: the system cannot tell of changes here ({why}), so it is looked at over and over"


def test_what_was_told_when_the_ledger_failed_is_told_again(lake, drop, monkeypatch):
    watch, ledger, name = lake
    drop("stall/sales/a.csv", "x")
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.look(ledger)
    assert watch.look(ledger)[name].pending == 1
