"""A declared column, and its type in Arrow, DuckDB and BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts.formats import Duration
    from caudal.contracts.number_formats import NumberFormat

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array"]

_DUCKDB = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "time": "TIME",
    "object": "VARCHAR",
    "array": "VARCHAR",
}
_BIGQUERY = {
    "string": "STRING",
    "integer": "INT64",
    "boolean": "BOOL",
    "date": "DATE",
    "timestamp": "DATETIME",
    "time": "TIME",
    # Its type JSON would read numbers as doubles.
    "object": "STRING",
    "array": "STRING",
}

#: What Parquet and Delta Lake call the items of a list.
_ITEMS = "element"


@dataclass(frozen=True)
class Column:
    """One declared column, or a property of an object, or what the items of an array are.

    Attributes:
        name: as it is called in the lake file and in the raw table.
        logical_type: ODCS's name of its type.
        precision, scale: of an exact decimal; None for a `DOUBLE` and for all that is not a number.
        required: a row without a value is rejected.
        primary_key: it is part of the key; `key_position` says which, from 1, where the contract does.
        format: how text is read as a date, time or timestamp, in the letters of `strptime`; None for ISO 8601.
        number_format: how text is read as a number; None for the plain rules.
        duration: how text such as `26:30:00` is read as an integer.
        true_values, false_values: the texts of a boolean, beside `true` and `false`; empty for `1` and `0`.
        null_markers: texts that stand for no value, beside those of the dataset.
        timezone: whether a timestamp carries a time zone.
        cuts_nanoseconds: what a time or timestamp says beyond microseconds is cut; else such a value is refused.
        minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of, min_length, max_length, pattern: of values.
        min_items, max_items, unique_items: of an array.
        allowed: the only values that are accepted; empty for no limit.
        required_keys: of an object: keys that must be there, be it with null.
        renamed_from: names that it had before, under which files may still have it.
        fields: of an object, where the contract declares them: it is a struct then, else JSON text.
        items: of an array, where the contract declares it: it is a list then, else JSON text.
        subject: whom its values identify, such as `household`: by it a person's rows are found to be erased.
        null_refused: of the items of an array: why one without a value is refused though it is not `required`; not declared.

    """

    name: str
    logical_type: LogicalType
    description: str = ""
    precision: int | None = None
    scale: int | None = None
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    key_position: int | None = None
    format: str | None = None
    number_format: NumberFormat | None = None
    duration: Duration | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    null_markers: tuple[str, ...] = ()
    timezone: bool = False
    cuts_nanoseconds: bool = False
    minimum: Any = None
    maximum: Any = None
    exclusive_minimum: Any = None
    exclusive_maximum: Any = None
    multiple_of: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    allowed: tuple[Any, ...] = ()
    required_keys: tuple[str, ...] = ()
    renamed_from: tuple[str, ...] = ()
    fields: tuple[Column, ...] = ()
    items: Column | None = None
    classification: str | None = None
    unit: str | None = None
    subject: str | None = None
    null_refused: str | None = None

    @property
    def is_decimal(self) -> bool:
        return self.precision is not None

    @property
    def is_nested(self) -> bool:
        """Whether it is a struct or a list, with the types of what is inside declared."""
        return bool(self.fields) or self.items is not None

    @property
    def is_plain(self) -> bool:
        """Whether its text is read by the plain rules of its type, which `caudal.warehouse.casting` tells."""
        texts = (self.true_values, self.false_values, self.null_markers)
        own = (self.format, self.number_format, self.duration, self.cuts_nanoseconds, *texts)
        return self.logical_type not in ("object", "array") and not any(own)

    @property
    def inside(self) -> tuple[Column, ...]:
        """The fields of a struct, or the items of a list."""
        return self.fields if self.items is None else (self.items,)

    @property
    def duckdb_type(self) -> str:
        if self.items is not None:
            return f"{self.items.duckdb_type}[]"
        if self.fields:
            return f"STRUCT({', '.join(f'{_quoted(c.name)} {c.duckdb_type}' for c in self.fields)})"
        if self.logical_type == "number":
            return f"DECIMAL({self.precision},{self.scale})" if self.is_decimal else "DOUBLE"
        if self.logical_type == "timestamp" and self.timezone:
            return "TIMESTAMP WITH TIME ZONE"
        return _DUCKDB[self.logical_type]

    @property
    def bigquery_type(self) -> str:
        """In GoogleSQL. BigQuery has no arrays of arrays: the inner one is JSON text there."""
        if self.items is not None:
            return f"ARRAY<{'STRING' if self.items.items is not None else self.items.bigquery_type}>"
        if self.fields:
            return f"STRUCT<{', '.join(f'`{c.name}` {c.bigquery_type}' for c in self.fields)}>"
        if self.logical_type == "number":
            return _bigquery_number(self)
        if self.logical_type == "timestamp" and self.timezone:
            return "TIMESTAMP"
        return _BIGQUERY[self.logical_type]

    @property
    def bigquery_field(self) -> dict[str, Any]:
        """The column in the words of BigQuery's API: a struct is a RECORD, a list REPEATED."""
        item = self.items or self
        mode = "REPEATED" if self.items is not None else "REQUIRED" if self.required else "NULLABLE"
        if item.fields:
            return {"name": self.name, "type": "RECORD", "mode": mode, "fields": [c.bigquery_field for c in item.fields]}
        named = "STRING" if item.items is not None else item.bigquery_type
        kind, _, digits = named.rstrip(")").partition("(")
        sizes = dict(zip(("precision", "scale"), digits.split(", "), strict=False)) if digits else {}
        return {"name": self.name, "type": kind, "mode": mode, **sizes}

    @property
    def arrow_type(self) -> pa.DataType:
        import pyarrow as pa

        if self.items is not None:
            return pa.list_(pa.field(_ITEMS, self.items.arrow_type))
        if self.fields:
            return pa.struct([pa.field(c.name, c.arrow_type) for c in self.fields])
        match self.logical_type:
            case "integer":
                return pa.int64()
            case "number":
                return pa.decimal128(self.precision, self.scale) if self.precision is not None else pa.float64()
            case "boolean":
                return pa.bool_()
            case "date":
                return pa.date32()
            case "timestamp":
                return pa.timestamp("us", tz="UTC" if self.timezone else None)
            case "time":
                return pa.time64("us")
            case _:
                return pa.string()

    def to_json(self) -> str:
        """The column as JSON text: the property of ODCS that declares it."""
        from caudal.contracts.declaring import property_of

        column: Any = self
        return json.dumps(property_of(column), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Column:
        """The column that `to_json` wrote."""
        from caudal.contracts.odcs import SchemaProperty
        from caudal.contracts.properties import column_of

        column: Any = column_of(SchemaProperty.model_validate_json(text))
        return column

    def walk(self) -> Iterator[Column]:
        """The column, and every one inside it."""
        yield self
        for inner in self.inside:
            yield from inner.walk()


def _bigquery_number(column: Column) -> str:
    if column.precision is None or column.scale is None:
        return "FLOAT64"
    fits_numeric = column.scale <= 9 and column.precision - column.scale <= 29
    return f"{'NUMERIC' if fits_numeric else 'BIGNUMERIC'}({column.precision}, {column.scale})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
