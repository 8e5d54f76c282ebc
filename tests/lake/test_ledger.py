"""The ledger: what is new, who has it, and that nothing is forgotten or taken twice."""

import sqlite3
from dataclasses import replace

import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.ledger_database import UnknownLedger
from caudal.lake.records import Outcome, Repair, Unfinished
from caudal.store import LakeObject, list_objects


@pytest.fixture
def ledger(env):
    return Ledger(env.state / "ledger.db")


def obj(name, version="1-1"):
    return LakeObject(f"stall/sales/{name}", version, 1)


def load_all(ledger, dataset):
    batch = ledger.claim(dataset, "run", 100)
    ledger.prepare(batch, [Outcome(f.path, 2, 2, 0) for f in batch.files if not f.gone])
    ledger.finish(batch.number)
    return [f.path for f in batch.files]


def states(ledger, dataset):
    return {f.path.rsplit("/", 1)[1]: f.state for f in ledger.files(dataset.id)}


def test_a_new_file_is_pending_and_raises_the_sequence_once(ledger, declare):
    dataset = declare()
    first = ledger.see(dataset, [obj("a.csv")])
    second = ledger.see(dataset, [obj("a.csv")])
    assert (first.new, first.pending) == (1, 1)
    assert (second.new, second.changed, second.pending) == (0, 0, 1)
    assert second.sequence == first.sequence


def test_a_changed_file_is_pending_again_and_keeps_its_live_version_until_loaded(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv", "1-1")])
    load_all(ledger, dataset)
    seen = ledger.see(dataset, [obj("a.csv", "1-2")])
    (file,) = ledger.files(dataset.id)
    assert (seen.changed, file.state, file.version, file.live_version) == (1, "pending", "1-2", "1-1")


def test_a_file_whose_name_does_not_fit_is_quarantined_with_the_reason(ledger, declare):
    dataset = declare()
    seen = ledger.see(dataset, [obj("a.txt")])
    (file,) = ledger.files(dataset.id)
    assert (seen.refused, seen.pending, file.state) == (1, 0, "quarantined")
    assert "does not match the declared path `*.csv`" in file.reason


def test_a_deleted_file_keeps_its_rows_by_default(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv")])
    load_all(ledger, dataset)
    seen = ledger.see(dataset, [])
    assert (seen.pending, states(ledger, dataset)) == (0, {"a.csv": "deleted"})
    assert ledger.totals(dataset.id).rows_loaded == 2


def test_a_deleted_file_of_a_removing_dataset_is_pending_until_its_rows_are_gone(ledger, declare):
    dataset = declare(on_delete="remove")
    ledger.see(dataset, [obj("a.csv")])
    load_all(ledger, dataset)
    seen = ledger.see(dataset, [])
    assert (seen.deleted, seen.pending) == (1, 1)
    assert ledger.see(dataset, []).deleted == 0
    load_all(ledger, dataset)
    assert states(ledger, dataset) == {"a.csv": "deleted"}
    assert ledger.totals(dataset.id).rows_loaded == 0


def test_a_file_that_comes_back_is_loaded_again(ledger, declare):
    dataset = declare(on_delete="remove")
    ledger.see(dataset, [obj("a.csv")])
    load_all(ledger, dataset)
    ledger.see(dataset, [])
    load_all(ledger, dataset)
    assert ledger.see(dataset, [obj("a.csv")]).pending == 1


def test_a_file_that_changes_while_it_is_loading_is_not_marked_loaded(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv", "1-1")])
    batch = ledger.claim(dataset, "run", 10)
    ledger.see(dataset, [obj("a.csv", "1-2")])
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", 2, 2, 0)])
    ledger.finish(batch.number)
    (file,) = ledger.files(dataset.id)
    assert (file.state, file.version) == ("pending", "1-2")


def test_claimed_files_are_not_claimed_twice_and_an_abandoned_batch_is_pending_again(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    first, second = ledger.claim(dataset, "r", 1), ledger.claim(dataset, "r", 10)
    assert [len(first.files), len(second.files)] == [1, 1]
    assert ledger.claim(dataset, "r", 10) is None
    ledger.abandon(first.number)
    assert ledger.unfinished(dataset.id) == [Unfinished(second.number, prepared=False)]
    assert states(ledger, dataset) == {"a.csv": "pending", "b.csv": "loading"}


def test_a_prepared_batch_survives_its_loader(ledger, declare, env):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv")])
    batch = ledger.claim(dataset, "r", 10)
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", 3, 2, 1)])
    again = Ledger(env.state / "ledger.db")
    assert again.unfinished(dataset.id) == [Unfinished(batch.number, prepared=True)]
    again.finish(batch.number)
    assert again.totals(dataset.id).rows_rejected == 1


def test_an_unreadable_file_keeps_the_rows_of_its_last_good_version(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv", "1-1")])
    load_all(ledger, dataset)
    ledger.see(dataset, [obj("a.csv", "1-2")])
    batch = ledger.claim(dataset, "r", 10)
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", unreadable="not text")])
    ledger.finish(batch.number)
    (file,) = ledger.files(dataset.id)
    assert (file.state, file.live_version, file.reason) == ("quarantined", "1-1", "not text")
    assert ledger.totals(dataset.id).rows_loaded == 2


def test_asking_again_makes_only_the_named_partitions_pending(ledger, declare):
    dataset = declare(partition_by="file")
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    load_all(ledger, dataset)
    assert ledger.ask_again(dataset.id, partitions=["b.csv"]) == 1
    assert states(ledger, dataset) == {"a.csv": "loaded", "b.csv": "pending"}


def test_unfinished_uploads_and_hidden_files_are_not_listed(env, drop):
    drop("stall/sales/a.csv", "x")
    for name in (".hidden.csv", "b.csv.part", "c.csv.tmp"):
        (env.lake / "stall/sales" / name).write_text("x")
    assert [o.path for o in list_objects(env.lake, "stall/sales")] == ["stall/sales/a.csv"]
    assert list(list_objects(env.lake, "nobody")) == []


def with_drift(dataset, drift):
    return replace(dataset, contract=replace(dataset.contract, drift=drift))


def finish_with(ledger, dataset, *outcomes):
    batch = ledger.claim(dataset, "r", 100)
    assert ledger.prepare(batch, outcomes, dataset.fingerprint)
    ledger.finish(batch.number)


def test_a_quarantined_file_is_pending_again_when_its_contract_changes_and_only_then(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv")])
    finish_with(ledger, dataset, Outcome("stall/sales/a.csv", unreadable="a column more"))
    before = ledger.see(dataset, [obj("a.csv")])
    after = ledger.see(with_drift(dataset, "ignore"), [obj("a.csv")])
    assert (before.pending, before.retried) == (0, 0)
    assert (after.pending, after.retried) == (1, 1)
    assert after.sequence > before.sequence


def test_a_file_with_rejected_rows_is_pending_again_when_its_contract_changes(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    finish_with(ledger, dataset, Outcome("stall/sales/a.csv", 3, 2, 1), Outcome("stall/sales/b.csv", 3, 3, 0))
    ledger.see(with_drift(dataset, "ignore"), [obj("a.csv"), obj("b.csv")])
    assert states(ledger, dataset) == {"a.csv": "pending", "b.csv": "loaded"}


def test_a_file_that_was_refused_for_its_name_is_pending_when_the_declared_path_admits_it(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.txt"), obj("a.pdf")])
    ledger.see(replace(dataset, path="*.[ct][sx][vt]"), [obj("a.txt"), obj("a.pdf")])
    assert states(ledger, dataset) == {"a.txt": "pending", "a.pdf": "quarantined"}


def test_a_note_of_what_changed_does_what_a_whole_listing_would(ledger, declare):
    dataset = declare(on_delete="remove")
    ledger.see(dataset, [obj("a.csv"), obj("b.csv"), obj("c.csv")])
    load_all(ledger, dataset)
    seen = ledger.note(
        dataset, [obj("a.csv", "2-2"), obj("b.csv"), obj("new.csv")], ["stall/sales/c.csv", "stall/sales/none.csv"]
    )
    assert (seen.new, seen.changed, seen.deleted, seen.pending) == (1, 1, 1, 3)
    assert states(ledger, dataset) == {"a.csv": "pending", "b.csv": "loaded", "c.csv": "pending", "new.csv": "pending"}


def test_only_a_file_that_is_gone_from_the_lake_can_be_forgotten_and_then_leaves_no_trace(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    load_all(ledger, dataset)
    ledger.see(dataset, [obj("b.csv")])
    assert ledger.forget(dataset.id, ["stall/sales/a.csv", "stall/sales/b.csv"]) == 1
    assert load_all(ledger, dataset) == ["stall/sales/a.csv"]
    assert states(ledger, dataset) == {"b.csv": "loaded"}


def test_a_copy_is_admitted_when_what_it_copies_is_no_longer_loaded(ledger, declare):
    dataset = declare(on_delete="remove")
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    copy = Outcome("stall/sales/b.csv", unreadable="a copy", content="c", copy_of="stall/sales/a.csv")
    finish_with(ledger, dataset, Outcome("stall/sales/a.csv", 1, 1, content="c"), copy)
    assert ledger.live_copies(dataset.id, {"stall/sales/x.csv": "c", "stall/sales/a.csv": "c"}) == {
        "stall/sales/x.csv": "stall/sales/a.csv"
    }
    ledger.see(dataset, [obj("b.csv")])
    load_all(ledger, dataset)
    assert states(ledger, dataset) == {"a.csv": "deleted", "b.csv": "pending"}


def test_a_batch_that_somebody_has_given_up_cannot_be_prepared(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv")])
    batch = ledger.claim(dataset, "r", 10)
    ledger.abandon(batch.number)
    assert not ledger.prepare(batch, [Outcome("stall/sales/a.csv", 1, 1)])
    assert states(ledger, dataset) == {"a.csv": "pending"}


def test_a_repair_asks_for_its_file_again(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv"), obj("b.csv")])
    load_all(ledger, dataset)
    repair = Repair("stall/sales/a.csv", "1-1", "stall/sales/a.csv", 2, '{"item":"x"}')
    assert ledger.repair(dataset.id, [repair]) == 1
    assert ledger.repairs(dataset.id) == [repair]
    assert states(ledger, dataset) == {"a.csv": "pending", "b.csv": "loaded"}


def test_the_ledger_of_a_newer_platform_is_refused_and_left_alone(env):
    path = env.state / "ledger.db"
    Ledger(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UnknownLedger, match="has version 99"):
        Ledger(path)


def test_the_ledger_of_an_older_platform_is_brought_up_to_date_and_keeps_its_files(env, declare):
    from caudal.lake import ledger_database

    path = env.state / "ledger.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as db:
        db.executescript(ledger_database._STEPS[0])
        db.execute("INSERT INTO ledger VALUES ('old', 7)")
        db.execute(
            "INSERT INTO file (dataset, path, version, size_bytes, state, seen_at) VALUES ('stall/sales','p','1',1,'loaded','')"
        )
    ledger = Ledger(path)
    assert (ledger.id, [f.path for f in ledger.files("stall/sales")]) == ("old", ["p"])


def test_the_counts_of_a_batch_that_was_given_up_are_not_those_of_what_is_loaded(ledger, declare):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv", "1-1")])
    load_all(ledger, dataset)
    ledger.see(dataset, [obj("a.csv", "1-2")])
    batch = ledger.claim(dataset, "r", 10)
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", 9, 9)])
    ledger.abandon(batch.number)
    ledger.see(dataset, [obj("a.csv", "1-3")])
    finish_with(ledger, dataset, Outcome("stall/sales/a.csv", unreadable="empty"))
    (file,) = ledger.files(dataset.id)
    assert (file.state, file.live_version, file.rows_loaded, ledger.totals(dataset.id).rows_loaded) == (
        "quarantined",
        "1-1",
        2,
        2,
    )
