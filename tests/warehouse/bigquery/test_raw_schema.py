"""A contract as a table of BigQuery, and parts within the limits of its jobs."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.contracts import Layout
from caudal.warehouse.bigquery import limits, partitions, parts, schema
from caudal.warehouse.bigquery.raw_tables import as_of, physical
from caudal.warehouse.bigquery.storable import UnusableColumns


def told(fields):
    return {field.name: schema.told(field) for field in fields}


def test_a_table_has_the_declared_columns_and_those_of_lineage_and_all_may_be_null(contract_of):
    nested = {"name": "lines", "logicalType": "array", "items": {"logicalType": "object", "properties": [
        {"name": "sku", "logicalType": "string", "required": True},
        {"name": "price", "logicalType": "number", "physicalType": "DECIMAL(8,2)"},
    ]}}  # fmt: skip
    fields = schema.fields_of(contract_of({"name": "id", "logicalType": "integer", "required": True}, "item", nested))
    assert told(fields) == {
        "id": "INTEGER", "item": "STRING", "lines": "ARRAY<RECORD<price NUMERIC(8, 2), sku STRING>>",
        "_file": "STRING", "_version": "STRING", "_row": "INTEGER", "_loaded_at": "TIMESTAMP",
    }  # fmt: skip
    assert {field.mode for field in fields} == {"NULLABLE", "REPEATED"}
    assert {inner.mode for inner in fields[2].fields} == {"NULLABLE"}
    assert [f.name for f in schema.fields_of(None)][3:7] == ["column", "value", "reason", "record"]


def test_the_two_names_of_a_type_are_the_same_and_another_type_is_told_with_both(contract_of):
    before = schema.fields_of(contract_of({"name": "a", "logicalType": "integer"}, {"name": "b", "logicalType": "number"}))
    assert schema.differing(before, before) == []
    after = schema.fields_of(contract_of({"name": "A", "logicalType": "boolean"}, {"name": "b", "logicalType": "number"}))
    assert schema.differing(before, after) == ["`A`: INTEGER -> BOOLEAN"]
    assert [f.name for f in schema.new_columns(before, schema.fields_of(contract_of("a", "c")))] == ["c"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("price $", "no name may hold `$`"), ("_TABLE_x", "names that begin so are BigQuery's own"), ("a" * 301, "at most 300")],
)
def test_a_name_that_bigquery_does_not_take_is_refused_with_what_to_do(contract_of, name, problem):
    contract = contract_of(name)
    with pytest.raises(UnusableColumns) as refused:
        schema.fields_of(contract)
    assert str(contract.path) in str(refused.value)
    assert problem in str(refused.value)
    assert "renamedFrom" in str(refused.value)


def test_names_with_blanks_and_letters_of_other_scripts_are_kept(contract_of):
    fields = schema.fields_of(contract_of("Order Date", "größe"))
    assert [f.name for f in fields[:2]] == ["Order Date", "größe"]
    assert not schema.are_plain(fields)
    assert schema.are_plain(schema.fields_of(contract_of("order_date")))


@pytest.mark.parametrize(("most", "groups"), [(10, [[0, 1, 2, 3, 4]]), (2, [[0, 1], [2, 3], [4]])])
def test_parts_are_loaded_in_as_few_jobs_as_may_be(tmp_path, monkeypatch, most, groups):
    files = [tmp_path / str(n) for n in range(5)]
    for file in files:
        file.write_bytes(b"1234")
    monkeypatch.setattr(limits, "MOST_URIS", most)
    assert list(limits.jobs_of(files)) == groups
    monkeypatch.setattr(limits, "MOST_BYTES", 9)
    assert [len(group) for group in limits.jobs_of(files)] == [2, 2, 1]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_rows_of_many_partitions_are_divided_into_ranges_that_leave_none_out(tmp_path, kind):
    days = [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(days=n) for n in range(9)]
    values = pa.array([d.replace(tzinfo=None) for d in days] + [None], pa.timestamp("us")).cast(kind)
    pq.write_table(pa.table({"at": values}), tmp_path / "a.parquet")
    found = partitions.ranges([tmp_path / "a.parquet"], Layout("at", "day"), most=4)
    assert [r.low is None for r in found] == [True, False, False]
    assert [r.high is None for r in found] == [False, False, True]
    assert [low.high for low in found[:-1]] == [high.low for high in found[1:]]
    assert partitions.ranges([tmp_path / "a.parquet"], Layout("at", "month"), most=4) == [partitions.Range()]
    assert partitions.ranges([tmp_path / "a.parquet"], Layout(), most=4) == [partitions.Range()]


def test_an_array_within_an_array_is_text_and_all_else_as_it_was(tmp_path, contract_of):
    numbers = {"logicalType": "array", "items": {"logicalType": "integer"}}
    contract = contract_of("item", {"name": "grid", "logicalType": "array", "items": numbers})
    part = tmp_path / "0.parquet"
    pq.write_table(pa.table({"item": ["a", "b"], "grid": [[[1, 2], None], None]}), part)
    (fitted,) = parts.fit([part], contract)
    assert pq.read_table(fitted).to_pylist() == [{"item": "a", "grid": ["[1, 2]", None]}, {"item": "b", "grid": None}]
    assert parts.fit([part], contract_of("item")) == [part]


def test_loaders_write_where_no_reader_looks():
    assert (physical("raw.pos__sales"), physical("quarantine.pos__sales")) == ("loading.pos__sales", "quarantine.pos__sales")


def test_a_version_is_read_as_it_was_within_its_millisecond():
    from caudal.google_cloud import GoogleCloud

    cloud = GoogleCloud("acme", "EU", "b", "shop_")
    assert as_of(cloud, "raw.pos__sales", 1_000) == (
        "`acme.shop_loading.pos__sales` FOR SYSTEM_TIME AS OF TIMESTAMP_MILLIS(1001)"
    )
