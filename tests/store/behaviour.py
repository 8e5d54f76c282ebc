"""What every store does, as tests. A module imports them all and has a fixture `store`: an empty one, on a server of its kind."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caudal.store import LakeObject, Store, open_store

NAMES = [
    "with space",
    "ünïcödé 日本",
    "100%",
    "a%20b",
    "1+1",
    "nr#7",
    "a&b=c",
    "why?",
    "it's",
    "[x]{y}",
    "semi;colon",
    "~tilde",
]


@pytest.fixture
def given(tmp_path: Path) -> Callable[[bytes], Path]:
    """A local file of the given content."""
    lock, made = threading.Lock(), []

    def make(content: bytes) -> Path:
        with lock:
            made.append(content)
            path = tmp_path / f"given-{len(made)}"
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def seed(store: Store, given: Callable[[bytes], Path]) -> Callable[[Iterable[str]], None]:
    """Make a small object at each path, in whichever way is quick."""
    one = given(b"1")

    def make(paths: Iterable[str]) -> None:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(lambda path: store.create(path, one), paths))

    return make


@pytest.fixture
def read(store: Store, tmp_path: Path) -> Callable[[str], bytes | None]:
    """The live content of an object."""

    def content(path: str) -> bytes | None:
        live = store.find(path)
        held = store.fetch(live, tmp_path / "held") if live else None
        return held.read_bytes() if held else None

    return content


def test_what_was_created_is_found_listed_and_read(store, given, read):
    assert store.create("shop/orders/2024/a.csv", given(b"id\n1\n")) is True
    found = store.find("shop/orders/2024/a.csv")
    assert found == LakeObject("shop/orders/2024/a.csv", found.version, 5)
    assert list(store.list("shop/orders")) == [found]
    assert list(store.list("")) == [found]
    assert store.unchanged(found.path, found.version)
    assert read(found.path) == b"id\n1\n"


def test_creating_what_is_there_already_changes_nothing(store, given, read):
    assert store.create("a.csv", given(b"first"))
    before = store.find("a.csv")
    assert store.create("a.csv", given(b"second")) is False
    assert store.find("a.csv") == before
    assert read("a.csv") == b"first"


def test_of_eight_creators_at_once_exactly_one_succeeds(store, given, read):
    for turn in range(5):
        barrier = threading.Barrier(8, timeout=30)
        sources = [given(f"creator {n} of turn {turn}".encode()) for n in range(8)]

        def create(source: Path, path: str = f"raced/{turn}", barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return store.create(path, source)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, sources))
        assert won.count(True) == 1
        assert read(f"raced/{turn}") == sources[won.index(True)].read_bytes()


def test_a_version_is_exchanged_only_while_it_is_the_live_one(store, given, read):
    store.create("a.csv", given(b"first"))
    first = store.find("a.csv").version
    assert store.exchange("a.csv", first, given(b"second, and longer")) is True
    second = store.find("a.csv")
    assert store.exchange("a.csv", first, given(b"third")) is False
    assert store.find("a.csv") == second
    assert read("a.csv") == b"second, and longer"
    store.delete("a.csv")
    assert store.exchange("a.csv", second.version, given(b"fourth")) is False
    assert list(store.list("")) == []


def test_a_reader_of_an_object_that_is_replaced_sees_an_old_or_a_new_one_whole(store, given, tmp_path):
    store.replace("a.bin", given(b"\0" * 300_000))
    ended, seen, wrong = threading.Event(), set(), []

    def look() -> None:
        while not ended.is_set():
            live = store.find("a.bin")
            held = store.fetch(live, tmp_path / "held") if live else None
            if live is None or live.size_bytes != 300_000:
                wrong.append(live)
            elif held is not None:
                content = held.read_bytes()
                seen.add(content[0])
                if content != content[:1] * 300_000:
                    wrong.append(set(content))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(1, 30):
        store.replace("a.bin", given(bytes([number]) * 300_000))
    while 29 not in seen and reader.is_alive() and not wrong:
        reader.join(0.05)
    ended.set()
    reader.join(60)
    assert wrong == []
    assert 29 in seen


def test_a_version_that_was_replaced_or_deleted_is_not_to_be_had_any_more(store, given, tmp_path):
    store.create("a.csv", given(b"old"))
    old = store.find("a.csv")
    store.replace("a.csv", given(b"new"))
    into = tmp_path / "held"
    assert store.fetch(old, into) is None
    assert not store.unchanged("a.csv", old.version)
    new = store.find("a.csv")
    store.delete("a.csv")
    assert store.fetch(new, into) is None
    assert not store.unchanged("a.csv", new.version)
    assert store.find("a.csv") is None
    assert list(into.iterdir()) == []


def test_a_fetched_version_stays_what_it_is_when_the_object_is_replaced(store, given, tmp_path):
    store.create("a.csv.gz", given(b"old"))
    held = store.fetch(store.find("a.csv.gz"), tmp_path / "held")
    store.replace("a.csv.gz", given(b"new"))
    assert held.read_bytes() == b"old"
    assert held.name.endswith(".csv.gz")
    assert held.parent == tmp_path / "held"


def test_a_version_differs_whenever_the_content_does(store, given):
    versions = []
    for content in (b"aaaa", b"bbbb", b"cccc", b"ddd", b"eeee"):
        store.replace("a.csv", given(content))
        versions.append(store.find("a.csv").version)
        assert store.find("a.csv").version == versions[-1] == next(store.list("")).version
    assert len(set(versions)) == 5


def test_listing_5000_objects_gives_each_once(store, seed):
    paths = {f"many/{n // 2_500}/{n:04}.csv" for n in range(5_000)}
    seed(sorted(paths))
    listed = list(store.list("many"))
    assert {o.path for o in listed} == paths
    assert len(listed) == 5_000


def test_names_may_hold_spaces_signs_and_letters_of_any_script(store, given, read):
    for name in NAMES:
        assert store.create(f"odd names/{name}/{name}.csv", given(name.encode()))
    assert {o.path for o in store.list("odd names")} == {f"odd names/{name}/{name}.csv" for name in NAMES}
    for name in NAMES:
        assert read(f"odd names/{name}/{name}.csv") == name.encode()
        assert [o.path for o in store.list(f"odd names/{name}")] == [f"odd names/{name}/{name}.csv"]
        store.delete(f"odd names/{name}/{name}.csv")
    assert list(store.list("odd names")) == []


def test_unfinished_work_is_not_listed(store, given):
    one = given(b"1")
    unfinished = [".hidden", "x.csv.tmp", "x.csv.part", "x.crdownload", "x.csv._COPYING_", ".git/x.csv", "_temporary/0/x.csv"]
    for name in (*unfinished, "tmp.csv", "_SUCCESS"):
        store.create(f"in/{name}", one)
    assert {o.path for o in store.list("in")} == {"in/tmp.csv", "in/_SUCCESS"}


def test_a_folder_is_listed_without_those_whose_names_begin_alike(store, given):
    for path in ("orders/a.csv", "orders2/b.csv", "orders.csv"):
        store.create(path, given(b"1"))
    assert [o.path for o in store.list("orders")] == ["orders/a.csv"]
    assert [o.path for o in store.list("orders/")] == ["orders/a.csv"]
    assert list(store.list("nobody")) == []


@pytest.mark.parametrize("size", [0, 20 << 20])
def test_objects_of_no_byte_and_of_20_megabytes_are_written_and_read_whole(store, given, read, size):
    content = os.urandom(size)
    assert store.create("made.bin", given(content))
    store.replace("replaced.bin", given(b"before"))
    store.replace("replaced.bin", given(content))
    for name in ("made.bin", "replaced.bin"):
        assert store.find(name).size_bytes == size
        assert read(name) == content
    assert store.create("made.bin", given(content)) is False


def test_deleting_twice_is_deleting_once(store, given):
    store.create("a/b.csv", given(b"1"))
    store.delete("a/b.csv")
    store.delete("a/b.csv")
    assert list(store.list("")) == []
    assert store.create("a/b.csv", given(b"2"))


def test_a_writer_s_file_appears_when_its_block_ends(store, read):
    with store.write("shop/orders.parquet") as file:
        file.write_bytes(b"half")
        assert store.find("shop/orders.parquet") is None
        file.write_bytes(b"whole")
    assert read("shop/orders.parquet") == b"whole"
    assert not file.exists()


def test_a_writer_that_fails_leaves_the_object_as_it_was(store, given, read):
    store.create("a.csv", given(b"before"))
    before = store.find("a.csv")
    with pytest.raises(RuntimeError, match="out of paper"), store.write("a.csv") as file:
        file.write_bytes(b"half of the rows")
        raise RuntimeError("out of paper")
    assert store.find("a.csv") == before
    assert read("a.csv") == b"before"
    assert [o.path for o in store.list("")] == ["a.csv"]


def test_a_writer_of_the_same_bytes_may_leave_the_object_in_its_version(store, read):
    for content in (b"same", b"same", b"diff"):
        with store.write("a.csv", keep_same=True) as file:
            file.write_bytes(content)
        version = store.find("a.csv").version
        if content == b"same":
            first = version
            assert store.unchanged("a.csv", first)
    assert version != first
    assert read("a.csv") == b"diff"


def test_a_forked_process_uses_a_store_of_its_own(store, given):
    """Runs are forked from a process that may have looked at the lake before."""
    store.create("a.csv", given(b"1"))
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        sending.send([o.path for o in open_store(store.url).list("")])

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    listed = receiving.recv() if receiving.poll(30) else None
    process.kill()
    process.join()
    assert listed == ["a.csv"]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "a\nb"])
def test_a_path_that_leads_out_of_the_lake_is_refused(store, given, path):
    with pytest.raises(ValueError, match="cannot name an object of the lake"):
        store.create(path, given(b"1"))
    with pytest.raises(ValueError, match="cannot name an object of the lake"), store.write(path) as file:
        file.write_bytes(b"1")
