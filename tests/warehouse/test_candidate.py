"""Candidates: nobody sees a build before it is published, and what failed keeps its last good version."""

import pyarrow as pa
import pytest

from caudal.warehouse import published
from caudal.warehouse.candidate import open_candidate, publish_tables, published_version


def rows(env, sql):
    return published.read_arrow(env, sql).to_pylist()


def test_before_anything_is_published_a_reader_is_told_what_to_do(env):
    with pytest.raises(published.NothingPublished, match="Materialize a mart first"):
        published.connect(env)


def test_a_candidate_is_invisible_until_published_and_an_open_reader_keeps_its_version(env):
    publish_tables(env, {"marts.t": pa.table({"x": [1]})})
    reader = published.connect(env)
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("UPDATE marts.t SET x = 2")
        assert rows(env, "SELECT x FROM marts.t") == [{"x": 1}]
        version = candidate.publish()
    assert rows(env, "SELECT x FROM t") == [{"x": 2}]
    assert reader.execute("SELECT x FROM marts.t").fetchall() == [(1,)]
    assert published_version(env) == version


def test_a_candidate_that_is_not_published_leaves_nothing_behind(env):
    publish_tables(env, {"marts.t": pa.table({"x": [1]})})
    with pytest.raises(ZeroDivisionError), open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("DROP TABLE marts.t")
        _ = 1 / 0
    assert rows(env, "SELECT x FROM marts.t") == [{"x": 1}]
    assert list(env.candidates.iterdir()) == []


def test_a_candidate_left_behind_by_a_killed_process_is_cleared(env):
    left = env.candidates / "20200101T000000000000Z"
    left.mkdir(parents=True)
    (left / "warehouse.duckdb").write_bytes(b"half")
    publish_tables(env, {"marts.t": pa.table({"x": [1]})})
    assert not left.exists()


def test_restoring_brings_back_tables_and_views_and_drops_what_never_was(env):
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("CREATE SCHEMA marts")
            connection.execute("CREATE TABLE marts.t (x INTEGER NOT NULL); INSERT INTO marts.t VALUES (1)")
            connection.execute("CREATE VIEW marts.v AS SELECT x + 1 AS y FROM marts.t")
        candidate.publish()
    with open_candidate(env) as candidate:
        with candidate.connect() as connection:
            connection.execute("DROP VIEW marts.v; DROP TABLE marts.t")
            connection.execute("CREATE VIEW marts.t AS SELECT 'broken' AS x; CREATE TABLE marts.new AS SELECT 1 AS z")
        candidate.restore(["marts.t", "marts.v", "marts.new"])
        candidate.publish()
    assert rows(env, "SELECT x, y FROM marts.t, marts.v") == [{"x": 1, "y": 2}]
    assert rows(env, "SELECT table_name FROM information_schema.tables WHERE table_name = 'new'") == []


def test_the_raw_view_of_a_dataset_that_was_never_loaded_is_empty_and_typed(env, declare):
    with open_candidate(env, [declare()]) as candidate:
        candidate.publish()
    table = published.read_arrow(env, "SELECT * FROM raw.stall__sales")
    assert table.num_rows == 0
    assert table.schema.names == ["item", "units", "amount", "_file", "_version", "_row", "_loaded_at"]
    assert table.schema.field("amount").type == pa.decimal128(10, 2)


def test_a_raw_view_is_made_again_when_it_differs_or_is_gone_and_not_otherwise(env, declare):
    def view(candidate) -> tuple[str, str | None]:
        with candidate.connect() as connection:
            found = "SELECT sql, comment FROM duckdb_views() WHERE schema_name = 'raw' AND view_name = 'stall__sales'"
            (row,) = connection.execute(found).fetchall()
            return row

    dataset = declare()
    with open_candidate(env, [dataset]) as candidate:
        with candidate.connect() as connection:
            connection.execute("COMMENT ON VIEW raw.stall__sales IS 'the first'")
        sql, _ = view(candidate)
        candidate.publish()
    with open_candidate(env, [dataset]) as candidate:
        assert view(candidate) == (sql, "the first")
        with candidate.connect() as connection:
            connection.execute("DROP VIEW raw.stall__sales")
        candidate.publish()
    with open_candidate(env, [dataset]) as candidate:
        assert view(candidate) == (sql, None)
        candidate.publish()
    renamed = dataset.contract.path.read_text().replace("units", "pieces")
    with open_candidate(env, [declare(renamed)]) as candidate:
        assert view(candidate) == (sql.replace("units", "pieces"), None)
