"""A lake in S3, against moto's server."""

import urllib.request
import uuid

import pytest

from caudal.store import StoreError, StoreUnreachable, open_store
from tests.services.servers import BadNetwork, answers, free_port, installed, started

pytest.register_assert_rewrite("tests.store.behaviour")
from tests.store.behaviour import *  # noqa: E402, F403


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    port = free_port()
    command = [installed("s3/venv/bin/python"), installed("../tests/services/s3/serve.py"), port]
    with started(command, tmp_path_factory.mktemp("s3") / "log", ready=lambda _: answers(port)):
        for bucket in ("lakes", "versioned-lakes"):
            put(f"http://127.0.0.1:{port}/{bucket}")
        on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        put(f"http://127.0.0.1:{port}/versioned-lakes?versioning", on)
        yield port


def put(url: str, body: bytes = b"") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/xml"}, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch, port):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-these-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-these-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(params=["lakes", "versioned-lakes"])
def store(request):
    return open_store(f"s3://{request.param}/{uuid.uuid4().hex}/the lake")


@pytest.fixture
def seed(port, store):
    def make(paths):
        names = "\n".join(store.prefix + path for path in paths).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/-/seed/{store.bucket}", names, timeout=60).close()

    return make


@pytest.fixture(scope="module")
def network(port):
    network = BadNetwork(port)
    yield network
    network.close()


@pytest.fixture
def shaky(network, monkeypatch):
    """A store behind a network that can be told to misbehave; its client does not pause before it tries again."""
    monkeypatch.setattr("caudal.store.remote.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{network.port}")
    return open_store(f"s3://lakes/{uuid.uuid4().hex}")


def test_a_creator_whose_answer_was_lost_still_learns_that_it_was_the_one(shaky, network, given):
    for content in (b"small", bytes(20 << 20)):
        name = f"{len(content)}.bin"
        completes = len(content) > 100  # what was sent in pieces
        network.next("lost", f"{name}?uploadId=" if completes else f"PUT /lakes/{shaky.prefix}{name}")
        assert shaky.create(name, given(content)) is True
        assert shaky.create(name, given(content)) is False
    network.next("lost", "bin?uploadId=")
    shaky.replace(name, given(content[1:]))
    assert shaky.find(name).size_bytes == len(content) - 1
    assert network.done[-3:] == ["lost", "lost", "lost"]


def test_a_server_that_is_busy_and_answers_that_break_off_are_asked_again(shaky, network, given, tmp_path):
    content = bytes(range(256)) * 100_000  # in pieces
    network.next("busy", "partNumber=1", times=2)
    network.next("lost", "partNumber=2")
    shaky.replace("a.bin", given(content))
    network.next("cut", "GET /lakes/")
    network.next("busy", "list-type=2")
    (found,) = shaky.list("")
    assert shaky.fetch(found, tmp_path / "held").read_bytes() == content
    assert {"busy", "lost", "cut"} <= set(network.done)


def test_a_server_that_stays_silent_is_given_up_with_its_name(shaky, network, given, tmp_path):
    shaky.create("a.csv", given(b"1"))
    network.next("busy", "HEAD", times=6)
    with pytest.raises(StoreUnreachable, match=r"s3://lakes/.*: cannot look at a.csv: the server does not answer"):
        shaky.find("a.csv")


def test_pieces_of_an_upload_that_failed_are_given_back(shaky, network, given, port):
    network.next("busy", "partNumber=2", times=6)
    with pytest.raises(StoreUnreachable, match=r"cannot replace a.bin"):
        shaky.replace("a.bin", given(bytes(20 << 20)))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lakes?uploads", timeout=60) as answer:
        assert b"<Upload>" not in answer.read()
    assert shaky.find("a.bin") is None


def test_a_bucket_that_is_not_there_is_named(port):
    nowhere = open_store("s3://no-such-bucket/lake")
    with pytest.raises(StoreError, match="cannot list: this endpoint has no bucket 'no-such-bucket'; correct CAUDAL_LAKE"):
        list(nowhere.list(""))


def test_without_credentials_the_way_to_have_some_is_told(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError, match=r"no AWS credentials .*let AWS_PROFILE name a profile"):
        list(open_store(f"s3://{uuid.uuid4().hex}/lake").list(""))
