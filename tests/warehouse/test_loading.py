"""From lake files to the raw table: every row exactly once, whatever happens to the files or to the loader."""

import os
from decimal import Decimal

import pytest
from deltalake import DeltaTable

from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse import delta, loading
from caudal.warehouse.loading import load_pending


@pytest.fixture
def ledger(env):
    return Ledger(env.state / "ledger.db")


def raw(env, dataset):
    table = DeltaTable(env.raw / dataset.table).to_pyarrow_table().to_pylist()
    return sorted((r["_file"].rsplit("/", 1)[1], r["_row"], r["item"], r["units"], r["amount"]) for r in table)


def rejects(env, dataset):
    return delta.read_rows(env.quarantine / dataset.table, ["_file", "_row", "column", "value", "reason"], 100)


def see_and_load(env, ledger, dataset):
    look(env, ledger, [dataset])
    return load_pending(env, dataset, "run")


HEADER = "item,units,amount\n"


def test_rows_are_typed_and_know_where_they_came_from(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "007,1,1.50\npear,2,\n")
    loaded = see_and_load(env, ledger, dataset)
    rows = raw(env, dataset)
    assert [r[2:] for r in rows] == [("007", 1, Decimal("1.50")), ("pear", 2, None)]
    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected) == (2, 2, 0)
    assert ledger.totals(dataset.id).rows_loaded == 2


def test_loading_again_without_change_commits_nothing(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    first = see_and_load(env, ledger, dataset)
    second = see_and_load(env, ledger, dataset)
    assert second.files == []
    assert second.raw_version == first.raw_version


def test_a_changed_file_replaces_its_rows_and_no_others(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    drop("stall/sales/it's.csv", HEADER + "pear,2,2.00\n")
    see_and_load(env, ledger, dataset)
    drop("stall/sales/it's.csv", HEADER + "plum,3,3.00\nfig,4,4.00\n")
    see_and_load(env, ledger, dataset)
    assert [r[2] for r in raw(env, dataset)] == ["apple", "plum", "fig"]


def test_bad_rows_go_to_the_rejects_with_row_column_value_and_reason(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\npear,many,2.00\n,-1,3\n")
    loaded = see_and_load(env, ledger, dataset)
    assert (loaded.rows_read, loaded.rows_loaded, loaded.rows_rejected) == (3, 1, 2)
    found = {(r["column"], r["value"]) for r in rejects(env, dataset)}
    assert found == {("units", "many"), ("item", None), ("units", "-1")}
    assert all(r["reason"] and r["_row"] for r in rejects(env, dataset))


def test_rejects_of_a_repaired_file_disappear(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "pear,many,2.00\n")
    see_and_load(env, ledger, dataset)
    drop("stall/sales/a.csv", HEADER + "pear,2,2.00\n")
    see_and_load(env, ledger, dataset)
    assert rejects(env, dataset) == []
    assert [r[2] for r in raw(env, dataset)] == ["pear"]


def test_an_unreadable_file_is_quarantined_and_the_others_are_loaded(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    (env.lake / "stall/sales/b.csv").write_bytes(b"PK\x03\x04" + bytes(200))
    loaded = see_and_load(env, ledger, dataset)
    ((file, outcome),) = loaded.quarantined
    assert file.path == "stall/sales/b.csv"
    assert outcome.unreadable
    assert [r["_file"] for r in rejects(env, dataset)] == ["stall/sales/b.csv"]
    assert [r[2] for r in raw(env, dataset)] == ["apple"]


def test_a_file_with_a_header_and_no_rows_is_loaded_with_none(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER)
    loaded = see_and_load(env, ledger, dataset)
    assert [o.rows_read for _, o in loaded.files] == [0]
    assert ledger.totals(dataset.id).files == {"loaded": 1}


def test_the_rows_of_a_deleted_file_stay_or_go_as_declared(env, ledger, declare, drop):
    for policy, left in (("keep", ["apple", "pear"]), ("remove", ["pear"])):
        dataset = declare(name=f"sales_{policy}", on_delete=policy)
        doomed = drop(f"{dataset.prefix}/a.csv", HEADER + "apple,1,1.50\n")
        drop(f"{dataset.prefix}/b.csv", HEADER + "pear,1,1.50\n")
        see_and_load(env, ledger, dataset)
        doomed.unlink()
        see_and_load(env, ledger, dataset)
        assert [r[2] for r in raw(env, dataset)] == left


def test_a_file_that_vanishes_between_seeing_and_loading_is_left_to_the_next_look(env, ledger, declare, drop, monkeypatch):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    drop("stall/sales/b.csv", HEADER + "pear,1,1.50\n")
    look(env, ledger, [dataset])
    (env.lake / "stall/sales/a.csv").unlink()
    drop("stall/sales/b.csv", HEADER + "plum,1,1.50\n")
    with monkeypatch.context() as blind:
        blind.setattr(loading, "look", lambda *_: {})
        loaded = load_pending(env, dataset, "run")
    assert loaded.unstable == {"stall/sales/a.csv", "stall/sales/b.csv"}
    see_and_load(env, ledger, dataset)
    assert [r[2] for r in raw(env, dataset)] == ["plum"]


@pytest.mark.parametrize("step", ["prepare", "replace_files", "finish"])
def test_a_loader_that_dies_at_any_step_is_made_good_by_the_next(env, ledger, declare, drop, monkeypatch, step):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    see_and_load(env, ledger, dataset)
    drop("stall/sales/a.csv", HEADER + "apple,2,1.50\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,1.50\n")
    look(env, ledger, [dataset])
    owner = delta if step == "replace_files" else Ledger

    def dies(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dies)
        with pytest.raises(KeyboardInterrupt):
            load_pending(env, dataset, "run")
    see_and_load(env, ledger, dataset)
    assert [(r[2], r[3]) for r in raw(env, dataset)] == [("apple", 2), ("pear", 2)]
    assert ledger.totals(dataset.id).files == {"loaded": 2}


def test_a_lost_ledger_is_rebuilt_from_the_lake_without_a_row_twice(env, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    see_and_load(env, Ledger(env.state / "ledger.db"), dataset)
    for left in env.state.glob("ledger.db*"):
        os.unlink(left)
    see_and_load(env, Ledger(env.state / "ledger.db"), dataset)
    assert [r[2] for r in raw(env, dataset)] == ["apple"]


def test_many_files_are_loaded_in_batches(env, ledger, declare, drop, monkeypatch):
    dataset = declare()
    for n in range(7):
        drop(f"stall/sales/{n}.csv", HEADER + f"item{n},{n},1.50\n")
    look(env, ledger, [dataset])
    load_pending(env, dataset, "run", batch_files=3)
    assert [r[3] for r in raw(env, dataset)] == list(range(7))
    assert loading.BATCH_FILES > 3


@pytest.mark.parametrize("then", ["changed", "changed and deleted"])
def test_rows_of_a_commit_whose_loader_was_killed_do_not_outlive_the_file(env, ledger, declare, drop, monkeypatch, then):
    dataset = declare(on_delete="remove")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    drop("stall/sales/b.csv", HEADER + "pear,1,1.50\n")
    look(env, ledger, [dataset])

    def dies(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "finish", dies)
        with pytest.raises(KeyboardInterrupt):
            load_pending(env, dataset, "run")
    changed = drop("stall/sales/a.csv", HEADER + "apple,2,1.50\n")
    look(env, ledger, [dataset])
    if then == "changed and deleted":
        changed.unlink()
        look(env, ledger, [dataset])
    load_pending(env, dataset, "run")
    expected = {"changed": [("apple", 2), ("pear", 1)], "changed and deleted": [("pear", 1)]}
    assert [(r[2], r[3]) for r in raw(env, dataset)] == expected[then]


def test_the_reject_of_an_unreadable_file_disappears_when_it_is_repaired(env, ledger, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", "")
    see_and_load(env, ledger, dataset)
    assert [r["_file"] for r in rejects(env, dataset)] == ["stall/sales/a.csv"]
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    see_and_load(env, ledger, dataset)
    assert rejects(env, dataset) == []
    assert [r[2] for r in raw(env, dataset)] == ["apple"]
