"""Published versions: what is recorded of each, which stay, and what a killed process leaves."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from caudal.warehouse import published, versions
from caudal.warehouse.candidate import open_candidate, publish_tables
from caudal.warehouse.engine import verified_extensions
from caudal.warehouse.versions import OPENING_GRACE_S, Cause, NoSuchVersion

LONG = timedelta(seconds=OPENING_GRACE_S + 1)


def put(env, x: int, **columns) -> str:
    return publish_tables(env, {"marts.t": pa.table({"x": [x]} | columns)}, cause=Cause("step", "run-1"))


def names(env) -> list[str]:
    return [version.name for version in versions.kept(env)]


def test_a_version_says_who_published_it_what_changed_and_what_it_holds(env):
    first = put(env, 1)
    publish_tables(env, {"marts.other": pa.table({"y": ["a", "b"]})})
    third = put(env, 2, z=["new"])
    old, middle, new = versions.kept(env)
    assert (old.record.cause, old.record.parent) == (Cause("step", "run-1"), "")
    assert old.record.changed == {"marts.t": "new, 1 rows"}
    assert middle.record.changed == {"marts.other": "new, 2 rows"}
    assert middle.record.relations["marts.t"].since == first
    assert new.record.changed == {"marts.t": "1 -> 1 rows; column z added"}
    assert new.record.relations["marts.t"].since == third
    assert dict(new.record.relations["marts.t"].columns) == {"x": "BIGINT", "z": "VARCHAR"}
    assert (new.is_current, old.is_current, new.record.parent) == (True, False, middle.name)
    assert new.disk_bytes > 0
    assert versions.last_good(env, "marts.other") == (middle.name, middle.published_at)


def test_what_was_changed_without_saying_so_is_found_by_its_definition_or_its_rows(env):
    first = put(env, 1)
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("CREATE VIEW marts.v AS SELECT x FROM marts.t; INSERT INTO marts.t VALUES (2)")
        second = candidate.publish()
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("DELETE FROM marts.t WHERE x = 2")
        candidate.publish()
    last = publish_tables(env, {"marts.u": pa.table({"x": [1]})})
    records = {version.name: version.record for version in versions.kept(env)}
    assert records[second].changed == {"marts.t": "1 -> 2 rows", "marts.v": "new view"}
    assert records[last].changed == {"marts.u": "new, 1 rows"}
    assert records[last].relations["marts.t"].since not in {first, second}


def test_the_last_versions_stay_and_none_that_a_reader_may_be_opening_goes(env):
    env = dataclasses.replace(env, kept_versions=3)
    for x in range(6):
        put(env, x)
    assert len(names(env)) == 6, "all were published within the grace"
    assert versions.clear(env, now=datetime.now(UTC)) == []
    before = names(env)
    assert versions.clear(env, now=datetime.now(UTC) + LONG) == before[2::-1]
    assert names(env) == before[-3:]
    assert list(env.candidates.iterdir()) == []
    assert published.read_arrow(env, "SELECT x FROM t").to_pylist() == [{"x": 5}]


def test_old_versions_go_but_for_the_one_before_the_newest(env):
    for x in range(4):
        put(env, x)
    before = names(env)
    assert versions.clear(dataclasses.replace(env, kept_days=0), now=datetime.now(UTC) + timedelta(days=900)) == []
    versions.clear(env, now=datetime.now(UTC) + timedelta(days=env.kept_days + 1))
    assert names(env) == before[-2:]


def test_a_version_is_named_by_the_beginning_of_its_name(env):
    one, two = put(env, 1), put(env, 2)
    assert versions.find(env, one).name == one
    assert versions.find(env, two[:-3]).name == two
    with pytest.raises(NoSuchVersion, match=f"'2001' is not kept.*newest first.: {two}, {one}"):
        versions.find(env, "2001")
    with pytest.raises(NoSuchVersion, match="'20' may be any of 2"):
        versions.find(env, "20")


@pytest.mark.parametrize("published_before", [True, False])
def test_a_version_that_was_never_seen_is_removed_by_the_next_candidate(env, published_before, monkeypatch):
    before = [put(env, 1)] if published_before else []
    verified_extensions(env)  # which makes links of its own
    monkeypatch.setattr("pathlib.Path.symlink_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        put(env, 2)
    monkeypatch.undo()
    assert len(list(env.versions.iterdir())) == len(before) + 1
    assert names(env) == before
    assert [*names(env), put(env, 3)] == [folder.name for folder in sorted(env.versions.iterdir())]


def test_versions_whose_link_was_lost_are_left_alone(env):
    put(env, 1), put(env, 2)
    env.published.unlink()
    put(env, 3)
    assert len(list(env.versions.iterdir())) == 3


def test_a_clock_that_was_put_back_does_not_hide_the_newest_version(env, monkeypatch):
    first = put(env, 1)
    monkeypatch.setattr(versions, "datetime", Yesterday)
    second = put(env, 2)
    assert second > first
    assert names(env) == [first, second]


class Yesterday(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=1)


def test_a_reader_that_slept_until_its_version_was_removed_gets_the_newest(env, monkeypatch):
    import duckdb

    put(env, 1)
    connect = duckdb.connect

    def slow(path, **settings):
        monkeypatch.setattr(duckdb, "connect", connect)
        put(env, 2)
        versions.clear(dataclasses.replace(env, kept_versions=1), now=datetime.now(UTC) + LONG)
        return connect(path, **settings)

    monkeypatch.setattr(duckdb, "connect", slow)
    assert published.read_arrow(env, "SELECT x FROM t").to_pylist() == [{"x": 2}]
