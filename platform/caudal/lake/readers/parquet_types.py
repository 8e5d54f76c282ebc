"""How the values of an Arrow type are carried, so that none loses anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.lake.readers.rows import Kind

if TYPE_CHECKING:
    import pyarrow as pa

#: Kinds that JSON text keeps.
_JSON_KINDS = ("text", "boolean", "integer", "unsigned", "double", "decimal", "date", "timestamp")


def kind_of(found: pa.DataType) -> tuple[Kind, pa.DataType] | None:
    """The kind of the values, and the Arrow type that they are given in. None for a type that cannot be kept."""
    import pyarrow as pa

    is_ = pa.types
    if isinstance(found, pa.UuidType):
        return "text", pa.string()
    if isinstance(found, pa.BaseExtensionType):
        return kind_of(found.storage_type)
    if is_.is_dictionary(found):
        return kind_of(found.value_type)
    if is_.is_timestamp(found):
        zoned = found.tz is not None
        if found.unit == "ns":
            return ("timestamptz_ns" if zoned else "timestamp_ns"), pa.int64()
        return ("timestamptz", pa.timestamp("us", "UTC")) if zoned else ("timestamp", pa.timestamp("us"))
    if is_.is_time(found):
        return ("time_ns", pa.int64()) if found.unit == "ns" else ("time", pa.time64("us"))
    if is_.is_decimal(found):
        fits = found.precision <= 38 and 0 <= found.scale <= found.precision
        return ("decimal", pa.decimal128(found.precision, found.scale)) if fits else ("text", pa.string())
    string = is_.is_string(found) or is_.is_large_string(found) or is_.is_string_view(found)
    binary = is_.is_binary(found) or is_.is_large_binary(found) or is_.is_fixed_size_binary(found) or is_.is_binary_view(found)
    simple: tuple[tuple[bool, Kind, pa.DataType], ...] = (
        (string or binary or is_.is_null(found), "text", pa.string()),
        (is_.is_boolean(found), "boolean", pa.bool_()),
        (is_.is_uint64(found), "unsigned", pa.uint64()),
        (is_.is_integer(found), "integer", pa.int64()),
        (is_.is_float64(found), "double", pa.float64()),
        (is_.is_floating(found), "float", pa.float32()),
        (is_.is_date(found), "date", pa.date32()),
        (is_.is_nested(found) and _fits_json(found), "nested", found),
    )
    return next(((kind, carried) for applies, kind, carried in simple if applies), None)


def _fits_json(found: pa.DataType) -> bool:
    """Whether JSON text keeps every value inside."""
    import pyarrow as pa

    if pa.types.is_union(found):
        return False
    if pa.types.is_nested(found):
        return all(_fits_json(found.field(i).type) for i in range(found.num_fields))
    inner = kind_of(found)
    return inner is not None and inner[0] in _JSON_KINDS
