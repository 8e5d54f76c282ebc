"""A contract as the schema and the layout of a table in BigQuery.

Every column may be null there, whatever the contract requires: rows without a required value are rejects and never loaded, and
BigQuery could neither add a required column to a table nor make one of its columns required.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caudal.contracts import Contract, Layout
from caudal.warehouse.bigquery.storable import demand

if TYPE_CHECKING:
    from google.cloud import bigquery

_LINEAGE = {"_file": "STRING", "_version": "STRING", "_row": "INT64", "_loaded_at": "TIMESTAMP"}

_REJECTS = {
    "_file": "STRING", "_version": "STRING", "_row": "INT64", "column": "STRING", "value": "STRING", "reason": "STRING",
    "record": "STRING", "_loaded_at": "TIMESTAMP",
}  # fmt: skip

_FILES = {
    "dataset": "STRING", "path": "STRING", "version": "STRING", "size_bytes": "INT64", "state": "STRING",
    "partition": "STRING", "live_version": "STRING", "rows_read": "INT64", "rows_loaded": "INT64", "rows_rejected": "INT64",
    "reason": "STRING", "note": "STRING", "loaded_at": "TIMESTAMP",
}  # fmt: skip

#: Types have two names each: what is declared, and what BigQuery answers.
_SAME = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}

_LONGEST_DESCRIPTION = 1_024
#: In a name of such characters only every interface of BigQuery agrees.
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def fields_of(contract: Contract | None) -> list[bigquery.SchemaField]:
    """The columns of a raw table; without a contract, of rejects.

    Raises:
        UnusableColumns: BigQuery cannot have one of the columns.

    """
    if contract is None:
        return _fields(_plain(_REJECTS))
    demand([contract])
    declared = [{**c.bigquery_field, "description": _description(c.description, c.unit)} for c in contract.columns]
    return _fields([*declared, *_plain(_LINEAGE)])


def fields_of_files() -> list[bigquery.SchemaField]:
    """The columns of what is shown of the ledger."""
    return _fields(_plain(_FILES))


def layout_of(contract: Contract | None) -> Layout:
    """How the table is to be laid out."""
    return contract.layout if contract is not None else Layout()


def partitioning(layout: Layout) -> bigquery.TimePartitioning | None:
    """The layout's partitions in the words of the client library."""
    from google.cloud import bigquery

    if layout.partition_by is None:
        return None
    return bigquery.TimePartitioning(type_=layout.granularity.upper(), field=layout.partition_by)


def new_columns(kept: Iterable[bigquery.SchemaField], wanted: Iterable[bigquery.SchemaField]) -> list[bigquery.SchemaField]:
    """The columns that a table does not have."""
    known = {field.name.lower() for field in kept}
    return [field for field in wanted if field.name.lower() not in known]


def differing(kept: Sequence[bigquery.SchemaField], wanted: Sequence[bigquery.SchemaField]) -> list[str]:
    """The columns of `wanted` that a table has with another type, each told with both."""
    there = {field.name.lower(): field for field in kept}
    pairs = [(there[field.name.lower()], field) for field in wanted if field.name.lower() in there]
    return [f"`{new.name}`: {told(old)} -> {told(new)}" for old, new in pairs if told(old) != told(new)]


def told(field: bigquery.SchemaField) -> str:
    """A column's type in GoogleSQL, written in one way."""
    kind = _SAME.get(field.field_type, field.field_type)
    if kind == "RECORD":
        kind = f"RECORD<{', '.join(sorted(f'{f.name} {told(f)}' for f in field.fields))}>"
    elif field.precision is not None:
        kind = f"{kind}({field.precision}, {field.scale or 0})"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


def are_plain(fields: Iterable[bigquery.SchemaField]) -> bool:
    """Whether all names are made of letters, digits and `_`; others need to be asked for in a load job."""
    return all(_PLAIN.fullmatch(field.name) and are_plain(field.fields) for field in fields)


def nested_arrays(contract: Contract | None) -> list[str]:
    """The columns that hold arrays of arrays anywhere, whose inner ones are JSON text in BigQuery."""
    columns = contract.columns if contract is not None else ()
    return [c.name for c in columns if any(i.items is not None and i.items.items is not None for i in c.walk())]


def _fields(resources: Iterable[Mapping[str, Any]]) -> list[bigquery.SchemaField]:
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr(_nullable(resource)) for resource in resources]


def _nullable(resource: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in resource.items() if value not in (None, "")}
    if found.get("mode") != "REPEATED":
        found["mode"] = "NULLABLE"
    if "fields" in found:
        found["fields"] = [_nullable(inner) for inner in found["fields"]]
    return found


def _plain(columns: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in columns.items()]


def _description(description: str, unit: str | None) -> str:
    return f"{description}{f' Unit: {unit}.' if unit else ''}".strip()[:_LONGEST_DESCRIPTION]
