"""Avro types as Arrow types, and how a value of the one, decoded without its logical type, becomes one of the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: Types within types, at most.
_DEPTH = 32

#: Types that a record is made of, at most, each counted as often as it is used.
_TYPES = 20_000

_DECIMAL_DIGITS = 76
_EXACT = Context(prec=1000)

_LOGICAL = "logicalType"


class NotKept(ValueError):
    """A type whose values cannot all be kept exactly. The message says why."""


class NotDecoded(ValueError):
    """A schema that is not decoded at all. The message says why."""


@dataclass(frozen=True)
class AvroType:
    """A type as it is carried.

    Attributes:
        arrow: of the values.
        convert: a decoded value -> what Arrow makes such a value of; None where it is the same.

    """

    arrow: pa.DataType
    convert: Callable[[Any], Any] | None = None


def without_logical_types(schema: Any) -> Any:
    """The schema whose values are decoded as they are written: an instant as a number, a decimal as bytes."""
    if isinstance(schema, list):
        return [without_logical_types(s) for s in schema]
    if isinstance(schema, dict):
        return {k: without_logical_types(v) for k, v in schema.items() if k != _LOGICAL}
    return schema


class SchemaCheck:
    """Finds out whether a schema can be decoded without a risk to time or memory.

    Args:
        named: the types that have names.

    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, tuple[int, int]] = {}

    def measure(self, schema: Any, within: tuple[str, ...] = ()) -> tuple[int, int]:
        """The fewest bytes that a value takes, and how many types it is made of.

        Raises:
            NotDecoded: a type is in itself, they are too many or too deep, or an array has items of no bytes, of which
                there may be any number.

        """
        if len(within) > _DEPTH:
            raise NotDecoded(f"its types are nested more than {_DEPTH} deep")
        name = schema if isinstance(schema, str) else schema.get("name", "") if isinstance(schema, dict) else ""
        if name and name in within:
            raise NotDecoded(f"the type `{name}` is in itself")
        if name not in self._known:
            found = self._of(self._named.get(name, schema) if name else schema, (*within, name))
            if found[1] > _TYPES:
                raise NotDecoded(f"it is made of more than {_TYPES} types")
            if not name:
                return found
            self._known[name] = found
        return self._known[name]

    def _of(self, schema: Any, within: tuple[str, ...]) -> tuple[int, int]:
        if isinstance(schema, str):
            return {"null": 0, "float": 4, "double": 8}.get(schema, 1), 1
        if isinstance(schema, list):
            branches = [self.measure(s, within) for s in schema]
            return 1 + min((size for size, _ in branches), default=0), 1 + sum(count for _, count in branches)
        kind = schema["type"]
        if kind in ("record", "error"):
            fields = [self.measure(f["type"], within) for f in schema["fields"]]
            return sum(size for size, _ in fields), 1 + sum(count for _, count in fields)
        if kind == "fixed":
            return schema["size"], 1
        if kind in ("array", "map"):
            size, count = self.measure(schema["items" if kind == "array" else "values"], within)
            if not size and kind == "array":
                raise NotDecoded("it has an array of items without content")
            return 1, 1 + count
        return self.measure(kind, within)


def avro_type(schema: Any, named: Mapping[str, Any]) -> AvroType:
    """How the values of a decodable type are carried.

    Raises:
        NotKept: not all of them can be.

    """
    if isinstance(schema, list):
        return _union(schema, named)
    if isinstance(schema, str):
        return avro_type(named[schema], named) if schema in named else _primitive(schema, None, {})
    kind = schema["type"]
    match kind:
        case "record" | "error":
            return _record(schema, named)
        case "array":
            return _array(avro_type(schema["items"], named))
        case "map":
            return _map(avro_type(schema["values"], named))
        case _ if isinstance(kind, str) and kind not in named:
            return _primitive(kind, schema.get(_LOGICAL), schema)
        case _:
            return avro_type(kind, named)


def _primitive(kind: str, logical: str | None, schema: Mapping[str, Any]) -> AvroType:
    import pyarrow as pa

    if logical == "decimal" and kind in ("bytes", "fixed"):
        return _decimal(schema)
    if kind == "fixed" and logical == "duration":
        raise NotKept("a duration of months, days and milliseconds")
    if kind == "fixed" and logical == "uuid" and schema["size"] == 16:
        return AvroType(pa.string(), lambda value: str(uuid.UUID(bytes=value)))
    moments: dict[tuple[str, str | None], pa.DataType] = {
        ("int", "date"): pa.date32(),
        ("int", "time-millis"): pa.time32("ms"),
        ("long", "time-micros"): pa.time64("us"),
        **{("long", f"timestamp-{n}"): pa.timestamp(u, "UTC") for n, u in _UNITS},
        **{("long", f"local-timestamp-{n}"): pa.timestamp(u) for n, u in _UNITS},
    }
    if (kind, logical) in moments:
        return AvroType(moments[kind, logical])
    plain = {
        "null": pa.null(), "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(),
        "double": pa.float64(), "string": pa.string(), "enum": pa.string(), "bytes": pa.binary(), "fixed": pa.binary(),
    }  # fmt: skip
    return AvroType(plain[kind])


_UNITS = (("millis", "ms"), ("micros", "us"), ("nanos", "ns"))


def _decimal(schema: Mapping[str, Any]) -> AvroType:
    import pyarrow as pa

    precision, scale = schema.get("precision", 0), schema.get("scale", 0)
    if not (
        isinstance(precision, int) and isinstance(scale, int) and 0 < precision <= _DECIMAL_DIGITS and 0 <= scale <= precision
    ):
        raise NotKept(f"a decimal of {precision} digits, {scale} of them after the point")
    kind = pa.decimal128 if precision <= 38 else pa.decimal256

    def convert(value: bytes) -> Decimal:
        return _EXACT.scaleb(Decimal(int.from_bytes(value, "big", signed=True)), -scale)

    return AvroType(kind(precision, scale), convert)


def _union(branches: list[Any], named: Mapping[str, Any]) -> AvroType:
    import pyarrow as pa

    types = [avro_type(b, named) for b in branches if b != "null" and not (isinstance(b, dict) and b.get("type") == "null")]
    if not types:
        return AvroType(pa.null())
    if len(types) == 1:
        return types[0]
    if all(t.convert is None for t in types):
        arrows = {t.arrow for t in types}
        # Each of these holds every value of those before it in its row.
        for row in ((pa.int32(), pa.int64()), (pa.int32(), pa.float32(), pa.float64()), (pa.string(),)):
            if arrows <= set(row) and arrows != {pa.int32(), pa.float32()}:
                return AvroType(next(t for t in reversed(row) if t in arrows))
    raise NotKept("a union of several types, which no column has")


def _array(items: AvroType) -> AvroType:
    import pyarrow as pa

    convert = items.convert
    if convert is None:
        return AvroType(pa.list_(items.arrow))
    return AvroType(pa.list_(items.arrow), lambda v, convert=convert: [_converted(x, convert) for x in v])


def _map(values: AvroType) -> AvroType:
    import pyarrow as pa

    convert = values.convert
    if convert is None:
        return AvroType(pa.map_(pa.string(), values.arrow), lambda v: list(v.items()))
    return AvroType(
        pa.map_(pa.string(), values.arrow), lambda v, convert=convert: [(k, _converted(x, convert)) for k, x in v.items()]
    )


def _record(schema: Mapping[str, Any], named: Mapping[str, Any]) -> AvroType:
    import pyarrow as pa

    fields = {f["name"]: avro_type(f["type"], named) for f in schema["fields"]}
    converts = {name: t.convert for name, t in fields.items() if t.convert is not None}
    arrow = pa.struct([pa.field(name, t.arrow) for name, t in fields.items()])
    if not converts:
        return AvroType(arrow)
    return AvroType(arrow, lambda v: v | {name: _converted(v[name], convert) for name, convert in converts.items()})


def _converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    return None if value is None else convert(value)
