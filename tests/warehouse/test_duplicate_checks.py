"""The check `duplicates` of a raw table: a warning with the pairs of files, never in the way of anything."""

import dagster as dg
import pytest

from caudal.warehouse import duplicates
from caudal.warehouse.component import raw_asset

TWICE = "item,units,amount\napple,1,1.50\n"


@pytest.fixture
def check(env):
    """Load the dataset in a run of its own; the result of the check."""
    with dg.DagsterInstance.ephemeral() as instance:

        def load(dataset):
            result = dg.materialize([raw_asset(env, dataset, dropped=True)], instance=instance)
            assert result.success
            return next(e for e in result.get_asset_check_evaluations() if e.check_name == "duplicates")

        yield load


def test_it_warns_and_names_the_files_and_the_row(declare, drop, check):
    drop("stall/sales/a.csv", TWICE + "pear,2,2.00\n")
    drop("stall/sales/b.csv", TWICE)
    found = check(declare())
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert found.description == "1 row stands in more than one file"
    (pair,) = found.metadata["files"].records
    assert pair.data == {"file": "stall/sales/a.csv", "other file": "stall/sales/b.csv", "rows": 1}
    (sample,) = found.metadata["samples"].records
    assert sample.data["row"] == '{"item":"apple","units":1,"amount":1.5}'


def test_where_duplicates_are_expected_it_passes_and_says_so(declare, drop, check):
    drop("stall/sales/a.csv", TWICE)
    drop("stall/sales/b.csv", TWICE)
    found = check(declare(expect_duplicates=True))
    assert (found.passed, found.description) == (True, "1 row stands in more than one file, which the dataset expects")


def test_it_goes_away_when_one_of_the_files_is_repaired(declare, drop, check):
    drop("stall/sales/a.csv", TWICE)
    drop("stall/sales/b.csv", TWICE)
    assert not check(declare()).passed
    drop("stall/sales/b.csv", TWICE.replace("apple", "fig"))
    found = check(declare())
    assert (found.passed, found.description) == (True, "no rows stand in more than one file")


def test_a_small_load_into_a_large_table_leaves_the_counting_to_upkeep(declare, drop, check, monkeypatch):
    drop("stall/sales/a.csv", TWICE + "".join(f"{n},1,1.00\n" for n in range(100)))
    assert check(declare()).passed
    monkeypatch.setattr(duplicates, "ALWAYS_COUNTED_ROWS", 50)
    drop("stall/sales/b.csv", TWICE)
    found = check(declare())
    assert found.passed
    assert found.description == "no rows stand in more than one file, as counted in version 1; upkeep counts again every day"


def test_a_dataset_that_compares_nothing_has_no_such_check(env, declare):
    keys = raw_asset(env, declare(duplicates="off"), dropped=True).check_keys
    assert "duplicates" not in {key.name for key in keys}
