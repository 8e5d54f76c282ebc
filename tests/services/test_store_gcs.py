"""A lake in Google Cloud Storage, against a server of its protocol."""

import gzip
import json
import types
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from caudal.store import StoreError, StoreUnreachable, open_store
from tests.services.servers import BadNetwork

pytest.register_assert_rewrite("tests.store.behaviour")
from tests.store.behaviour import *  # noqa: E402, F403


@pytest.fixture(scope="module")
def port(gcs):
    return gcs.port


@pytest.fixture(scope="module")
def network(port):
    network = BadNetwork(port)
    yield network
    network.close()


@pytest.fixture
def store(port, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    return open_store(f"gs://lakes/{uuid.uuid4().hex}/the lake")


@pytest.fixture
def shaky(network, monkeypatch):
    """A store behind a network that can be told to misbehave; its client does not pause before it tries again."""
    import gcsfs.retry

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(gcsfs.retry, "asyncio", types.SimpleNamespace(sleep=at_once))
    monkeypatch.setattr("caudal.store.remote.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{network.port}")
    return open_store(f"gs://lakes/{uuid.uuid4().hex}")


def test_a_creator_whose_answer_was_lost_still_learns_that_it_was_the_one(shaky, network, given):
    network.next("lost", "POST /upload")
    assert shaky.create("a.csv", given(b"mine")) is True
    network.next("lost", "POST /upload")
    assert shaky.create("a.csv", given(b"another's")) is False
    assert network.done[-2:] == ["lost", "lost"]


def test_of_eight_who_exchange_one_version_exactly_one_succeeds(store, given, read):
    store.create("a.csv", given(b"before"))
    version, sources = store.find("a.csv").version, [given(f"of {number}".encode()) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda source: store.exchange("a.csv", version, source), sources))
    assert won.count(True) == 1
    assert read("a.csv") == sources[won.index(True)].read_bytes()


def test_who_exchanged_and_whose_answer_was_lost_still_learns_of_it(shaky, network, given):
    shaky.create("a.csv", given(b"before"))
    network.next("lost", "POST /upload")
    assert shaky.exchange("a.csv", shaky.find("a.csv").version, given(b"mine")) is True


def test_a_server_that_is_busy_and_answers_that_break_off_are_asked_again(shaky, network, given, tmp_path):
    content = bytes(range(256)) * 100_000  # in pieces
    network.next("busy", "POST /upload", times=2)
    network.next("lost", "upload_id=")
    shaky.replace("a.bin", given(content))
    network.next("busy", "/download/")
    network.next("cut", "/download/")
    network.next("busy", "maxResults")
    (found,) = shaky.list("")
    assert shaky.fetch(found, tmp_path / "held").read_bytes() == content
    assert {"busy", "lost", "cut"} <= set(network.done)


def test_a_server_that_stays_silent_is_given_up_with_its_name(shaky, network, given, tmp_path):
    shaky.create("a.csv", given(b"1"))
    found = shaky.find("a.csv")
    network.next("busy", "/o/", times=6)
    with pytest.raises(StoreUnreachable, match=r"gs://lakes/.*: cannot look at a.csv: the server does not answer"):
        shaky.find("a.csv")
    network.next("busy", "/download/", times=6)
    with pytest.raises(StoreUnreachable, match=r"gs://lakes/.*: reading a.csv: no answer in 6 attempts"):
        shaky.fetch(found, tmp_path / "held")
    assert list((tmp_path / "held").iterdir()) == []


def test_an_object_that_is_stored_compressed_is_read_as_it_is_stored(store, port, tmp_path):
    boundary, name = "b", f"{store.prefix}a.csv"
    resource = json.dumps({"name": name, "contentEncoding": "gzip"}).encode()
    packed = gzip.compress(b"id\n1\n" * 1000)
    body = b"--b\r\nContent-Type: application/json\r\n\r\n" + resource
    body += b"\r\n--b\r\nContent-Type: text/csv\r\n\r\n" + packed + b"\r\n--b--\r\n"
    headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
    url = f"http://127.0.0.1:{port}/upload/storage/v1/b/lakes/o?uploadType=multipart"
    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60).close()
    found = store.find("a.csv")
    assert found.size_bytes == len(packed)
    assert store.fetch(found, tmp_path / "held").read_bytes() == packed


def test_what_arrives_is_held_against_the_server_s_checksum(store, given, tmp_path, monkeypatch):
    monkeypatch.setattr("caudal.store.gcs.md5_of", lambda _: b"\0" * 16)
    with pytest.raises(StoreError, match=r"the server refused: .*md5"):
        store.create("a.csv", given(b"1"))
    assert store.find("a.csv") is None


def test_a_bucket_that_is_not_there_is_named(store, given):
    nowhere = open_store("gs://no-such-bucket/lake")
    with pytest.raises(StoreError, match="cannot list: there is no bucket 'no-such-bucket', or this account may not see it"):
        list(nowhere.list(""))


def test_without_credentials_the_way_to_have_some_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(StoreError, match="run `gcloud auth application-default login`"):
        open_store(f"gs://{uuid.uuid4().hex}/lake")
