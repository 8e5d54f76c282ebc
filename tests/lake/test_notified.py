"""A lake that notifies: what a watch reports is what the store holds at the paths that it was told of."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.lake.notified import NotifiedWatch
from caudal.store import LocalStore

PATHS = [f"a/b/{n}.csv" for n in range(4)]


def put(store, path, text):
    with store.write(path) as file:
        file.write_text(text)


def test_the_first_look_lists_and_the_next_ones_look_only_where_they_are_told(tmp_path):
    store = LocalStore(tmp_path)
    put(store, "a/b/1.csv", "one")
    watch = NotifiedWatch(store, "a/b")
    assert [o.path for o in watch.look([]).found] == ["a/b/1.csv"]
    put(store, "a/b/2.csv", "two")
    put(store, "a/b/3.csv", "three")
    assert not watch.look([])
    assert [o.path for o in watch.look(["a/b/2.csv"]).found] == ["a/b/2.csv"]
    store.delete("a/b/1.csv")
    changes = watch.look(["a/b/1.csv", "a/b/2.csv", "a/b/9.csv"])
    assert (changes.found, changes.gone) == ([], ["a/b/1.csv"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(["", "x", "yy"])), max_size=4),
            st.lists(st.sampled_from(PATHS), max_size=6),
        ),
        max_size=6,
    )
)
def test_doubled_lost_and_reordered_notifications_leave_nothing_untrue_where_they_told(turns):
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        watch, believed = NotifiedWatch(store, "a/b"), {}
        for changed, told in [([], []), *turns]:
            for path, text in changed:
                put(store, path, text) if text else store.delete(path)
            changes = watch.look(told)
            believed.update({o.path: o.version for o in changes.found})
            for path in changes.gone:
                del believed[path]
            for path in told:
                live = store.find(path)
                assert believed.get(path) == (live.version if live else None)
        everything = NotifiedWatch(store, "a/b").look([])
        assert {o.path: o.version for o in everything.found} == {o.path: o.version for o in store.list("a/b")}
