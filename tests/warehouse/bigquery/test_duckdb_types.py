"""Types of BigQuery as DuckDB has them."""

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from caudal.warehouse.bigquery.duckdb_types import duckdb_type, known_types, storable
from caudal.warehouse.bigquery.explained import BigQueryRefused


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (SchemaField("c", "NUMERIC", precision=12, scale=2), "DECIMAL(12,2)"),
        (SchemaField("c", "NUMERIC", precision=12), "DECIMAL(12,0)"),
        (SchemaField("c", "NUMERIC"), "DECIMAL(38,9)"),
        (SchemaField("c", "BIGNUMERIC", precision=38, scale=30), "DECIMAL(38,30)"),
        (SchemaField("c", "BIGNUMERIC", precision=60, scale=30), "DECIMAL(38,18)"),
        (SchemaField("c", "NUMERIC", mode="REPEATED", precision=9, scale=2), "DECIMAL(9,2)[]"),
        (SchemaField("c", "RECORD", fields=[SchemaField("a b", "DATE")]), 'STRUCT("a b" DATE)'),
        (SchemaField("c", "RECORD", mode="REPEATED", fields=[SchemaField("x", "FLOAT")]), 'STRUCT("x" DOUBLE)[]'),
        (SchemaField("c", "RANGE", range_element_type="DATE"), 'STRUCT("start" DATE, "end" DATE)'),
        (SchemaField("c", "GEOGRAPHY"), "VARCHAR"),
    ],
)
def test_each_type_has_one_in_duckdb(field: SchemaField, expected: str) -> None:
    assert duckdb_type(field) == expected


def test_a_type_that_duckdb_lacks_is_refused_by_name_and_hides_no_other_column() -> None:
    with pytest.raises(BigQueryRefused, match="the column c is of BigQuery's type INTERVAL"):
        duckdb_type(SchemaField("c", "INTERVAL"))
    assert known_types([SchemaField("c", "INTERVAL"), SchemaField("n", "INTEGER")]) == {"c": '"NULL"', "n": "BIGINT"}


def test_decimals_beyond_38_digits_are_stored_as_text_wherever_they_are() -> None:
    wide = pa.decimal256(76, 38)
    assert storable(pa.struct([("x", pa.list_(wide)), ("n", pa.int64())])) == pa.struct(
        [("x", pa.list_(pa.string())), ("n", pa.int64())]
    )
    rows = pa.array([None], wide)
    assert rows.cast(storable(wide)).to_pylist() == [None]
