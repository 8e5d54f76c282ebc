"""Rows that stand in two files are counted exactly, and each pair of files is told."""

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.warehouse import delta, duplicates
from caudal.warehouse.duplicates import Pair, Sample, count, is_due, last_count

RETAIL = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail"
KEYED = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - {name: item, logicalType: string, primaryKey: true}
      - {name: units, logicalType: integer}
      - {name: weight, logicalType: number, physicalType: DOUBLE}
"""


def load(env, dataset, content: dict[str, list[tuple]]) -> int:
    """The rows of each file as (item, units, weight), in one commit; the version."""
    schema = dataset.contract.arrow_schema()
    rows = [
        {"item": item, "units": units, "weight": weight, "_file": file, "_version": "1", "_row": place}
        for file, of_file in content.items()
        for place, (item, units, weight) in enumerate(of_file, 1)
    ]
    part = env.state / "part.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), part)
    return delta.replace_files(
        env.raw / dataset.table, schema, [part], list(content), transaction=delta.Transaction("t", 1), append=True
    )


def test_rows_in_two_files_and_in_two_sheets_are_counted_with_the_pairs_of_files(env, declare):
    dataset = declare(KEYED)
    a, b, c = ("a", 1, 0.5), ("b", None, None), ("c", 3, 0.5)
    version = load(env, dataset, {"1.csv": [a, b, c], "2.csv": [a, b], "book.xlsx!1": [a], "book.xlsx!2": [c, c]})
    found = count(env, dataset, version)
    assert (found.rows, found.shared_rows, found.shared, found.beyond_first) == (8, 8, 3, 5)
    assert found.pairs == (
        Pair("1.csv", "2.csv", 2),
        Pair("1.csv", "book.xlsx!1", 1),
        Pair("1.csv", "book.xlsx!2", 1),
        Pair("2.csv", "book.xlsx!1", 1),
    )
    assert found.samples[0] == Sample('{"item":"a","units":1,"weight":0.5}', ("1.csv", "2.csv", "book.xlsx!1"))


def test_a_row_twice_in_one_file_stands_in_one_file(env, declare):
    dataset = declare(KEYED)
    version = load(env, dataset, {"1.csv": [("a", 1, 0.5)] * 3, "2.csv": [("b", 1, 0.5)]})
    found = count(env, dataset, version)
    assert (found.shared_rows, found.shared, found.beyond_first, found.pairs, found.samples) == (0, 0, 2, (), ())


def test_keys_are_compared_where_the_dataset_says_so(env, declare):
    dataset = declare(KEYED, duplicates="key")
    version = load(env, dataset, {"1.csv": [("a", 1, 0.5), ("b", 1, 0.5)], "2.csv": [("a", 2, 0.75)]})
    found = count(env, dataset, version)
    assert (found.compared, found.shared_rows, found.shared) == ("key", 2, 1)
    assert found.samples == (Sample('{"item":"a"}', ("1.csv", "2.csv")),)


def test_personal_values_are_compared_and_not_shown(env, declare):
    contract = KEYED.replace("{name: item, ", "{name: item, classification: personal, ")
    dataset = declare(contract)
    version = load(env, dataset, {"1.csv": [("Ada", 1, 0.5)], "2.csv": [("Ada", 1, 0.5), ("Bob", 1, 0.5)]})
    (sample,) = count(env, dataset, version).samples
    assert sample.value == '{"item":"not shown","units":1,"weight":0.5}'


@pytest.mark.skipif(not RETAIL.is_dir(), reason="shared/data/online_retail is not beside the checkout")
def test_real_sales_have_repeated_lines_within_days_and_a_second_delivery_is_found_out(env, contract_of, declare):
    """The figures are those of the data's own description."""
    names = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
    dataset = replace(declare(), contract=contract_of(*names))
    schema = dataset.contract.arrow_schema()
    versions = []
    with duckdb.connect() as connection:
        for files, named in ((f"{RETAIL}/*.csv", "parse_filename(filename)"), (f"{RETAIL}/2011-08-3?.csv", "'book.xlsx!2011'")):
            rows = connection.execute(
                f"SELECT {', '.join(names)}, {named}, '1', 1, now() FROM read_csv('{files}', all_varchar = true, filename = true)"
            ).to_arrow_table()
            part = env.state / "part.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows.rename_columns(schema.names).cast(schema), part)
            transaction = delta.Transaction("t", len(versions) + 1)
            versions.append(
                delta.replace_files(env.raw / dataset.table, schema, [part], ["f"], transaction=transaction, append=True)
            )
    first, second = (count(env, dataset, version) for version in versions)
    assert (first.rows, first.beyond_first, first.shared_rows) == (320_705, 2_483, 0)
    assert second.pairs == (
        Pair("2011-08-30.csv", "book.xlsx!2011", 3_232),
        Pair("2011-08-31.csv", "book.xlsx!2011", 1_300),
    )


def test_what_stands_in_very_many_files_is_counted_and_not_told_pair_by_pair(env, declare):
    dataset = declare(KEYED)
    version = load(env, dataset, {f"{n}.csv": [("a", 1, 0.5)] for n in range(50)})
    found = count(env, dataset, version)
    assert (found.shared_rows, found.shared, found.pairs) == (50, 1, ())
    assert len(found.samples[0].files) == duplicates.SAMPLES


def test_the_newest_count_is_kept_until_something_else_is_compared(env, declare):
    dataset = declare(KEYED)
    assert last_count(env, dataset) is None
    version = load(env, dataset, {"1.csv": [("a", 1, 0.5)], "2.csv": [("a", 1, 0.5)]})
    found = count(env, dataset, version)
    assert last_count(env, dataset) == found
    assert last_count(env, declare(KEYED, duplicates="key")) is None


def test_nothing_is_counted_where_the_dataset_says_off(env, declare):
    with pytest.raises(ValueError, match="stall/sales declares `duplicates: off`"):
        count(env, declare(duplicates="off"), 0)


@pytest.mark.parametrize(
    ("load", "table", "due"),
    [(1, 250_000, True), (1, 250_001, False), (1_500_000, 1_500_000, True), (99, 1_000_000, False), (10**5, 10**6, True)],
)
def test_a_load_counts_where_that_is_a_small_part_of_it(load, table, due):
    assert is_due(load, table) is due


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", ""]),
        st.none() | st.integers(0, 1),
        st.none() | st.sampled_from([0.0, -0.0, float("nan"), 1.5]),
    ),
    max_size=6,
)


@given(content=st.dictionaries(st.sampled_from(["1", "2", "3", "2!x"]), ROWS, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_numbers_are_those_of_a_plain_comparison(content):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE raw (item VARCHAR, units BIGINT, weight DOUBLE, _file VARCHAR)")
        for file, rows in content.items():
            for row in rows:
                connection.execute("INSERT INTO raw VALUES (?, ?, ?, ?)", [*row, file])
        found = duplicates._count(connection, "row", 1, dict.fromkeys(["item", "units", "weight"], True))

    def plain(row):
        weight = row[2]
        return (row[0], row[1], "nan" if weight is not None and weight != weight else weight)

    in_files = defaultdict(Counter)
    for file, rows in content.items():
        for row in rows:
            in_files[plain(row)][file] += 1
    shared = {row: files for row, files in in_files.items() if len(files) > 1}
    pairs = Counter(pair for files in shared.values() for pair in itertools.combinations(sorted(files), 2))
    assert found.rows == sum(map(len, content.values()))
    assert found.shared == len(shared)
    assert found.shared_rows == sum(sum(files.values()) for files in shared.values())
    assert found.beyond_first == sum(sum(files.values()) - 1 for files in in_files.values())
    assert {(p.one, p.other): p.shared for p in found.pairs} == pairs
