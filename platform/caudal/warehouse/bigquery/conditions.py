"""Conditions on the rows of raw tables, in GoogleSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from caudal.lake.readers.rows import MEMBER
from caudal.warehouse.bigquery import partitions


def any_of(files: Sequence[str], with_members: Collection[str], partitioning: Any) -> tuple[str, list[Any]]:
    """A condition with its parameters: a row is of one of `files`, or of a member of one of `with_members`."""
    from google.cloud import bigquery

    archives = sorted(with_members)
    parameters: list[Any] = [bigquery.ArrayQueryParameter("files", "STRING", list(files))]
    parameters += [bigquery.ScalarQueryParameter(f"archive{n}", "STRING", a + MEMBER) for n, a in enumerate(archives)]
    told = ["_file IN UNNEST(@files)", *(f"STARTS_WITH(_file, @archive{n})" for n in range(len(archives)))]
    condition = f"({' OR '.join(told)})"
    if partitioning is not None and partitioning.field:
        condition += f" AND {any_partition(partitioning.field)}"
    return condition, parameters


def any_partition(column: str) -> str:
    """True of each row. BigQuery takes it for the filter that a table may require; so do the statements of dbt-bigquery."""
    return f"(`{column}` IS NULL OR `{column}` IS NOT NULL)"


def within(column: str | None, each: partitions.Range) -> str:
    if column is None or (each.low is None and each.high is None):
        return ""
    kind = _literal_type(each.low if each.low is not None else each.high)
    low = f"`{column}` >= {kind} '{_literal(each.low)}'" if each.low is not None else ""
    high = f"`{column}` < {kind} '{_literal(each.high)}'" if each.high is not None else ""
    if not low:
        return f" WHERE {high} OR `{column}` IS NULL"
    return f" WHERE {' AND '.join(c for c in (low, high) if c)}"


def _literal_type(value: Any) -> str:
    if not isinstance(value, datetime):
        return "DATE"
    return "DATETIME" if value.tzinfo is None else "TIMESTAMP"


def _literal(value: Any) -> str:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()


def expired(before: datetime, gone: Collection[str]) -> tuple[str, list[Any]]:
    from google.cloud import bigquery

    parameters = [
        bigquery.ScalarQueryParameter("before", "TIMESTAMP", before),
        bigquery.ArrayQueryParameter("gone", "STRING", sorted(gone)),
    ]
    return "_loaded_at < @before OR _file IN UNNEST(@gone)", parameters
