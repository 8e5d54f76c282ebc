"""Watching a folder: every change is told once, whatever kind it is, and nothing that did not change."""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caudal.lake import folders
from caudal.lake.folders import FolderWatch, ListingWatch
from caudal.store import list_objects, open_store


@pytest.fixture
def watch(tmp_path):
    (tmp_path / "s/n").mkdir(parents=True)
    return FolderWatch(tmp_path, "s/n")


def write(path, text="x", age_s=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if age_s:
        os.utime(path, (time.time() - age_s,) * 2)


def settle(folder):
    os.utime(folder, (time.time() - 100,) * 2)


def told(changes):
    return sorted(o.path for o in changes.found), sorted(changes.gone)


def test_the_first_look_tells_everything_and_the_next_nothing(watch, tmp_path):
    write(tmp_path / "s/n/a.csv")
    write(tmp_path / "s/n/2024/b.csv")
    write(tmp_path / "s/n/.hidden")
    write(tmp_path / "s/n/c.csv.tmp")
    assert told(watch.look()) == (["s/n/2024/b.csv", "s/n/a.csv"], [])
    assert not watch.look()


def test_a_folder_that_does_not_exist_holds_nothing_until_it_does(tmp_path):
    watch = FolderWatch(tmp_path, "s/n")
    assert not watch.look()
    write(tmp_path / "s/n/a.csv")
    assert told(watch.look()) == (["s/n/a.csv"], [])


def test_what_is_added_replaced_and_removed_in_a_settled_folder_is_told_at_the_next_look(watch, tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / f"s/n/{name}.csv", age_s=1000)
    settle(tmp_path / "s/n")
    watch.look()
    write(tmp_path / "s/n/new.csv")
    write(tmp_path / "s/n/other", "yy", age_s=1000)
    (tmp_path / "s/n/other").rename(tmp_path / "s/n/b.csv")
    (tmp_path / "s/n/c.csv").unlink()
    assert told(watch.look()) == (["s/n/b.csv", "s/n/new.csv"], ["s/n/c.csv"])


def test_a_folder_that_is_removed_takes_its_files_along(watch, tmp_path):
    write(tmp_path / "s/n/2024/b.csv")
    watch.look()
    (tmp_path / "s/n/2024/b.csv").unlink()
    (tmp_path / "s/n/2024").rmdir()
    assert told(watch.look()) == ([], ["s/n/2024/b.csv"])


def test_a_recent_file_that_grows_in_place_is_told_at_every_step(watch, tmp_path):
    write(tmp_path / "s/n/a.csv", "1")
    watch.look()
    settle(tmp_path / "s/n")
    watch.look()
    for text in ("12", "123"):
        (tmp_path / "s/n/a.csv").write_text(text)
        (found,) = watch.look().found
        assert found.size_bytes == len(text)


def test_an_old_file_written_in_place_is_told_when_all_are_examined(watch, tmp_path, monkeypatch):
    write(tmp_path / "s/n/a.csv", age_s=1000)
    settle(tmp_path / "s/n")
    watch.look()
    write(tmp_path / "s/n/a.csv", "longer", age_s=500)
    settle(tmp_path / "s/n")
    monkeypatch.setattr(folders, "RECONCILE_S", 0.0)
    assert told(watch.look()) == (["s/n/a.csv"], [])


def test_links_that_lead_around_in_a_circle_are_no_folders(watch, tmp_path):
    write(tmp_path / "s/n/a.csv")
    (tmp_path / "s/n/loop").symlink_to(tmp_path / "s/n")
    assert "s/n/a.csv" in told(watch.look())[0]


def test_a_store_that_is_listed_whole_tells_the_same(tmp_path):
    watch = ListingWatch(open_store(str(tmp_path)), "s/n")
    write(tmp_path / "s/n/a.csv")
    write(tmp_path / "s/n/b.csv")
    assert told(watch.look()) == (["s/n/a.csv", "s/n/b.csv"], [])
    (tmp_path / "s/n/a.csv").unlink()
    write(tmp_path / "s/n/b.csv", "longer")
    assert told(watch.look()) == (["s/n/b.csv"], ["s/n/a.csv"])


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "append", "replace", "remove", "move", "look"]), st.integers(0, 5), st.integers(0, 2)),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_the_changes_add_up_to_what_is_there(tmp_path_factory, steps):
    lake = tmp_path_factory.mktemp("lake")
    watch, known = FolderWatch(lake, "s"), {}

    def look():
        changes = watch.look()
        known.update({o.path: o.version for o in changes.found})
        for path in changes.gone:
            del known[path]

    for step, name, folder in steps:
        path = lake / "s" / str(folder) / f"{name}.csv"
        if step == "look":
            look()
        elif step == "write" or not path.exists():
            write(path, "x" * name)
        elif step == "append":
            path.write_text(path.read_text() + "more")
        elif step == "replace":
            write(path.with_suffix(".new"), "replaced")
            path.with_suffix(".new").rename(path)
        elif step == "remove":
            path.unlink()
        else:
            path.rename(lake / "s" / str((folder + 1) % 3) / "moved.csv") if (
                lake / "s" / str((folder + 1) % 3)
            ).exists() else None
    look()
    look()
    assert known == {o.path: o.version for o in list_objects(lake, "s")}
