"""Upkeep: fewer and larger files, nothing left that nobody reads, and no reader or loader that notices."""

import dataclasses
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from caudal.store import exclusive_lock
from caudal.warehouse import delta, published, upkeep, versions
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import reject_schema
from caudal.warehouse.pins import RECORD, pinned
from caudal.warehouse.upkeep import Settings, tend

NOW = Settings(grace_hours=0)
APPLICATION = "caudal-ledger-1"


class Raw:
    """The raw table of a dataset, loaded one file a commit."""

    def __init__(self, env, dataset):
        self.env, self.dataset, self.number = env, dataset, 0
        self.table = env.raw / dataset.table

    def load(self, *files: str, rows: int = 2, append: bool = True) -> int:
        schema = self.dataset.contract.arrow_schema()
        for file in files:
            self.number += 1
            part = self.env.state / "part.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            values = [
                {"item": f"{file}-{self.number}", "units": n, "_file": file, "_version": "1", "_row": n}
                for n in range(1, rows + 1)
            ]
            pq.write_table(pa.Table.from_pylist(values, schema=schema), part)
            transaction = delta.Transaction(APPLICATION, self.number)
            delta.replace_files(self.table, schema, [part], [file], transaction=transaction, append=append)
        return DeltaTable(self.table).version()

    def rows(self, version: int) -> int:
        """As DuckDB reads them, which is how everybody does."""
        with connect_memory(self.env) as connection:
            found = connection.execute(f"SELECT count(item) FROM delta_scan('{self.table}', version => {version})").fetchone()
        assert found is not None
        return found[0]

    def last(self) -> int | None:
        return delta.last_transaction(self.table, APPLICATION)


@pytest.fixture
def raw(env, declare) -> Raw:
    return Raw(env, declare())


def publish(env, *datasets) -> None:
    with open_candidate(env, datasets) as candidate:
        candidate.publish()


def tended(raw, settings=NOW):
    (done,) = tend(raw.env, raw.dataset, settings)
    return done


def age(raw, hours: float) -> None:
    """As if all that is there had been written so long ago."""
    then = time.time() - hours * 3600
    for path in raw.table.rglob("*"):
        os.utime(path, (then, then))


def test_many_small_files_become_one_and_every_row_stays(raw):
    raw.load(*(f"{n}.csv" for n in range(40)))
    done = tended(raw)
    assert (done.before.files, done.after.files, done.after.files_on_disk) == (40, 1, 1)
    assert done.after.bytes_on_disk < done.before.bytes_on_disk
    assert raw.rows(done.after.version) == 80
    assert raw.last() == 40


def test_a_few_small_files_are_not_worth_it_and_nothing_is_committed(raw, monkeypatch):
    version = raw.load("a.csv", "b.csv")

    @contextmanager
    def refuse(path):
        assert path.name == "upkeep.lock", "an idle table was locked"
        yield

    monkeypatch.setattr(upkeep, "exclusive_lock", refuse)
    done = tended(raw)
    assert done.before == done.after
    assert done.after.version == version


def test_doing_it_again_does_nothing(raw):
    raw.load(*(f"{n}.csv" for n in range(20)))
    first = tended(raw).after
    again = tended(raw)
    assert again.before.version == again.after.version
    assert (first.files, again.after.files) == (1, 1)


def test_a_pinned_version_stays_readable_with_its_log_until_nobody_pins_it(raw):
    raw.load(*(f"{n}.csv" for n in range(10)))
    DeltaTable(raw.table).create_checkpoint()
    raw.load(*(f"{n}.csv" for n in range(10, 15)))
    publish(raw.env, raw.dataset)
    raw.load(*(f"{n}.csv" for n in range(15, 25)))
    raw.load("0.csv", "1.csv", append=False)
    done = tended(raw)
    (pin,) = done.kept
    assert pin == 15
    assert done.kept[pin].startswith("published 20")
    assert (raw.rows(pin), raw.rows(done.after.version)) == (30, 50)
    assert published.read_arrow(raw.env, "SELECT count(item) AS n FROM raw.stall__sales").to_pylist() == [{"n": 30}]
    assert min(v for v, _ in upkeep._log_files(raw.table, upkeep._COMMIT)) == 10
    publish(raw.env, raw.dataset)
    publish(raw.env, raw.dataset)
    versions.clear(dataclasses.replace(raw.env, kept_versions=2), now=datetime.now(UTC) + timedelta(hours=1))
    done = tended(raw)
    assert done.kept == {}
    assert done.after.files_on_disk == done.after.files
    assert (raw.last(), raw.rows(done.after.version)) == (27, 50)
    with pytest.raises(Exception, match=r"DeltaKernel"):
        raw.rows(pin)


def test_what_a_candidate_reads_stays_while_it_is_built(raw):
    raw.load(*(f"{n}.csv" for n in range(30)))
    with open_candidate(raw.env, [raw.dataset]) as candidate:
        raw.load(*(f"{n}.csv" for n in range(30)), append=False)
        done = tended(raw)
        assert done.kept == {30: f"candidate {candidate.version}"}
        with candidate.connect() as connection:
            assert connection.execute("SELECT count(item) FROM raw.stall__sales").fetchone() == (60,)


def test_what_was_the_newest_within_the_grace_period_stays_for_whoever_opened_it(raw):
    raw.load(*(f"{n}.csv" for n in range(20)))
    age(raw, hours=30)
    version = raw.load("late.csv", append=False)
    raw.load(*(f"{n}.csv" for n in range(20)), append=False)
    done = tended(raw, Settings(grace_hours=24))
    assert done.kept == {20: "for who opened it in the last 24 hours"}
    assert [raw.rows(v) for v in (20, version, done.after.version)] == [40, 42, 42]


def test_a_loader_after_each_step_finds_its_transaction_and_loads_nothing_twice(raw, monkeypatch):
    raw.load(*(f"{n}.csv" for n in range(30)))
    seen = []

    def watch(name, step):
        def watched(*args):
            step(*args)
            seen.append((name, raw.last()))
            assert delta.committed(raw.table, delta.Transaction(APPLICATION, 30))
            assert not delta.committed(raw.table, delta.Transaction(APPLICATION, 31))

        monkeypatch.setattr(upkeep, name, watched)

    for name in ("_compact", "_clear_data", "_clear_log"):
        watch(name, getattr(upkeep, name))
    tended(raw)
    assert seen == [("_compact", 30), ("_clear_data", 30), ("_clear_log", 30)]
    version = raw.load("0.csv", append=False)
    assert raw.rows(version) == 60


def test_it_waits_for_the_loader_that_is_at_work(raw):
    raw.load(*(f"{n}.csv" for n in range(20)))
    import threading

    with exclusive_lock(raw.env.state / "locks" / f"{raw.dataset.table}.lock"):
        worker = threading.Thread(target=tended, args=(raw,))
        worker.start()
        worker.join(timeout=1.0)
        assert worker.is_alive()
        assert len(DeltaTable(raw.table).file_uris()) == 20
    worker.join(timeout=120)
    assert len(DeltaTable(raw.table).file_uris()) == 1


def test_what_a_killed_writer_left_is_removed_after_the_grace_period(raw):
    raw.load("a.csv")
    left = [raw.table / "orphan.parquet", raw.table / "part.parquet#3", raw.table / "_delta_log" / "_commit_1.json.tmp"]
    for path in left:
        path.write_bytes(b"half")
    tended(raw, Settings(grace_hours=24))
    assert all(path.exists() for path in left)
    age(raw, hours=25)
    tended(raw, Settings(grace_hours=24))
    assert not any(path.exists() for path in left)
    assert raw.rows(DeltaTable(raw.table).version()) == 2


def test_it_is_known_which_lake_files_a_data_file_holds_also_in_a_wide_table_and_after_compaction(env, declare):
    columns = "".join(f"      - {{name: c{n}, logicalType: integer}}\n" for n in range(40))
    contract = declare().contract.path.read_text() + columns
    raw = Raw(env, declare(contract))
    raw.load(*(f"{n}.csv" for n in range(10, 26)))
    raw.load("10.csv", append=False)
    tended(raw)
    (file,) = pa.table(DeltaTable(raw.table).get_add_actions(flatten=True)).to_pylist()
    assert (file["min._file"], file["max._file"], file["num_records"]) == ("10.csv", "25.csv", 32)


def test_the_log_of_a_pinned_version_outlives_the_librarys_thirty_days(raw):
    raw.load(*(f"{n}.csv" for n in range(5)))
    publish(raw.env, raw.dataset)
    raw.load("later.csv")
    DeltaTable(raw.table).create_checkpoint()
    age(raw, hours=24 * 40)
    raw.load(*(f"{n}.csv" for n in range(100)))
    assert raw.rows(5) == 10


def test_nothing_is_removed_while_a_version_does_not_say_what_it_reads(raw):
    raw.load(*(f"{n}.csv" for n in range(20)))
    publish(raw.env, raw.dataset)
    (record,) = raw.env.versions.rglob(RECORD)
    record.unlink()
    done = tended(raw)
    assert f"has no {RECORD}" in done.note
    assert (done.after.files, done.after.files_on_disk) == (1, 21)
    publish(raw.env, raw.dataset)  # and a build is not stopped by it


def test_a_candidate_keeps_the_pins_of_tables_that_it_was_not_given(raw):
    raw.load("a.csv")
    publish(raw.env, raw.dataset)
    publish(raw.env)
    assert set(pinned(raw.env)["raw/stall__sales"][1]) == {f"published {v.name}" for v in raw.env.versions.iterdir()}


def rejects(env, dataset, *given) -> None:
    rows = [{"_file": f, "_version": "1", "_row": 1, "reason": "bad", "_loaded_at": at} for f, at in given]
    part = env.state / "rejects.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=reject_schema()), part)
    files = [f for f, _ in given]
    table = env.quarantine / dataset.table
    delta.replace_files(table, reject_schema(), [part], files, transaction=delta.Transaction("t", 1), append=True)


@pytest.mark.parametrize(("days", "left"), [(None, ["a", "b", "c", "d!2"]), (30, ["a"]), (60, ["a", "b"])])
def test_rejects_go_when_they_are_old_or_their_file_is_gone_if_the_dataset_says_so(env, declare, monkeypatch, days, left):
    dataset = declare(rejects_retention_days=days)
    now = datetime.now(UTC)
    rejects(env, dataset, ("a", now), ("b", now - timedelta(days=40)), ("c", now), ("d!2", now))

    class Ledger:
        def __init__(self, path): ...

        def files(self, dataset_id, state):
            assert (dataset_id, state) == (dataset.id, "deleted")
            return [type("File", (), {"path": path}) for path in ("c", "d")]

    monkeypatch.setattr("caudal.warehouse.retention.Ledger", Ledger)
    (done,) = tend(env, dataset, Settings())
    assert (done.table, done.rejects_removed) == ("quarantine/stall__sales", 4 - len(left))
    assert sorted(r["_file"] for r in delta.read_rows(env.quarantine / dataset.table, ["_file"], 9)) == left


def test_a_grace_period_beyond_what_the_library_remembers_is_refused():
    with pytest.raises(ValueError, match="grace_hours is 169; expected 0 to 168, which is a week"):
        Settings(grace_hours=169)


@pytest.mark.parametrize(("table_mb", "file_mb"), [(1, 8), (2_048, 8), (8_192, 32), (1_000_000, 128)])
def test_the_larger_a_table_is_the_larger_are_its_files(table_mb, file_mb):
    assert Settings().target_of(table_mb * 1024**2) == file_mb * 1024**2
    assert Settings(target_bytes=5).target_of(table_mb * 1024**2) == 5
