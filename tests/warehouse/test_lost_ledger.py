"""The ledger is lost while lake and tables live on: each file is live once, and what the tables hold is not loaded again."""

import datetime as dt
import zipfile
from dataclasses import replace

import dagster as dg
import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse import delta
from caudal.warehouse.component import raw_asset, raw_key
from caudal.warehouse.loading import load_pending
from caudal.warehouse.raw_tables import raw, raw_tables, rejects

HEADER = "item,units,amount\n"


def lose_ledger(env, dataset=None):
    """And look at the lake, as the sensor does before anything is loaded."""
    for left in env.state.glob("ledger.db*"):
        left.unlink()
    ledger = Ledger(env.state / "ledger.db")
    if dataset is not None:
        look(env, ledger, [dataset])
    return ledger


def pack(env, path, **members):
    with zipfile.ZipFile(env.lake / path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.csv", HEADER + text)


def told(ledger, dataset):
    """What the ledger says of the files, but for when it first saw them."""
    return {f.path: replace(f, dialect=None) for f in ledger.files(dataset.id)}


def items(env, dataset):
    rows = raw_tables(env).read_rows(raw(dataset), ["item", "units"], 100)
    return sorted((row["item"], row["units"]) for row in rows)


@pytest.mark.parametrize("seen_first", [True, False], ids=["the sensor looked", "nobody looked"])
def test_nothing_that_the_tables_hold_is_loaded_again(env, declare, drop, seen_first):
    dataset = declare(path="*")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.00\nbad,seven,1.00\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,1.00\n")
    pack(env, "stall/sales/c.zip", one="fig,3,1.00\n", two="plum,4,1.00\n")
    load_pending(env, dataset, "run")
    before, version = told(Ledger(env.state / "ledger.db"), dataset), raw_tables(env).version(raw(dataset))
    ledger = lose_ledger(env, dataset if seen_first else None)
    loaded = load_pending(env, dataset, "run", look_first=not seen_first)
    assert (loaded.files, loaded.taken_over, loaded.raw_version) == ([], 3, version)
    after = told(ledger, dataset)
    assert {p: replace(f, loaded_at=None) for p, f in after.items()} == {
        p: replace(f, loaded_at=None) for p, f in before.items()
    }
    assert all(f.loaded_at <= before[p].loaded_at for p, f in after.items())  # When its rows say that they were.


def test_what_changed_came_or_was_refused_meanwhile_is_read_and_replaces_its_rows(env, declare, drop):
    dataset = declare()
    for name, row in (("same", "apple,1,1\n"), ("changed", "pear,2,1\n"), ("all bad", "fig,x,1\n"), ("gone", "plum,4,1\n")):
        drop(f"stall/sales/{name}.csv", HEADER + row)
    drop("stall/sales/broken.csv", "nothing,of,that\n1,2,3\n")
    load_pending(env, dataset, "run")
    (env.lake / "stall/sales/gone.csv").unlink()
    drop("stall/sales/changed.csv", HEADER + "pear,20,1\n")
    drop("stall/sales/new.csv", HEADER + "kiwi,6,1\n")
    ledger = lose_ledger(env, dataset)
    loaded = load_pending(env, dataset, "run")
    assert (sorted(f.path for f, _ in loaded.files), loaded.taken_over) == (
        [f"stall/sales/{name}.csv" for name in ("all bad", "broken", "changed", "new")],
        1,
    )
    assert items(env, dataset) == [("apple", 1), ("kiwi", 6), ("pear", 20), ("plum", 4)]
    assert ledger.totals(dataset.id).files == {"loaded": 4, "quarantined": 1, "deleted": 1}
    assert ledger.totals(dataset.id).rows_loaded == 4
    assert len(raw_tables(env).read_rows(rejects(dataset), ["_file"], 100)) == 2


@pytest.mark.parametrize(("left", "kept"), [("a.csv", ["apple"]), (None, ["apple", "pear"])])
def test_rows_of_what_is_gone_follow_the_policy_unless_the_whole_lake_seems_gone(env, declare, drop, left, kept):
    dataset = declare(on_delete="remove")
    files = [drop(f"stall/sales/{n}.csv", HEADER + f"{item},1,1\n") for n, item in (("a", "apple"), ("b", "pear"))]
    load_pending(env, dataset, "run")
    for file in files:
        if file.name != left:
            file.unlink()
    lose_ledger(env, dataset)
    load_pending(env, dataset, "run")
    assert [item for item, _ in items(env, dataset)] == kept


@pytest.mark.parametrize("knows", ["copies", "columns"])
def test_what_only_a_ledger_knows_is_found_by_reading_again(env, declare, drop, knows):
    dataset = declare(copies="refuse") if knows == "copies" else declare()
    if knows == "columns":
        dataset = replace(dataset, contract=replace(dataset.contract, drift="evolve"))
    drop("stall/sales/a.csv", "item,units,amount,colour\napple,1,1,red\n" if knows == "columns" else HEADER + "apple,1,1\n")
    load_pending(env, dataset, "run")
    ledger = lose_ledger(env, dataset)
    if knows == "copies":
        drop("stall/sales/b.csv", HEADER + "apple,1,1\n")
    loaded = load_pending(env, dataset, "run")
    assert loaded.taken_over == 0
    assert items(env, dataset) == [("apple", 1)]
    assert ([c.name for c in ledger.evolved(dataset.id)], ledger.totals(dataset.id).files.get("quarantined", 0)) == (
        (["colour"], 0) if knows == "columns" else ([], 1)
    )


def test_a_file_of_which_a_dying_loader_had_replaced_the_rejects_alone_is_read_again(env, declare, drop, monkeypatch):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    load_pending(env, dataset, "run")
    drop("stall/sales/a.csv", HEADER + "apple,10,1\nbad,x,1\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,1\nbad,x,1\n")
    replace_files = delta.replace_files

    def dies_before_the_raw_table(table, *given, **named):
        if table.parent == env.raw:
            raise KeyboardInterrupt
        return replace_files(table, *given, **named)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(delta, "replace_files", dies_before_the_raw_table)
        load_pending(env, dataset, "run")
    lose_ledger(env, dataset)
    assert load_pending(env, dataset, "run").taken_over == 0
    assert items(env, dataset) == [("apple", 10), ("pear", 2)]


def test_dagster_learns_of_the_partitions_that_were_loaded_before_it_began(env, declare, drop):
    start = dt.datetime.fromisoformat("2024-01-01")
    dataset = declare(path="{day:%Y-%m-%d}.csv", partition_by="day", start=start)
    asset = raw_asset(env, dataset, dropped=True)
    days = ["2024-02-01", "2024-02-02"]
    for day in days:
        drop(f"stall/sales/{day}.csv", HEADER + "apple,1,1\n")
    load_pending(env, dataset, "run")
    lose_ledger(env)
    with dg.DagsterInstance.ephemeral() as instance:
        for newer in ("2024-02-03", "2024-02-04"):
            drop(f"stall/sales/{newer}.csv", HEADER + "apple,1,1\n")
            result = dg.materialize([asset], instance=instance)
            days.append(newer)
            assert instance.get_materialized_partitions(raw_key(dataset)) == set(days)
    told_now = [e.partition for e in result.get_asset_materialization_events() if e.asset_key == raw_key(dataset)]
    assert told_now == ["2024-02-04", None]
