"""The latest view: one row a key, the same one whoever asks and in whatever order the files came."""

from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.contracts import LINEAGE_COLUMNS, read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.warehouse import delta, published
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.latest import bigquery_view, latest_query

ORDERS = """
apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - {name: order, logicalType: integer, primaryKey: true}
      - {name: line, logicalType: string, primaryKey: true}
      - {name: changed, logicalType: integer}
      - {name: score, logicalType: number, physicalType: DOUBLE}
      - {name: state, logicalType: string}
"""
NAMES = ["order", "line", "changed", "score", "state", *LINEAGE_COLUMNS]


@pytest.fixture(scope="module")
def orders(tmp_path_factory) -> Dataset:
    path = tmp_path_factory.mktemp("contracts") / "orders.odcs.yaml"
    path.write_text(ORDERS)
    return Dataset("stall", "orders", "csv", read_contract(path), order_by="changed")


def at(second: int) -> datetime:
    return datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC)


def model(rows, order_by):
    """One row a key, chosen by plain comparison."""

    def rank(row):
        value = row[NAMES.index(order_by)] if order_by else None
        is_nan = value != value
        known = (value is not None, is_nan, 0 if is_nan or value is None else value)
        return (known, row[NAMES.index("_loaded_at")], row[NAMES.index("_file")], row[NAMES.index("_row")])

    best = {}
    for row in rows:
        key = row[:2]
        if key not in best or rank(row) > rank(best[key]):
            best[key] = row
    return sorted(repr(row) for row in best.values())


ROWS = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"])),
        st.none() | st.integers(-2, 2),
        st.none() | st.sampled_from([0.0, 1.5, float("inf"), float("-inf"), float("nan")]),
        st.integers(0, 2).map(at),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def memory():
    """A database in memory, in which each example makes its own table `raw`."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@given(
    content=st.dictionaries(st.sampled_from(["z.csv", "b.csv", "b.csv!2", "é.csv"]), ROWS, max_size=4),
    order_by=st.sampled_from([None, "changed", "score"]),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_it_shows_of_each_key_the_row_that_a_plain_comparison_chooses(orders, memory, content, order_by, chance):
    rows = [
        (*key, changed, score, f"{file}-{row}", file, "1", row, loaded)
        for file, of_file in content.items()
        for row, (key, changed, score, loaded) in enumerate(of_file, 1)
    ]
    chance.shuffle(rows)
    kinds = {c.name: c.duckdb_type for c in orders.contract.columns} | LINEAGE_COLUMNS
    memory.execute("CREATE OR REPLACE TABLE raw (" + ", ".join(f'"{name}" {kind}' for name, kind in kinds.items()) + ")")
    if rows:
        memory.executemany(f"INSERT INTO raw VALUES ({', '.join('?' * len(NAMES))})", rows)
    shown = memory.execute(latest_query(replace(orders, order_by=order_by), "raw", NAMES)).fetchall()
    assert sorted(repr(row) for row in [(*r[:-1], r[-1].astimezone(UTC)) for r in shown]) == model(rows, order_by)


def load(env: Environment, dataset: Dataset, file: str, rows, number: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = dataset.contract.arrow_schema()
    part = env.state / f"{number}.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    columns = list(zip(*[(*r, file, "1", place, at(number)) for place, r in enumerate(rows, 1)], strict=True))
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), part)
    delta.replace_files(env.raw / dataset.table, schema, [part], [file], transaction=delta.Transaction("t", number))


def shown(env: Environment) -> list[tuple]:
    rows = published.read_arrow(env, 'SELECT "order", line, changed, state FROM raw.stall__orders__latest ORDER BY ALL')
    return [tuple(row.values()) for row in rows.to_pylist()]


def publish(env: Environment, dataset: Dataset) -> None:
    with open_candidate(env, [dataset]) as candidate:
        candidate.publish()


def test_it_is_empty_before_the_first_load_and_then_pinned_like_the_raw_view(env, orders):
    publish(env, orders)
    assert shown(env) == []
    load(env, orders, "a.csv", [(1, "a", 1, 0.5, "new"), (1, "b", 1, 0.5, "new")], 1)
    assert shown(env) == []
    publish(env, orders)
    load(env, orders, "b.csv", [(1, "a", 2, 0.5, "paid")], 2)
    assert shown(env) == [(1, "a", 1, "new"), (1, "b", 1, "new")]
    publish(env, orders)
    assert shown(env) == [(1, "a", 2, "paid"), (1, "b", 1, "new")]


def test_a_late_file_with_older_rows_changes_nothing(env, orders):
    load(env, orders, "b.csv", [(1, "a", 2, 0.5, "paid")], 1)
    load(env, orders, "a.csv", [(1, "a", 1, 0.5, "new"), (1, "a", None, 0.5, "unknown")], 2)
    publish(env, orders)
    assert shown(env) == [(1, "a", 2, "paid")]


def test_without_order_by_the_row_that_was_loaded_last_counts(env, orders):
    dataset = replace(orders, order_by=None)
    load(env, dataset, "b.csv", [(1, "a", 2, 0.5, "paid")], 1)
    load(env, dataset, "a.csv", [(1, "a", 1, 0.5, "new"), (1, "a", None, 0.5, "unknown")], 2)
    publish(env, dataset)
    assert shown(env) == [(1, "a", None, "unknown")]


def test_a_dataset_without_a_key_has_none(env, declare):
    publish(env, declare())
    found = published.read_arrow(env, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'raw'").to_pylist()
    assert found == [{"view_name": "stall__sales"}]


def test_a_column_that_the_pinned_version_does_not_have_yet_is_null(env, orders, tmp_path):
    load(env, orders, "a.csv", [(1, "a", 1, 0.5, "new")], 1)
    path = tmp_path / "orders.odcs.yaml"
    path.write_text(ORDERS + "      - {name: note, logicalType: string}\n")
    publish(env, replace(orders, contract=read_contract(path)))
    rows = published.read_arrow(env, "SELECT state, note FROM raw.stall__orders__latest").to_pylist()
    assert rows == [{"state": "new", "note": None}]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"order_by": "when"}, "order_by is 'when'; expected a column of the contract: order, line, changed"),
        ({"rejects_retention_days": 0}, "rejects_retention_days is 0; expected at least 1, or none"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_what_was_expected(orders, setting, told):
    with pytest.raises(ValueError, match=told):
        replace(orders, **setting)


@pytest.mark.parametrize("setting", [{"order_by": "units"}, {"duplicates": "key"}])
def test_settings_about_keys_need_a_key(declare, setting):
    with pytest.raises(ValueError, match="needs a key: declare `primaryKey: true`"):
        declare(**setting)


def test_on_bigquery_it_is_the_same_with_its_quotes_and_nan_as_the_greatest_number(orders):
    assert bigquery_view(replace(orders, order_by="score")) == (
        "CREATE OR REPLACE VIEW `raw`.`stall__orders__latest` AS\n"
        "SELECT `order`, `line`, `changed`, `score`, `state`, `_file`, `_version`, `_row`, `_loaded_at` "
        "FROM `raw`.`stall__orders` WHERE true QUALIFY row_number() OVER (PARTITION BY `order`, `line` "
        "ORDER BY coalesce(is_nan(`score`), false) DESC, `score` DESC NULLS LAST, `_loaded_at` DESC, `_file` DESC, "
        "`_row` DESC) = 1"
    )
