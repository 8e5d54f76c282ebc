"""How the values of an Arrow type are carried, so that none loses anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.lake.readers.rows import Kind

if TYPE_CHECKING:
    import pyarrow as pa

#: Kinds that JSON text keeps.
_JSON_KINDS = ("text", "boolean", "integer", "unsigned", "double", "decimal", "date", "time", "timestamp", "timestamptz")
#: Kinds that are carried as counts, which inside a struct or a list nothing would tell from integers.
_COUNTS = ("time_ns", "timestamp_ns", "timestamptz_ns")


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
    if is_.is_nested(found):
        carried = _nested(found)
        return None if carried is None else ("nested", carried)
    simple: tuple[tuple[bool, Kind, pa.DataType], ...] = (
        (string or binary or is_.is_null(found), "text", pa.string()),
        (is_.is_boolean(found), "boolean", pa.bool_()),
        (is_.is_uint64(found), "unsigned", pa.uint64()),
        (is_.is_integer(found), "integer", pa.int64()),
        (is_.is_float64(found), "double", pa.float64()),
        (is_.is_floating(found), "float", pa.float32()),
        (is_.is_date(found), "date", pa.date32()),
    )
    return next(((kind, carried) for applies, kind, carried in simple if applies), None)


def _nested(found: pa.DataType) -> pa.DataType | None:
    """A struct, list or map of what its values are carried in; None where one inside cannot be kept."""
    import pyarrow as pa

    if pa.types.is_union(found) or isinstance(found, pa.BaseExtensionType):
        return None
    fields = [found.field(i) for i in range(found.num_fields)]
    inner = [None if isinstance(f.type, pa.BaseExtensionType) else kind_of(f.type) for f in fields]
    if any(known is None or known[0] in _COUNTS for known in inner):
        return None
    carried = [f.with_type(known[1]) for f, known in zip(fields, inner, strict=True) if known is not None]
    if pa.types.is_struct(found):
        return pa.struct(carried)
    if pa.types.is_map(found):
        entry = carried[0].type
        return pa.map_(entry.field(0).type, entry.field(1).type)
    return pa.list_(carried[0])


def fits_json(carried: pa.DataType) -> bool:
    """Whether JSON text keeps every value inside a type that `kind_of` gives."""
    import pyarrow as pa

    if pa.types.is_nested(carried):
        return all(fits_json(carried.field(i).type) for i in range(carried.num_fields))
    inner = kind_of(carried)
    return inner is not None and inner[0] in _JSON_KINDS
