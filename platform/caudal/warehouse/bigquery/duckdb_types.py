"""The DuckDB type of each BigQuery type, the one that the local engine has for the same contract.

| BigQuery | DuckDB |
|---|---|
| `NUMERIC(p, s)`, `BIGNUMERIC(p, s)` of at most 38 digits | `DECIMAL(p, s)` |
| `NUMERIC` | `DECIMAL(38, 9)` |
| `BIGNUMERIC` | `DECIMAL(38, 18)`; a value of more than 20 digits before its point is refused |
| `DATETIME`, `TIMESTAMP` | `TIMESTAMP`, `TIMESTAMP WITH TIME ZONE` |
| `JSON`, `GEOGRAPHY` | `VARCHAR` |
| `STRUCT`, `ARRAY`, `RANGE` | `STRUCT`, a list, a `STRUCT` of `start` and `end` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.restrictions import kind_of
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES = {
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "TIME": "TIME",
    "JSON": "VARCHAR",
    "GEOGRAPHY": "VARCHAR",
}
_SIZES = re.compile(r"\((\d+)(?:,\s*(\d+))?\)")
_MOST_DIGITS = 38


def duckdb_type(field: Any) -> str:
    """The type of a `bigquery.SchemaField`.

    Raises:
        BigQueryRefused: DuckDB has no such type.

    """
    kind = kind_of(field)
    if kind == "ARRAY":
        from google.cloud.bigquery import SchemaField

        one = SchemaField.from_api_repr({**field.to_api_repr(), "mode": "NULLABLE"})
        return f"{duckdb_type(one)}[]"
    if kind == "STRUCT":
        return f"STRUCT({', '.join(f'{identifier(f.name)} {duckdb_type(f)}' for f in field.fields)})"
    if kind in ("NUMERIC", "BIGNUMERIC"):
        return _decimal(field, kind)
    if kind == "RANGE" and field.range_element_type is not None:
        element = _TYPES[field.range_element_type.element_type]
        return f'STRUCT("start" {element}, "end" {element})'
    if kind not in _TYPES:
        raise BigQueryRefused(
            f"the column {field.name} is of BigQuery's type {field.field_type}, which is not read into DuckDB; name the other "
            "columns, or convert it in a model",
            "unsupportedType",
        )
    return _TYPES[kind]


def known_types(fields: Iterable[Any]) -> dict[str, str]:
    """Column -> DuckDB type. One that cannot be read is told as `NULL`'s own type, so that the others can."""
    found = {}
    for field in fields:
        try:
            found[field.name] = duckdb_type(field)
        except BigQueryRefused:
            found[field.name] = '"NULL"'
    return found


def selected(types: dict[str, str], columns: Iterable[str]) -> str:
    """The select list of all columns of a table of which `columns` were brought; the others are NULL."""
    there = set(columns)
    return ", ".join(
        f"CAST({identifier(name) if name in there else 'NULL'} AS {type_}) AS {identifier(name)}"
        for name, type_ in types.items()
    )


def storable(type_: pa.DataType) -> pa.DataType:
    """The Arrow type that Parquet and DuckDB can hold: decimals of up to 76 digits, and wider structures of them, as text."""
    import pyarrow as pa

    if pa.types.is_decimal256(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(pa.field(type_.value_field.name, storable(type_.value_type)))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(f.name, storable(f.type)) for f in type_])
    return type_


def _decimal(field: Any, kind: str) -> str:
    inline = _SIZES.search(field.field_type)
    precision = int(inline[1]) if inline else int(field.precision or 0)
    scale = int((inline[2] or 0) if inline else field.scale or 0)
    if 0 < precision <= _MOST_DIGITS:
        return f"DECIMAL({precision},{scale})"
    return "DECIMAL(38,9)" if kind == "NUMERIC" else "DECIMAL(38,18)"
