"""A lake in a folder, and which store a URL opens."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caudal.environment import Environment
from caudal.store import LocalStore, StoreError, local_folder, open_store, version_of, write_atomically

pytest.register_assert_rewrite("tests.store.behaviour")
from tests.store.behaviour import *  # noqa: E402, F403


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "the lake"))


@pytest.fixture
def seed(store):
    def make(paths):
        for path in paths:
            (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (store.folder / path).write_bytes(b"1")

    return make


def test_a_fetched_file_is_the_lake_s_own_under_a_second_name(store, given, tmp_path):
    store.create("a.csv", given(b"1"))
    held = store.fetch(store.find("a.csv"), tmp_path / "held")
    assert held.samefile(store.folder / "a.csv")


def test_where_there_are_no_hard_links_a_file_is_copied(store, given, tmp_path, monkeypatch):
    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store.create("a.csv", given(b"old"))
    old = store.find("a.csv")
    monkeypatch.setattr(os, "link", no_link)
    held = store.fetch(old, tmp_path / "held")
    assert held.read_bytes() == b"old"
    assert not held.samefile(store.folder / "a.csv")
    store.replace("a.csv", given(b"new"))
    assert store.fetch(old, tmp_path / "held") is None
    store.delete("a.csv")
    assert store.fetch(old, tmp_path / "held") is None
    with pytest.raises(StoreError, match="needs hard links, so that of several writers one succeeds"):
        store.create("b.csv", given(b"1"))


def test_a_link_in_the_lake_is_fetched_as_the_file_that_it_leads_to(store, given, tmp_path):
    store.create("a.csv", given(b"1"))
    (store.folder / "link.csv").symlink_to("a.csv")
    held = store.fetch(store.find("link.csv"), tmp_path / "held")
    assert held.samefile(store.folder / "a.csv")


def test_a_file_that_replaces_one_within_a_tick_of_the_clock_has_another_version(tmp_path):
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    with write_atomically(target) as temporary:
        temporary.write_bytes(b"new")
        os.utime(temporary, ns=(0, target.stat().st_mtime_ns))
        before = version_of(target.stat())
    assert version_of(target.stat()) != before


def test_a_lake_is_opened_by_path_and_by_url(tmp_path):
    for url in (str(tmp_path / "a b"), f"file://{tmp_path}/a%20b", f"file://localhost{tmp_path}/a%20b"):
        store = open_store(url)
        assert isinstance(store, LocalStore)
        assert store.folder == local_folder(url) == tmp_path / "a b"
    assert local_folder("gs://bucket/lake") is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/lake", "ftp://host/lake: a lake is a folder, or gs://bucket/prefix"),
        ("file://lake/a", "file:///folder, with three slashes"),
        ("gs://", "names no bucket; a lake there is written gs://bucket/prefix"),
        ("s3:///a", "names no bucket; a lake there is written s3://bucket/prefix"),
        ("webhdfs:///lake", "a lake in HDFS is written webhdfs://user@host:9870/folder"),
        ("webhdfs://me:secret@host/lake", "a lake in HDFS is written"),
    ],
)
def test_a_url_that_names_no_lake_says_how_one_is_written(url, message):
    with pytest.raises(StoreError, match=message.replace("?", r"\?")):
        open_store(url)


def test_the_client_that_is_missing_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreError, match=r"s3fs is missing.*extra 's3'"):
        open_store("s3://bucket-without-client/lake")


def test_a_local_lake_costs_the_import_of_no_cloud_s_client():
    code = "import sys, caudal.store; caudal.store.open_store('/tmp'); print([m for m in sys.modules if m in %r])"
    clients = ("fsspec", "requests", "gcsfs", "s3fs", "aiohttp", "botocore", "google.auth")
    done = subprocess.run([sys.executable, "-c", code % (clients,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_environment_names_the_lake(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path))
    monkeypatch.delenv("CAUDAL_LAKE", raising=False)
    assert Environment.current("shop").lake_url == str(tmp_path / "shop" / "lake") == str(Environment.current("shop").lake)
    monkeypatch.setenv("CAUDAL_LAKE", "gs://company-lakes/{company}/landing")
    assert Environment.current("shop").lake_url == "gs://company-lakes/shop/landing"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAUDAL_LAKE", "elsewhere")
    assert Path(Environment.current("shop").lake_url) == tmp_path / "elsewhere"
