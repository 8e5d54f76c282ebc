"""What happens to a raw table when contracts change, files repeat each other, and people amend the ledger."""

import datetime as dt
import gzip
import os
import time
import zipfile
from dataclasses import replace

import pytest
from deltalake import DeltaTable

from caudal.lake import operate
from caudal.lake.ledger import Ledger
from caudal.warehouse import delta, repairs
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.loading import ChangedTypes, load_pending

HEADER = "item,units,amount\n"


@pytest.fixture
def ledger(env):
    return Ledger(env.state / "ledger.db")


@pytest.fixture
def pack(env):
    """Write a zip archive into the lake."""

    def write(path, **members):
        target = env.lake / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target.with_suffix(".tmp"), "w") as archive:
            for name, text in members.items():
                archive.writestr(f"{name}.csv", text)
        os.replace(target.with_suffix(".tmp"), target)

    return write


def raw(env, dataset, *columns):
    rows = DeltaTable(env.raw / dataset.table).to_pyarrow_table().to_pylist()
    return sorted((tuple(r[c] for c in columns or ("_file", "_row", "item", "units")) for r in rows), key=repr)


def rejects(env, dataset):
    rows = delta.read_rows(env.quarantine / dataset.table, ["_file", "_row", "column", "value", "reason"], 100)
    return sorted((tuple(r.values()) for r in rows), key=repr)


def drifting(dataset, drift):
    return replace(dataset, contract=replace(dataset.contract, drift=drift))


def retyped(dataset, **types):
    columns = [replace(c, **types.get(c.name, {})) for c in dataset.contract.columns]
    return replace(dataset, contract=replace(dataset.contract, columns=tuple(columns)))


def state(ledger, dataset):
    return {f.path.removeprefix("stall/sales/"): f.state for f in ledger.files(dataset.id)}


# Members -------------------------------------------------------------------------------------------------------------


def test_the_members_of_an_archive_are_loaded_and_refused_each_by_itself(env, ledger, declare, pack):
    dataset = declare(path="*")
    pack("stall/sales/a.zip", good=HEADER + "apple,1,1.00\n", bad="other\n1\n", poor=HEADER + "pear,x,1.00\nplum,2,1.00\n")
    loaded = load_pending(env, dataset, "run")
    (file,) = ledger.files(dataset.id)
    assert raw(env, dataset) == [("stall/sales/a.zip!good.csv", 2, "apple", 1), ("stall/sales/a.zip!poor.csv", 3, "plum", 2)]
    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected) == (3, 2, 1)
    assert (file.state, file.has_members) == ("loaded", True)
    assert "1 of its 3 members are in quarantine: stall/sales/a.zip!bad.csv" in file.note
    assert [r[:2] for r in rejects(env, dataset)] == [("stall/sales/a.zip!bad.csv", None), ("stall/sales/a.zip!poor.csv", 2)]


def test_a_replaced_archive_leaves_no_row_of_a_member_that_it_no_longer_has(env, ledger, declare, pack):
    dataset = declare(path="*", on_delete="remove")
    pack("stall/sales/a.zip", one=HEADER + "apple,1,1.00\n", two=HEADER + "pear,bad,1.00\n")
    pack("stall/sales/a.zip.zip", one=HEADER + "fig,7,1.00\n")
    load_pending(env, dataset, "run")
    pack("stall/sales/a.zip", three=HEADER + "plum,3,1.00\n")
    load_pending(env, dataset, "run")
    assert raw(env, dataset) == [("stall/sales/a.zip!three.csv", 2, "plum", 3), ("stall/sales/a.zip.zip!one.csv", 2, "fig", 7)]
    assert rejects(env, dataset) == []
    (env.lake / "stall/sales/a.zip").unlink()
    load_pending(env, dataset, "run")
    assert raw(env, dataset, "item") == [("fig",)]


def test_a_plain_file_that_becomes_an_archive_and_back_has_its_rows_once(env, ledger, declare, drop, pack):
    dataset = declare(path="*")
    for n in range(3):
        drop("stall/sales/a", HEADER + f"apple,{n},1.00\n")
        load_pending(env, dataset, "run")
        assert raw(env, dataset) == [("stall/sales/a", 2, "apple", n)]
        pack("stall/sales/a", inner=HEADER + f"pear,{n},1.00\n")
        load_pending(env, dataset, "run")
        assert raw(env, dataset) == [("stall/sales/a!inner.csv", 2, "pear", n)]


def test_a_compressed_file_is_one_file(env, ledger, declare):
    dataset = declare(path="*")
    target = env.lake / "stall/sales/a.csv.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(gzip.compress((HEADER + "apple,1,1.00\n").encode()))
    load_pending(env, dataset, "run")
    assert raw(env, dataset) == [("stall/sales/a.csv.gz", 2, "apple", 1)]
    assert not list((env.state / "parts").rglob("*.csv"))


# Drift ---------------------------------------------------------------------------------------------------------------


def test_a_new_column_appears_in_the_raw_table_and_is_remembered_with_its_first_file(env, ledger, declare, drop):
    dataset = drifting(declare(), "evolve")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    load_pending(env, dataset, "run")
    drop("stall/sales/b.csv", "item,colour,units,amount\npear,green,2,1.00\n")
    drop("stall/sales/c.csv", HEADER + "plum,3,1.00\n")
    loaded = load_pending(env, dataset, "run")
    assert raw(env, dataset, "item", "colour") == [("apple", None), ("pear", "green"), ("plum", None)]
    assert loaded.undeclared == {"colour"}
    ((name, first),) = [(e.name, e.first_file) for e in ledger.evolved(dataset.id)]
    assert (name, first) == ("colour", "stall/sales/b.csv")
    with open_candidate(env, [dataset]) as candidate, candidate.connect() as connection:
        assert connection.execute("SELECT item, colour FROM raw.stall__sales ORDER BY 1").fetchall()[1] == ("pear", "green")


def test_a_column_that_the_contract_does_not_admit_quarantines_the_file_until_the_contract_does(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/b.csv", "item,colour,units,amount\npear,green,2,1.00\n")
    load_pending(env, dataset, "run")
    assert state(ledger, dataset) == {"b.csv": "quarantined"}
    load_pending(env, drifting(dataset, "ignore"), "run")
    assert state(ledger, dataset) == {"b.csv": "loaded"}
    assert raw(env, dataset, "item") == [("pear",)]


def test_a_column_of_another_type_has_all_files_read_again_in_one_commit(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,2.00\n")
    before = load_pending(env, dataset, "run").raw_version
    as_text = retyped(dataset, units={"logical_type": "string", "minimum": None})
    drop("stall/sales/c.csv", HEADER + "plum,many,1.00\n")
    after = load_pending(env, as_text, "run", batch_files=1)
    assert raw(env, dataset, "item", "units") == [("apple", "1"), ("pear", "2"), ("plum", "many")]
    assert after.raw_version == before + 1
    assert DeltaTable(env.raw / dataset.table, version=before).to_pyarrow_table().num_rows == 2


def test_a_file_is_replaced_in_a_table_that_has_a_column_which_the_contract_no_longer_has(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,2.00\n")
    load_pending(env, dataset, "run")
    columns = tuple(c for c in dataset.contract.columns if c.name != "units")
    fewer = replace(dataset, contract=replace(dataset.contract, columns=columns, drift="ignore"))
    drop("stall/sales/a.csv", HEADER + "apple,10,1.00\n")
    load_pending(env, fewer, "run")
    assert raw(env, dataset, "item", "units") == [("apple", None), ("pear", 2)]


def test_a_column_of_another_name_has_all_files_read_again_and_is_not_empty_in_older_ones(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,2.00\n")
    before = load_pending(env, dataset, "run").raw_version
    renamed = retyped(dataset, units={"name": "pieces", "renamed_from": ("units",)})
    drop("stall/sales/c.csv", "item,pieces,amount\nplum,3,1.00\n")
    after = load_pending(env, renamed, "run")
    assert raw(env, dataset, "item", "pieces") == [("apple", 1), ("pear", 2), ("plum", 3)]
    assert after.raw_version == before + 1
    assert load_pending(env, renamed, "run").files == []


def test_types_do_not_change_under_rows_that_cannot_be_read_again(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,2.00\n")
    load_pending(env, dataset, "run")
    (env.lake / "stall/sales/a.csv").unlink()
    as_text = retyped(dataset, units={"logical_type": "string", "minimum": None})
    with pytest.raises(ChangedTypes, match=r"1 of them are gone from the lake.*`caudal lake forget stall/sales --gone`"):
        load_pending(env, as_text, "run")
    assert raw(env, dataset, "item") == [("apple",), ("pear",)]
    assert operate.forget(env, "stall/sales", gone=True) == 1
    load_pending(env, as_text, "run")
    assert raw(env, dataset, "item", "units") == [("pear", "2")]


def test_a_time_of_day_is_kept_and_shown_as_one(env, ledger, contract_of, declare, drop):
    dataset = replace(declare(), contract=contract_of("item", {"name": "at", "logicalType": "time"}))
    drop("stall/sales/a.csv", "item,at\napple,10:30:00.5\npear,\n")
    load_pending(env, dataset, "run")
    with open_candidate(env, [dataset]) as candidate, candidate.connect() as connection:
        rows = connection.execute('SELECT item, "at"::VARCHAR, typeof("at") FROM raw.stall__sales ORDER BY 1').fetchall()
    assert rows == [("apple", "10:30:00.5", "TIME"), ("pear", None, "TIME")]


# Copies --------------------------------------------------------------------------------------------------------------


def test_the_same_content_under_two_names_is_loaded_once_where_copies_are_refused(env, ledger, declare, drop):
    dataset = declare(copies="refuse", on_delete="remove")
    drop("stall/sales/b.csv", HEADER + "apple,1,1.00\n")
    load_pending(env, dataset, "run")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    drop("stall/sales/x.csv", HEADER + "plum,1,1.00\n")
    drop("stall/sales/y.csv", HEADER + "plum,1,1.00\n")
    load_pending(env, dataset, "run")
    assert state(ledger, dataset) == {"a.csv": "quarantined", "b.csv": "loaded", "x.csv": "loaded", "y.csv": "quarantined"}
    assert raw(env, dataset, "item") == [("apple",), ("plum",)]
    assert "the same content as `stall/sales/b.csv`" in ledger.files(dataset.id, "quarantined")[0].reason
    (env.lake / "stall/sales/b.csv").unlink()
    load_pending(env, dataset, "run")
    load_pending(env, dataset, "run")
    assert state(ledger, dataset)["a.csv"] == "loaded"
    assert raw(env, dataset, "item") == [("apple",), ("plum",)]


def test_the_same_content_under_two_names_is_loaded_twice_where_nothing_is_said(env, ledger, declare, drop):
    dataset = declare()
    for name in "ab":
        drop(f"stall/sales/{name}.csv", HEADER + "apple,1,1.00\n")
    load_pending(env, dataset, "run")
    assert len(raw(env, dataset)) == 2


# People --------------------------------------------------------------------------------------------------------------


def test_a_replayed_file_has_its_rows_once(env, ledger, declare, drop):
    dataset = declare()
    for name in "ab":
        drop(f"stall/sales/{name}.csv", HEADER + f"{name},1,1.00\n")
    load_pending(env, dataset, "run")
    assert operate.replay(env, "stall/sales", ["a.csv"]) == 1
    assert len(load_pending(env, dataset, "run").files) == 1
    assert operate.replay(env, "stall/sales") == 2
    load_pending(env, dataset, "run")
    assert raw(env, dataset, "item") == [("a",), ("b",)]


def test_what_cannot_be_done_is_refused_in_words(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\n")
    load_pending(env, dataset, "run")
    for ask, told in (
        (lambda: operate.retry(env, "stall/none"), "no file of a dataset `stall/none` was ever seen; there are: stall/sales"),
        (lambda: operate.retry(env, "stall/sales", ["a.csv"]), "no such file of stall/sales is in quarantine"),
        (lambda: operate.forget(env, "stall/sales", ["a.csv"]), "a.csv is in the lake"),
        (lambda: operate.forget(env, "stall/sales"), "name the files to forget"),
        (lambda: operate.replay(env, "stall/sales", partitions=["x"]), "no file of the partition x"),
    ):
        with pytest.raises(operate.Refused, match=told):
            ask()


def test_repaired_rows_are_loaded_in_the_place_of_the_rejected_ones_and_stay_whatever_is_replayed(
    env, ledger, declare, drop, tmp_path
):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + 'apple,1,1.00\n"pe""ar, big",two,2.00\n,3,3.00\nfig,-4,4.00\n')
    load_pending(env, dataset, "run")
    written = tmp_path / "rejects.csv"
    assert repairs.export(env, dataset, written).rows == 3
    text = written.read_text()
    assert '"pe""ar, big",two,2.00' in text
    written.write_text(text.replace(",two,2.00", ",2,2.00").replace(",,3,3.00", ",lime,3,3.00"))
    done = repairs.accept(env, dataset, written)
    assert (done.kept, done.files) == (2, 1)
    assert [r[1:] for r in done.refused] == [(5, "units", "-4", "below the minimum of 0")]
    expected = [
        ("stall/sales/a.csv", 2, "apple", 1),
        ("stall/sales/a.csv", 3, 'pe"ar, big', 2),
        ("stall/sales/a.csv", 4, "lime", 3),
    ]
    for _ in range(2):
        load_pending(env, dataset, "run")
        assert raw(env, dataset) == expected
        assert [r[1:4] for r in rejects(env, dataset)] == [(5, "units", "-4")]
        totals = ledger.totals(dataset.id)
        assert (totals.rows_read, totals.rows_loaded, totals.rows_rejected) == (4, 3, 1)
        operate.replay(env, "stall/sales")
    load_pending(env, dataset, "run")


def test_repairs_of_a_file_that_was_replaced_are_refused_and_do_nothing_to_the_new_one(env, ledger, declare, drop, tmp_path):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,one,1.00\n")
    load_pending(env, dataset, "run")
    written = tmp_path / "rejects.csv"
    repairs.export(env, dataset, written)
    written.write_text(written.read_text().replace("apple,one", "apple,1"))
    repairs.accept(env, dataset, written)
    drop("stall/sales/a.csv", HEADER + "apple,seven,7.00\n")
    load_pending(env, dataset, "run")
    assert [r[3] for r in rejects(env, dataset)] == ["seven"]
    with pytest.raises(repairs.UnusableRepairs, match=r"row 2: stall/sales/a.csv, row 2 is not among the rejects"):
        repairs.accept(env, dataset, written)


# The ledger ----------------------------------------------------------------------------------------------------------


def test_a_lost_ledger_doubles_no_row_in_however_many_batches(env, declare, drop, pack):
    dataset = declare(path="*")
    for n in range(5):
        drop(f"stall/sales/{n}.csv", HEADER + f"item{n},{n},1.00\n")
    pack("stall/sales/a.zip", one=HEADER + "fig,9,1.00\n")
    load_pending(env, dataset, "run")
    (env.lake / "stall/sales/3.csv").unlink()
    for left in env.state.glob("ledger.db*"):
        left.unlink()
    load_pending(env, dataset, "run", batch_files=1)
    drop("stall/sales/3.csv", HEADER + "item3,3,1.00\n")
    load_pending(env, dataset, "run")
    assert raw(env, dataset, "item", "units") == [("fig", 9), *((f"item{n}", n) for n in range(5))]


def test_a_month_late_file_is_loaded_into_its_partition(env, ledger, declare, drop):
    dataset = declare(path="{day:%Y-%m-%d}.csv", partition_by="day", start=dt.datetime.fromisoformat("2024-01-01"))
    for day in ("2024-02-01", "2024-01-02"):
        late = drop(f"stall/sales/{day}.csv", HEADER + f"{day},1,1.00\n")
        os.utime(late, (time.time() - 40 * 86400,) * 2)
        load_pending(env, dataset, "run")
    assert {f.partition for f in ledger.files(dataset.id, "loaded")} == {"2024-01-02", "2024-02-01"}
    assert len(raw(env, dataset)) == 2
