"""Raw tables are read from the moment that they are loaded, until a version is published that says which rows are seen."""

import io

import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse import query
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.loading import load_pending
from caudal.warehouse.published import NothingPublished, connect
from caudal.warehouse.quality import judged
from caudal.warehouse.shell import Shell
from tests.conftest import SALES_CONTRACT

HEADER = "item,units,amount\n"
BLOCKING = SALES_CONTRACT + "    quality: [{type: library, metric: rowCount, mustBeGreaterThan: 5, severity: error}]\n"


def load(env, dataset) -> None:
    look(env, Ledger(env.state / "ledger.db"), [dataset])
    load_pending(env, dataset, "run")


def asked(env, sql: str) -> list[str]:
    out = io.BytesIO()
    query.run(env, sql, "csv", out)
    return out.getvalue().decode().splitlines()[1:]


def test_before_anything_is_published_raw_and_rejects_are_as_they_were_loaded_last(env, declare, drop):
    dataset = declare()
    with pytest.raises(NothingPublished, match="put files into the lake first"):
        asked(env, "select 1")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\npear,x,1\n")
    load(env, dataset)
    assert asked(env, "select item, units, amount from stall__sales") == ['"apple",1,1.50']
    assert asked(env, 'select "column", value from quarantine.stall__sales') == ['"units","x"']
    drop("stall/sales/b.csv", HEADER + "plum,2,2\n")
    load(env, dataset)
    assert asked(env, "select item from raw.stall__sales order by item") == ['"apple"', '"plum"']


def test_once_a_version_is_published_readers_see_the_raw_that_it_pinned(env, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    load(env, dataset)
    with open_candidate(env, [dataset]) as candidate:
        candidate.publish()
    drop("stall/sales/b.csv", HEADER + "plum,2,2\n")
    load(env, dataset)
    assert asked(env, "select item from raw.stall__sales") == ['"apple"']


def test_rows_that_have_not_passed_their_blocking_rules_are_not_shown(env, declare, drop):
    dataset = declare(BLOCKING)
    assert any(rule.blocks for rule in dataset.contract.rules)
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    load(env, dataset)
    judged.note(env, dataset, 0, ["too few rows"])
    assert asked(env, "select * from raw.stall__sales") == []


def test_other_readers_are_told_that_nothing_is_published_and_no_file_is_reached(env, declare, drop):
    dataset = declare()
    path = drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    load(env, dataset)
    with pytest.raises(NothingPublished):
        connect(env)
    for sql in (f"select * from read_csv('{path}')", "create table t as select 1"):
        with pytest.raises(query.RefusedQuery):
            asked(env, sql)


def test_the_shell_says_that_nothing_is_published_and_moves_to_the_first_version(env, declare, drop):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    load(env, dataset)
    said: list[str] = []

    def publish() -> str:
        with open_candidate(env, [dataset]) as candidate:
            candidate.publish()
        return "select count(*) from stall__sales;"

    typed = [".tables", publish, ".open", ".quit"]

    class Lines:
        def line(self, _prompt: str) -> str:
            line = typed.pop(0)
            return line() if callable(line) else line

    shell = Shell(env, said.append)
    shell.run(Lines())
    shell.close()
    assert said[0].startswith("Nothing is published yet: raw tables as they were loaded, read-only, 1 tables")
    assert said[1] == "raw.stall__sales  7 columns"
    assert any(line.startswith("A newer version") for line in said)
    assert said[-1].startswith("Reading version ")
