"""Rows that Python made, with the types under which BigQuery stores them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class NoSuchType(TypeError):
    """An Arrow column that BigQuery has no type for."""


class NullInList(ValueError):
    """Rows have a list with an item that is null. The message is for people."""


def fields_of(schema: pa.Schema) -> list[Any]:
    """BigQuery's fields of a table that Python made.

    Raises:
        NoSuchType: one of the columns cannot be stored.

    """
    return [_field(field.name, field.type) for field in schema]


def storable(rows: pa.Table) -> pa.Table:
    """The rows with the Arrow types that BigQuery's Parquet reader takes: microseconds, plain texts, signed integers.

    Raises:
        NullInList: a list has an item without a value.

    """
    import pyarrow as pa

    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if _has_null_items(column):
            row = next(n for n in range(len(column)) if _has_null_items(column.slice(n, 1)))
            raise NullInList(
                f"Column {name}, row {row + 1}: a list has an item without a value, which BigQuery's arrays cannot hold: leave "
                "such items out, or make the list a text of JSON"
            )
    schema = pa.schema([pa.field(field.name, _storable(field.type), field.nullable) for field in rows.schema])
    return rows.cast(schema)


def _has_null_items(values: pa.Array | pa.ChunkedArray) -> bool:
    import pyarrow as pa
    from pyarrow.compute import StructFieldOptions, call_function

    if pa.types.is_struct(values.type):
        return any(
            _has_null_items(call_function("struct_field", [values], StructFieldOptions([number])))
            for number in range(values.type.num_fields)
        )
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)):
        return False
    items = call_function("list_flatten", [values])
    return items.null_count > 0 or _has_null_items(items)


def _field(name: str, kind: pa.DataType) -> Any:
    import pyarrow as pa
    from google.cloud import bigquery

    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        item = _field(name, kind.value_type)
        if item.mode == "REPEATED":
            raise NoSuchType(
                f"Column {name} is a list of lists ({kind}), which BigQuery cannot store: put a struct between them"
            )
        return bigquery.SchemaField(name, item.field_type, "REPEATED", fields=item.fields)
    if pa.types.is_struct(kind):
        inner: Iterable[Any] = (kind.field(i) for i in range(kind.num_fields))
        return bigquery.SchemaField(name, "RECORD", fields=[_field(each.name, each.type) for each in inner])
    if pa.types.is_decimal(kind):
        is_small = kind.scale <= 9 and kind.precision - kind.scale <= 29
        return bigquery.SchemaField(name, "NUMERIC" if is_small else "BIGNUMERIC", precision=kind.precision, scale=kind.scale)
    return bigquery.SchemaField(name, _scalar(name, kind))


def _scalar(name: str, kind: pa.DataType) -> str:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _scalar(name, kind.value_type)
    if types.is_uint64(kind):
        return "NUMERIC"
    if types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "DATETIME"
    for fits, told in (
        (types.is_boolean, "BOOL"),
        (types.is_integer, "INT64"),
        (types.is_floating, "FLOAT64"),
        (types.is_date, "DATE"),
        (types.is_time, "TIME"),
        (types.is_binary, "BYTES"),
        (types.is_large_binary, "BYTES"),
        (types.is_string, "STRING"),
        (types.is_large_string, "STRING"),
        (types.is_string_view, "STRING"),
        (types.is_null, "STRING"),
    ):
        if fits(kind):
            return told
    raise NoSuchType(f"Column {name} is of Arrow's type {kind}, which BigQuery cannot store: cast it before")


def _storable(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _storable(kind.value_type)
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_date64(kind):
        return pa.date32()
    if types.is_uint64(kind):
        return pa.decimal128(20, 0)
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_storable(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(kind.field(i).name, _storable(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind
