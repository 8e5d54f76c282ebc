"""What runs in dbt's own process, called in this one: its events."""

import duckdb
import pytest

from caudal.transform import dbt_child
from caudal.transform.build import _arguments
from caudal.transform.project import SERIALIZED


@pytest.fixture
def events() -> list[tuple]:
    return []


@pytest.fixture
def emit(events):
    return lambda event, **fields: events.append((event, fields))


def test_a_request_is_answered_with_events_in_the_order_of_the_build(
    unchanged, manifest, warehouse, events, emit, monkeypatch, tmp_path
):
    database = warehouse("(1, 7, NULL, true)")
    for name, value in unchanged.process_environment(database).items():
        monkeypatch.setenv(name, value)
    selected = ["model.stall.stg_pos__sales", "model.stall.fct_sales", "test.stall.amount_is_known.dc747d419b"]
    error = dbt_child.run(
        {
            "arguments": _arguments(unchanged, manifest, selected, tmp_path / "invocation"),
            "serialized": str(manifest.path.with_name(SERIALIZED)),
            "database": str(database),
            "extensions": str(tmp_path),
            "trusted": [],
            "relations": {u: manifest.nodes[u].relation for u in selected[:2]},
            "tests": {selected[2]: None},
            "sample_rows": 10,
        },
        emit,
    )
    assert error is None
    told = [(event, fields["unique_id"].split(".")[2]) for event, fields in events if not fields.get("is_final")]
    assert [t for t in told if t[1] != "paid"] == [
        ("started", "stg_pos__sales"),
        ("finished", "stg_pos__sales"),
        ("started", "fct_sales"),
        ("finished", "fct_sales"),
        ("started", "amount_is_known"),
        ("finished", "amount_is_known"),
        ("described", "stg_pos__sales"),
        ("described", "fct_sales"),
        ("sampled", "amount_is_known"),
    ]
    assert events[-1][1]["rows"] == [[None]]


def test_without_a_manifest_dbt_is_left_to_parse(tmp_path):
    assert dbt_child._manifest(None) is None
    assert dbt_child._manifest(str(tmp_path / "absent")) is None


def test_a_relation_that_cannot_be_read_is_told_and_the_rest_goes_on(events, emit, capsys):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (a INT); CREATE VIEW v AS SELECT a FROM t; DROP TABLE t")
        dbt_child._describe(connection, '"main"."v"', "model.v", emit)
        dbt_child._sample(connection, "test.no_rows", "select * from nowhere", 10, emit)
    assert events == []
    said = capsys.readouterr().err
    assert '"main"."v" was built, and cannot be read' in said
    assert "rows that failed test.no_rows cannot be sampled" in said


def test_a_sample_is_cut_in_number_and_in_length(events, emit):
    with duckdb.connect() as connection:
        sql = "select repeat('x', 1000) as long, null as none from range(50)"
        dbt_child._sample(connection, "test.t", sql, 3, emit)
    ((_, fields),) = events
    assert fields["columns"] == ["long", "none"]
    assert fields["rows"] == [["x" * 200, None]] * 3
