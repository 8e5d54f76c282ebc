"""A lake in HDFS, against a name node and a data node."""

import re
import urllib.request
import uuid

import pytest

from caudal.store import StoreError, StoreUnreachable, open_store
from tests.services.servers import BadNetwork, installed, started

pytest.register_assert_rewrite("tests.store.behaviour")
from tests.store.behaviour import *  # noqa: E402, F403


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hdfs")
    jars = f"{installed('hdfs/classes')}:{installed('hdfs/lib')}/*"
    printed = re.compile(r"WebHDFS: http://localhost:(\d+)")
    with started(["java", "-Xmx512m", "-cp", jars, "Hdfs", folder / "data"], folder / "log", printed.search, within_s=240):
        yield int(printed.search((folder / "log").read_text())[1])


@pytest.fixture(scope="module")
def network(port):
    network = BadNetwork(port)
    yield network
    network.close()


@pytest.fixture
def store(port):
    return open_store(f"webhdfs://localhost:{port}/{uuid.uuid4().hex}/the lake")


@pytest.fixture
def seed(port, store):
    """The files that the server begins with, put under the store's folder."""

    def make(paths):
        assert sorted(paths) == [f"many/{n // 2_500}/{n:04}.csv" for n in range(5_000)]
        for path, query in ((f"/{store.root}", "op=MKDIRS"), ("/many", f"op=RENAME&destination=/{store.root}/many")):
            url = f"http://localhost:{port}/webhdfs/v1{path}?{query}&user.name={store._client.user}".replace(" ", "%20")
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=60).close()

    return make


@pytest.fixture
def shaky(network, monkeypatch):
    """A store behind a network that can be told to misbehave; it does not pause before it tries again."""
    monkeypatch.setattr("caudal.store.remote.LONGEST_PAUSE_S", 0.01)
    return open_store(f"webhdfs://127.0.0.1:{network.port}/{uuid.uuid4().hex}")


def test_a_creator_whose_answer_was_lost_still_learns_that_it_was_the_one(shaky, network, given):
    network.next("lost", "op=RENAME")
    assert shaky.create("a.csv", given(b"mine")) is True
    assert shaky.create("a.csv", given(b"another's")) is False
    network.next("lost", "op=RENAME")
    shaky.replace("a.csv", given(b"again mine"))
    assert shaky.find("a.csv").size_bytes == len(b"again mine")
    assert network.done[-2:] == ["lost", "lost"]


def test_a_server_that_is_busy_is_asked_again(shaky, network, given, tmp_path):
    network.next("busy", "op=CREATE", times=2)
    shaky.replace("a.bin", given(b"content"))
    network.next("lost", "op=OPEN")
    network.next("busy", "op=LISTSTATUS_BATCH")
    (found,) = shaky.list("")
    assert shaky.fetch(found, tmp_path / "held").read_bytes() == b"content"


def test_a_server_that_stays_silent_is_given_up_with_its_name(shaky, network):
    network.next("busy", "op=GETFILESTATUS", times=6)
    expected = r"webhdfs://127.0.0.1:\d+/.*: GETFILESTATUS of a.csv: no answer in 6 attempts.*a running name node\?"
    with pytest.raises(StoreUnreachable, match=expected):
        shaky.find("a.csv")


def test_nothing_is_left_beside_an_object_that_was_not_the_first(store, given):
    store.create("in/a.csv", given(b"1"))
    store.create("in/a.csv", given(b"2"))
    store.replace("in/a.csv", given(b"3"))
    assert [entry["pathSuffix"] for entry in store._entries("in")] == ["a.csv"]


def test_a_folder_in_an_object_s_place_is_never_written_into(store, given):
    store.create("a/b.csv", given(b"1"))
    assert store.find("a") is None
    with pytest.raises(StoreError, match="cannot create a: the server refused"):
        store.create("a", given(b"2"))
    with pytest.raises(StoreError, match="cannot replace a: the server refused"):
        store.replace("a", given(b"2"))
    assert [o.path for o in store.list("")] == ["a/b.csv"]


def test_a_user_who_may_not_write_is_told_so(port, store, given):
    store.create("a.csv", given(b"1"))
    other = open_store(f"webhdfs://stranger@localhost:{port}/{store.root}")
    assert [o.path for o in other.list("")] == ["a.csv"]
    with pytest.raises(StoreError, match=r"cannot create b.csv: Permission denied: user=stranger, access=WRITE"):
        other.create("b.csv", given(b"1"))


def test_a_gateway_that_cannot_rename_over_a_file_is_refused(store, given, monkeypatch):
    """HttpFS ignores the option that asks for it, and answers as name nodes do to a plain rename."""
    store.create("a.csv", given(b"1"))
    ask = store._ask
    monkeypatch.setattr(
        store, "_ask", lambda method, operation, path, renameoptions=None, **given: ask(method, operation, path, **given)
    )
    assert store.create("a.csv", given(b"2")) is False
    assert store.create("b.csv", given(b"2")) is True
    with pytest.raises(StoreError, match="does not rename over a file"):
        store.replace("a.csv", given(b"2"))
    assert {o.path: o.size_bytes for o in store.list("")} == {"a.csv": 1, "b.csv": 1}
