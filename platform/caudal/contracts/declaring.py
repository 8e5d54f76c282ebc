"""A column, written as the property of ODCS that declares it: for JSON, YAML and fingerprints."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

from caudal.contracts.columns import Column
from caudal.contracts.number_formats import NumberFormat

#: Attributes of a column that are options of its logical type, as the standard names them.
_OPTIONS = {
    "minimum": "minimum", "maximum": "maximum", "exclusive_minimum": "exclusiveMinimum",
    "exclusive_maximum": "exclusiveMaximum", "multiple_of": "multipleOf", "min_length": "minLength", "max_length": "maxLength",
    "pattern": "pattern", "min_items": "minItems", "max_items": "maxItems", "unique_items": "uniqueItems",
    "required_keys": "required", "format": "format", "timezone": "timezone",
}  # fmt: skip
_LISTS = {
    "null_markers": "nullMarkers", "true_values": "trueValues", "false_values": "falseValues", "renamed_from": "renamedFrom",
    "allowed": "allowedValues",
}  # fmt: skip


def property_of(column: Column) -> dict[str, Any]:
    """The property of ODCS that declares the column, as plain values: what JSON and YAML can hold."""
    found: dict[str, Any] = {"name": column.name, "logicalType": column.logical_type}
    if column.logical_type == "number":
        found["physicalType"] = f"DECIMAL({column.precision},{column.scale})" if column.is_decimal else "DOUBLE"
    for name, odcs in (
        ("required", "required"), ("unique", "unique"), ("primary_key", "primaryKey"), ("key_position", "primaryKeyPosition"),
        ("classification", "classification"), ("description", "description"),
    ):  # fmt: skip
        if value := getattr(column, name):
            found[odcs] = value
    given = {odcs: getattr(column, name) for name, odcs in _OPTIONS.items()}
    options = {odcs: _plain(v) for odcs, v in given.items() if v is not None and v is not False and v != ()}
    if options:
        found["logicalTypeOptions"] = options
    custom = {odcs: _plain(value) for name, odcs in _LISTS.items() if (value := getattr(column, name))}
    if column.number_format:
        unset = NumberFormat()
        stated = {f.name: getattr(column.number_format, f.name) for f in fields(NumberFormat)}
        custom["numberFormat"] = {k: _plain(v) for k, v in stated.items() if v != getattr(unset, k) or k == "decimal"}
    if column.duration:
        custom["duration"] = asdict(column.duration)
    if column.cuts_nanoseconds:
        custom["nanoseconds"] = "cut"
    if column.unit:
        custom["unit"] = column.unit
    if column.subject:
        custom["subjectKey"] = column.subject
    if custom:
        found["customProperties"] = [{"property": name, "value": value} for name, value in custom.items()]
    if column.fields:
        found["properties"] = [property_of(inner) for inner in column.fields]
    if column.items is not None:
        found["items"] = {name: value for name, value in property_of(column.items).items() if name != "name"}
    return found


def _plain(value: Any) -> Any:
    match value:
        case tuple():
            return [_plain(v) for v in value]
        case Decimal():
            return f"{value}"
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return value
