"""A dataset's contract, written once in ODCS v3.1 YAML (https://bitol-io.github.io/open-data-contract-standard/v3.1.0/).

`read_contract` refuses what it does not understand, with file and line. Everything else is a view of the result: the Arrow
schema of a part, the types of DuckDB and BigQuery, the columns of dbt sources and of Dagster's column tab.

Types. `integer` is 64 bits wide; `number` is an exact decimal, by default of precision 38 and scale 9, unless `physicalType`
says `DECIMAL(p,s)` or `DOUBLE`; `timestamp` has no time zone unless `logicalTypeOptions.timezone` is true; `object` and `array`
are kept as JSON text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from caudal.declaration import Document, read_yaml
from caudal.formats import strptime_format
from caudal.limits import decimal_digits, limit_value, option_problems
from caudal.odcs import DataContract, SchemaProperty

if TYPE_CHECKING:
    import pyarrow as pa

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array"]
DriftPolicy = Literal["freeze", "ignore", "evolve"]

#: Added to every part: the lake file, its version, the row's number in the file (from 1), and when it was loaded (UTC).
LINEAGE_COLUMNS = {"_file": "VARCHAR", "_version": "VARCHAR", "_row": "BIGINT", "_loaded_at": "TIMESTAMP WITH TIME ZONE"}

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
    "object": "JSON",
    "array": "JSON",
}


@dataclass(frozen=True)
class Column:
    """One declared column.

    Attributes:
        name: as it is called in the lake file and in the raw table.
        logical_type: ODCS's name of its type.
        precision, scale: of an exact decimal; None for a `DOUBLE` and for all that is not a number.
        format: how text is read as a date, time or timestamp, in the letters of `strptime`; None for ISO 8601.
        timezone: whether a timestamp carries a time zone.
        required: a row without a value is rejected.
        primary_key: it is part of the key.
        allowed: the only values that are accepted; empty for no limit.

    """

    name: str
    logical_type: LogicalType
    description: str = ""
    precision: int | None = None
    scale: int | None = None
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    format: str | None = None
    timezone: bool = False
    minimum: Any = None
    maximum: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    allowed: tuple[Any, ...] = ()
    classification: str | None = None
    unit: str | None = None

    @property
    def is_decimal(self) -> bool:
        return self.precision is not None

    @property
    def duckdb_type(self) -> str:
        if self.logical_type == "number":
            return f"DECIMAL({self.precision},{self.scale})" if self.is_decimal else "DOUBLE"
        if self.logical_type == "timestamp" and self.timezone:
            return "TIMESTAMP WITH TIME ZONE"
        return _DUCKDB[self.logical_type]

    @property
    def bigquery_type(self) -> str:
        if self.logical_type == "number":
            return _bigquery_number(self)
        if self.logical_type == "timestamp" and self.timezone:
            return "TIMESTAMP"
        return _BIGQUERY[self.logical_type]

    @property
    def arrow_type(self) -> pa.DataType:
        import pyarrow as pa

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


@dataclass(frozen=True)
class Contract:
    """What one dataset promises.

    Attributes:
        path: the file that declares it.
        columns: in the order of the raw table.
        drift: what to do with a column more or less: `freeze` quarantines the file; `ignore` leaves out a column that is not
            declared and fills an absent optional one with nulls; `evolve` adds it to the raw table, and does the latter.

    """

    path: Path
    id: str
    name: str
    version: str
    description: str
    owner: str | None
    columns: tuple[Column, ...]
    drift: DriftPolicy = "freeze"
    tags: tuple[str, ...] = field(default=())

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.primary_key)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of all that decides how rows are read and typed."""
        told = [replace(c, description="", classification=None, unit=None) for c in self.columns]
        return hashlib.sha256(repr((told, self.drift)).encode()).hexdigest()[:16]

    def with_columns(self, columns: Iterable[Column]) -> Contract:
        """The contract with `columns` at its end, nullable; without those that it has."""
        known = {name.lower() for name in self.column_names}
        new = (replace(c, required=False, unique=False, primary_key=False) for c in columns if c.name.lower() not in known)
        return replace(self, columns=(*self.columns, *new))

    def arrow_schema(self) -> pa.Schema:
        """The schema of a part: the declared columns, then `LINEAGE_COLUMNS`."""
        import pyarrow as pa

        fields = [pa.field(c.name, c.arrow_type, nullable=not c.required) for c in self.columns]
        return pa.schema(
            [
                *(f.with_nullable(True) for f in fields),
                pa.field("_file", pa.string()),
                pa.field("_version", pa.string()),
                pa.field("_row", pa.int64()),
                pa.field("_loaded_at", pa.timestamp("us", tz="UTC")),
            ]
        )


def read_contract(path: Path) -> Contract:
    """Read and check the contract at `path`.

    Raises:
        caudal.declaration.DeclarationError: with file, line and what was expected, one line a problem.

    """
    document = read_yaml(path)
    declared = document.validate(DataContract)
    if len(declared.schema_) != 1:
        raise document.error(("schema",), f"`schema` has {len(declared.schema_)} objects; a dataset's contract has one")
    table = declared.schema_[0]
    if not table.properties:
        raise document.error(("schema", 0), "`schema.0.properties` is empty; declare at least one column")
    columns, seen = [], set()
    for index, declared_column in enumerate(table.properties):
        place = ("schema", 0, "properties", index)
        lowered = declared_column.name.lower()
        if lowered in seen:
            raise document.error(place, f"column `{declared_column.name}` is declared twice (case is not told apart)")
        if lowered in LINEAGE_COLUMNS:
            raise document.error(place, f"column `{declared_column.name}`: the platform adds a column of this name; rename it")
        seen.add(lowered)
        columns.append(_column(declared_column, document, place))
    return Contract(
        path=path,
        id=declared.id,
        name=declared.name or table.name,
        version=declared.version,
        description=(table.description or declared.purpose or "").strip(),
        owner=declared.owner,
        columns=tuple(columns),
        drift=_drift(declared, document),
        tags=tuple(declared.tags or ()),
    )


def _drift(declared: DataContract, document: Document) -> DriftPolicy:
    for index, custom in enumerate(declared.customProperties or ()):
        if custom.property == "driftPolicy":
            if custom.value not in get_args(DriftPolicy):
                place = ("customProperties", index, "value")
                raise document.error(place, f"driftPolicy is {custom.value!r}; expected `freeze`, `ignore` or `evolve`")
            return custom.value
    return "freeze"


def _column(declared: SchemaProperty, document: Document, place: tuple[str | int, ...]) -> Column:
    options, option_place = declared.logicalTypeOptions, (*place, "logicalTypeOptions")
    precision = scale = None
    if declared.logicalType == "number":
        try:
            precision, scale = decimal_digits(declared.physicalType)
        except ValueError as bad:
            raise document.error((*place, "physicalType"), f"column `{declared.name}`: {bad}") from None
    for name, problem in option_problems(options, declared.logicalType):
        raise document.error((*option_place, name), f"column `{declared.name}`: {problem}")

    def limit(value: Any, where: tuple[str | int, ...]) -> Any:
        try:
            return None if value is None else limit_value(value, declared.logicalType, timezone=options.timezone)
        except ValueError as bad:
            raise document.error(where, f"column `{declared.name}`: {where[-1]}: {bad}") from None

    minimum, maximum = (limit(getattr(options, name), (*option_place, name)) for name in ("minimum", "maximum"))
    if minimum is not None and maximum is not None and minimum > maximum:
        raise document.error(
            (*option_place, "minimum"), f"column `{declared.name}`: minimum {minimum} is above maximum {maximum}"
        )
    return Column(
        name=declared.name,
        logical_type=declared.logicalType,
        description=(declared.description or "").strip(),
        precision=precision,
        scale=scale,
        required=declared.required or declared.primaryKey,
        unique=declared.unique,
        primary_key=declared.primaryKey,
        format=_format(declared, document, (*option_place, "format")),
        timezone=options.timezone,
        minimum=minimum,
        maximum=maximum,
        min_length=options.minLength,
        max_length=options.maxLength,
        pattern=options.pattern,
        allowed=tuple(limit(value, where) for value, where in _allowed(declared, document, place)),
        classification=declared.classification,
        unit=declared.custom("unit"),
    )


def _format(declared: SchemaProperty, document: Document, place: tuple[str | int, ...]) -> str | None:
    """The format of a date, time or timestamp. A string's format says what people may expect in it, and is not checked."""
    options = declared.logicalTypeOptions
    if options.format is None or declared.logicalType == "string":
        return None
    try:
        return strptime_format(options.format, declared.logicalType, timezone=options.timezone)
    except ValueError as bad:
        raise document.error(place, f"column `{declared.name}`: format {options.format!r}: {bad}") from None


def _allowed(
    declared: SchemaProperty, document: Document, place: tuple[str | int, ...]
) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """The values of the custom property `allowedValues`, each with its place."""
    for index, custom in enumerate(declared.customProperties):
        if custom.property == "allowedValues":
            where = (*place, "customProperties", index, "value")
            if not isinstance(custom.value, list) or not custom.value:
                raise document.error(where, f"column `{declared.name}`: allowedValues is {custom.value!r}; expected a list")
            yield from ((value, where) for value in custom.value)


def _bigquery_number(column: Column) -> str:
    if column.precision is None or column.scale is None:
        return "FLOAT64"
    fits_numeric = column.scale <= 9 and column.precision - column.scale <= 29
    return f"{'NUMERIC' if fits_numeric else 'BIGNUMERIC'}({column.precision}, {column.scale})"
