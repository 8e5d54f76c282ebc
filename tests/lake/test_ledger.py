"""The ledger: what is new, who has it, and that nothing is forgotten or taken twice."""

import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.records import Outcome
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
    assert ledger.unfinished(dataset) == [(second.number, False)]
    assert states(ledger, dataset) == {"a.csv": "pending", "b.csv": "loading"}


def test_a_prepared_batch_survives_its_loader(ledger, declare, env):
    dataset = declare()
    ledger.see(dataset, [obj("a.csv")])
    batch = ledger.claim(dataset, "r", 10)
    ledger.prepare(batch, [Outcome("stall/sales/a.csv", 3, 2, 1)])
    again = Ledger(env.state / "ledger.db")
    assert again.unfinished(dataset) == [(batch.number, True)]
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
    assert ledger.ask_again(dataset, ["b.csv"]) == 1
    assert states(ledger, dataset) == {"a.csv": "loaded", "b.csv": "pending"}


def test_unfinished_uploads_and_hidden_files_are_not_listed(env, drop):
    drop("stall/sales/a.csv", "x")
    for name in (".hidden.csv", "b.csv.part", "c.csv.tmp"):
        (env.lake / "stall/sales" / name).write_text("x")
    assert [o.path for o in list_objects(env.lake, "stall/sales")] == ["stall/sales/a.csv"]
    assert list(list_objects(env.lake, "nobody")) == []
