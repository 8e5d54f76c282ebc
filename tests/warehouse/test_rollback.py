"""Going back to a kept version, and how two versions of a table differ."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from caudal.contracts.masking import Names
from caudal.warehouse import published, versions
from caudal.warehouse.candidate import open_candidate, publish_tables
from caudal.warehouse.difference import diff
from caudal.warehouse.rollback import RefusedRollback, relation_named, rollback
from caudal.warehouse.versions import NoSuchVersion


def put(env, **tables) -> str:
    return publish_tables(env, {f"marts.{name}": pa.Table.from_pylist(rows) for name, rows in tables.items()})


def build(env, *statements) -> str:
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            for statement in statements:
                connection.execute(statement)
        return candidate.publish()


def rows(env, sql="SELECT * FROM marts.t"):
    return published.read_arrow(env, sql).to_pylist()


def test_a_table_goes_back_with_its_definition_and_the_others_stay_and_one_can_return(env):
    old = build(
        env,
        "CREATE SCHEMA marts; CREATE TABLE marts.t (x INTEGER NOT NULL, y VARCHAR); INSERT INTO marts.t VALUES (1, 'a')",
        "CREATE INDEX by_x ON marts.t (x); COMMENT ON TABLE marts.t IS 'it''s good'; COMMENT ON COLUMN marts.t.x IS 'the x'",
    )
    put(env, t=[{"x": 2}], other=[{"z": 1}])
    bad = put(env, other=[{"z": 2}])
    done = rollback(env, "marts.t", old, "ann")
    assert rows(env) == [{"x": 1, "y": "a"}]
    assert rows(env, "SELECT z FROM marts.other") == [{"z": 2}]
    comments = "SELECT comment FROM duckdb_tables() WHERE table_name = 't' UNION ALL FROM (SELECT comment FROM duckdb_columns() WHERE table_name = 't' AND column_name = 'x') UNION ALL SELECT index_name FROM duckdb_indexes()"
    assert rows(env, comments) == [{"comment": "it's good"}, {"comment": "the x"}, {"comment": "by_x"}]
    assert (done.before, done.to, done.changed) == (
        bad,
        old,
        {"marts.t": "1 -> 1 rows; column y added; column x BIGINT -> INTEGER"},
    )
    record = versions.kept(env)[-1].record
    assert record.cause == versions.Cause("ann", "", f"marts.t rolled back from {bad} to {old}")
    rollback(env, "marts.t", done.before, "ann")
    assert rows(env) == [{"x": 2}]
    assert len(versions.kept(env)) == 5


def test_everything_goes_back_and_forth_again(env):
    old = build(env, "CREATE SCHEMA marts; CREATE TABLE marts.t AS SELECT 1 AS x; CREATE VIEW marts.v AS SELECT x FROM marts.t")
    new = build(
        env, "DROP VIEW marts.v; CREATE OR REPLACE TABLE marts.t AS SELECT 2 AS y; CREATE TABLE marts.u AS SELECT 1 AS z"
    )
    done = rollback(env, None, old, "ann")
    assert rows(env, "SELECT * FROM marts.v") == [{"x": 1}]
    assert set(done.changed) == {"marts.t", "marts.v", "marts.u"}
    assert done.changed["marts.u"] == "removed"
    assert versions.last_good(env, "marts.t")[0] == old
    with pytest.raises(RefusedRollback, match="what readers see already"):
        rollback(env, None, done.version, "ann")
    rollback(env, None, new, "ann")
    assert rows(env) == [{"y": 2}]


def test_a_rollback_that_would_break_a_published_view_is_refused_and_nothing_changes(env):
    old = put(env, t=[{"x": 1}])
    put(env, t=[{"x": 1, "y": 2}])
    new = build(env, "CREATE VIEW marts.v AS SELECT y FROM marts.t", "CREATE VIEW marts.w AS SELECT y FROM marts.v")
    with pytest.raises(RefusedRollback) as refused:
        rollback(env, "marts.t", old, "ann")
    assert f"marts.t cannot go back to {old}, for these views could not be read any more:" in str(refused.value)
    assert 'marts.v: Binder Error: Referenced column "y" not found' in str(refused.value)
    assert "marts.w: " in str(refused.value)
    assert versions.current(env) == new
    assert rows(env, "FROM marts.w") == [{"y": 2}]


def test_what_cannot_be_rolled_back_says_why(env):
    old = put(env, t=[{"x": 1}])
    put(env, u=[{"x": 1}])
    with pytest.raises(RefusedRollback, match=r"has no marts\.u"):
        rollback(env, "marts.u", old, "ann")
    with pytest.raises(RefusedRollback, match="made of the lake's files"):
        rollback(env, "raw.pos__sales", old, "ann")
    with pytest.raises(NoSuchVersion, match="Kept are"):
        rollback(env, "marts.t", "20010101", "ann")
    with pytest.raises(RefusedRollback, match=r"(?s)does not pass beside.*too few rows.*--force"):
        rollback(env, "marts.t", old, "ann", audit=lambda candidate: ["too few rows"])
    assert list(env.candidates.iterdir()) == []


def test_a_version_that_was_gone_back_to_may_go_itself(env):
    old = put(env, t=[{"x": 1}])
    put(env, t=[{"x": 2}])
    rollback(env, "marts.t", old, "ann")
    versions.clear(dataclasses.replace(env, kept_versions=2), now=datetime.now(UTC) + timedelta(hours=1))
    assert old not in [version.name for version in versions.kept(env)]
    assert rows(env) == [{"x": 1}]


def test_a_table_is_named_as_people_name_it(env):
    put(env, t=[{"x": 1}])
    publish_tables(env, {"explore.n": pa.table({"x": [1]}), "marts.n": pa.table({"x": [1]})})
    assert [relation_named(env, name) for name in ("marts.t", "t", "marts/sales/t", "marts/x/n")] == [
        "marts.t",
        "marts.t",
        "marts.t",
        "marts.n",
    ]
    with pytest.raises(LookupError, match=r"n may be any of: explore\.n, marts\.n"):
        relation_named(env, "n")
    with pytest.raises(LookupError, match=r"No.*There are: explore\.n, marts\.n, marts\.t"):
        relation_named(env, "explore.t")


A = [{"id": 1, "n": 10, "s": "a"}, {"id": 2, "n": 20, "s": "b"}, {"id": 3, "n": 30, "s": None}]
B = [{"id": 1, "n": 10, "s": "a"}, {"id": 2, "n": 21, "s": None}, {"id": 4, "n": 40, "s": "d"}]


def test_a_difference_by_key_counts_rows_and_cells_and_shows_old_and_new(env):
    a, b = put(env, t=A), put(env, t=B)
    found = diff(env, "marts.t", a, b, ["id"])
    assert (found.rows_added, found.rows_removed, found.rows_changed, found.cells_changed) == (1, 1, 1, {"n": 1, "s": 1})
    assert found.sample == [
        {"change": "added", "id": "4", "n": "40", "s": "d"},
        {"change": "changed", "id": "2", "n": "20 -> 21", "s": "b -> null"},
        {"change": "removed", "id": "3", "n": "30", "s": None},
    ]
    assert len(diff(env, "marts.t", a, b, ["id"], limit=1).sample) == 1
    assert diff(env, "marts.t", a, a, ["id"]).is_none
    assert diff(env, "marts.t", b, b).is_none


def test_a_masked_difference_counts_the_same_and_tells_no_value(env):
    a, b = put(env, t=A), put(env, t=B)
    found = diff(env, "marts.t", a, b, ["id"])
    shown = found.masked(Names(["S", "n"]))
    assert shown.cells_changed == found.cells_changed
    assert shown.sample == [
        {"change": "added", "id": "4", "n": "***", "s": "x"},
        {"change": "changed", "id": "2", "n": "*** -> ***", "s": "x -> null"},
        {"change": "removed", "id": "3", "n": "***", "s": None},
    ]


def test_without_a_key_rows_are_compared_as_a_whole_as_often_as_they_are_there(env):
    a, b = put(env, t=[{"x": 1}, {"x": 1}, {"x": 2}]), put(env, t=[{"x": 1}, {"x": 3}, {"x": 3}])
    found = diff(env, "marts.t", a, b, ["x"])
    assert found.note == "x does not identify rows: they were compared as a whole"
    assert (found.key, found.rows_added, found.rows_removed, found.rows_changed) == ((), 2, 2, 0)
    assert [tuple(row.values()) for row in found.sample] == [("added 2 times", "3"), ("removed", "1"), ("removed", "2")]


def test_columns_that_came_went_and_changed_their_type_are_told_and_the_rest_is_compared(env):
    a = put(env, t=[{"id": 1, "gone": 1, "n": 5}])
    b = put(env, t=[{"id": 1, "n": "5", "new": 1.5}])
    found = diff(env, "marts.t", a, b, ["id"])
    assert (found.columns_added, found.columns_removed) == ({"new": "DOUBLE"}, {"gone": "BIGINT"})
    assert found.columns_retyped == {"n": ("BIGINT", "VARCHAR")}
    assert (found.rows_changed, found.is_none) == (0, False)
    with pytest.raises(LookupError, match=r"no column gone in both versions. It has: id, n, new"):
        diff(env, "marts.t", a, b, ["gone"])
    with pytest.raises(LookupError, match=r"marts.u is not there"):
        diff(env, "marts.u", a, b)
