"""Rows of a table in two files, and which values of them a plan may show."""

import duckdb
import pytest

from caudal.runtime.plan.comparing import BEFORE, compare
from caudal.runtime.plan.rows import hiding
from caudal.runtime.plan.snapshot import Asset, DeclaredColumn, Snapshot


@pytest.fixture
def two():
    """A connection to the file after, with the one before attached, and how to fill both."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH ':memory:' AS {BEFORE}")
        connection.execute(f"CREATE SCHEMA marts; CREATE SCHEMA {BEFORE}.marts")

        def fill(before, after):
            if before:
                connection.execute(f"CREATE TABLE {BEFORE}.marts.t AS {before}")
            if after:
                connection.execute(f"CREATE TABLE marts.t AS {after}")
            return connection

        yield fill


def told(difference):
    return difference.rows_before, difference.rows_after, difference.added, difference.removed, difference.changed


def test_rows_are_matched_by_the_first_key_that_tells_them_apart_on_both_sides(two):
    before = "SELECT * FROM (VALUES (1, 1, 'a'), (1, 2, 'b'), (1, 3, 'c')) t(x, id, v)"
    after = "SELECT * FROM (VALUES (1, 1, 'a'), (1, 2, 'B'), (1, 4, 'd')) t(x, id, v)"
    found = compare(two(before, after), "m/s/t", "marts.t", [("x",), ("nowhere",), ("ID",)])
    assert told(found) == (3, 3, 1, 1, 1)
    assert (found.key, found.columns) == (("id",), {"v": 1})
    assert [(row["change"], row["id"], row["v"]) for row in found.sample] == [
        ("added", "4", "d"), ("removed", "3", "c"), ("before", "2", "b"), ("after", "2", "B"),
    ]  # fmt: skip


def test_without_a_key_whole_rows_are_counted_with_their_copies(two):
    found = compare(two("SELECT unnest([1, 1, 2]) AS v", "SELECT unnest([1, 3]) AS v"), "m/s/t", "marts.t", [])
    assert told(found) == (3, 2, 1, 2, 0)


def test_numbers_are_compared_by_value_and_sums_of_floats_but_for_their_last_digits(two):
    before = "SELECT 1 AS id, 3.00::DECIMAL(10,2) AS a, 0.3::DOUBLE AS f, 7::INTEGER AS n"
    after = "SELECT 1 AS id, 3.0::DECIMAL(10,1) AS a, (0.1::DOUBLE + 0.2::DOUBLE) AS f, 7::BIGINT AS n"
    assert compare(two(before, after), "m/s/t", "marts.t", [("id",)]).changed == 0


def test_a_value_that_becomes_null_is_a_change(two):
    found = compare(two("SELECT 1 AS id, 1.5::DOUBLE AS f", "SELECT 1 AS id, NULL::DOUBLE AS f"), "m/s/t", "marts.t", [("id",)])
    assert (found.changed, found.columns) == (1, {"f": 1})


def test_a_table_that_is_new_or_was_not_built_says_so(two):
    connection = two("", "SELECT 1 AS id")
    assert told(compare(connection, "m/s/t", "marts.t", [])) == (None, 1, 1, 0, 0)
    assert compare(connection, "m/s/u", "marts.u", []).problem == "it was not built"


def test_hidden_values_are_masked_and_counted_all_the_same(two):
    found = compare(
        two("SELECT 1 AS id, 'Ana' AS who", "SELECT 1 AS id, 'Bo' AS who"),
        "m/s/t",
        "marts.t",
        [("id",)],
        lambda name: name == "who",
    )
    assert [row["who"] for row in found.sample] == ["xxx", "xx"]
    assert (found.hidden, found.columns) == (("who",), {"who": 1})


def test_below_personal_data_only_what_is_known_not_to_be_personal_is_shown():
    raw = Asset(
        "raw/till/sales",
        columns=(DeclaredColumn("customer", classification="personal"), DeclaredColumn("item"), DeclaredColumn("note")),
        is_delivered=True,
    )
    mart = Asset(
        "marts/s/t",
        deps=("staging/s/v",),
        columns=(
            DeclaredColumn("item"),
            DeclaredColumn("CUSTOMER"),
            DeclaredColumn("buyer"),
            DeclaredColumn("pieces", classification="public"),
            DeclaredColumn("note", classification="confidential"),
        ),
    )
    view = Asset("staging/s/v", deps=("raw/till/sales",))
    snapshot = Snapshot("s", "c", {each.key: each for each in (raw, view, mart)})
    hides = hiding(snapshot, "marts/s/t")
    names = ("item", "customer", "buyer", "pieces", "note", "nobody_declared_it")
    assert [name for name in names if hides(name)] == ["customer", "buyer", "note", "nobody_declared_it"]
