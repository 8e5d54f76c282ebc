"""A person's rows in BigQuery's raw tables and rejects: found by the hash of who it is, and removed.

No statement says who: the value is nowhere in BigQuery's history of jobs. What was removed can be asked for by time travel for
seven days, and be restored by Google for seven more; nothing hastens that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.contracts import Column
    from caudal.warehouse.suppression import Suppressed

#: Files that one statement removes rows of, and rows of one file that it names: a request is 10 MB at most.
_FILES_AT_ONCE, _ROWS_AT_ONCE = 50, 20_000

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def rows_of(relation: str, columns: Sequence[Column], listed: Suppressed) -> tuple[str, list[Any]]:
    """A query of `{table}`, with its parameters: by `_file`, the `_row`s of people of the list."""
    from google.cloud import bigquery

    found, parameters = [], []
    for number, column in enumerate(columns):
        parameters.append(bigquery.ScalarQueryParameter(f"beginning{number}", "STRING", listed.beginning(column.subject)))
        parameters.append(bigquery.ArrayQueryParameter(f"hashes{number}", "STRING", listed.hashes(column.subject)))
        if relation.startswith("raw."):
            found.append(_is_of(number, f"CAST(`{column.name}` AS STRING)"))
        else:
            found += _of_rejects(number, column)
    condition = " OR ".join(f"COALESCE({each}, FALSE)" for each in found)
    selected = "SELECT _file, ARRAY_AGG(DISTINCT _row) AS found FROM {table} WHERE _row IS NOT NULL"
    return f"{selected} AND ({condition}) GROUP BY 1", parameters


def counts(relation: str) -> str:
    """A query of `{table}`: how many rows, or of rejects how many rejected rows, there are of each `_file`."""
    counted = "COUNT(*)" if relation.startswith("raw.") else "COUNT(DISTINCT _row)"
    return f"SELECT _file, {counted} AS n FROM {{table}} GROUP BY 1"


def removals(rows: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, list[Any]]]:
    """Conditions with their parameters that name these rows, together all of them."""
    from google.cloud import bigquery

    pieces = [
        (file, list(found[start : start + _ROWS_AT_ONCE]))
        for file, found in sorted(rows.items())
        for start in range(0, len(found), _ROWS_AT_ONCE)
    ]
    for start in range(0, len(pieces), _FILES_AT_ONCE):
        told, parameters = [], []
        for number, (file, places) in enumerate(pieces[start : start + _FILES_AT_ONCE]):
            told.append(f"(_file = @file{number} AND _row IN UNNEST(@rows{number}))")
            parameters.append(bigquery.ScalarQueryParameter(f"file{number}", "STRING", file))
            parameters.append(bigquery.ArrayQueryParameter(f"rows{number}", "INT64", places))
        yield " OR ".join(told), parameters


def _of_rejects(number: int, column: Column) -> Iterator[str]:
    key = column.name if _PLAIN.fullmatch(column.name) else f'"{column.name}"'
    value = f"JSON_VALUE(record, '$.{key}')"
    whole = rf"REGEXP_EXTRACT(TRIM({value}), r'^[+]?0*([0-9]+)(?:[.]0+)?$')"
    yield from (_is_of(number, form) for form in (value, f"TRIM({value})", whole))
    tokens = "SPLIT(REGEXP_REPLACE(value, r'[,;|\\s\"\\x27]+', ','), ',')"
    yield f"(record IS NULL AND EXISTS (SELECT 1 FROM UNNEST({tokens}) AS token WHERE {_is_of(number, 'token')}))"


def _is_of(number: int, value: str) -> str:
    return f"TO_HEX(SHA256(CONCAT(@beginning{number}, {value}))) IN UNNEST(@hashes{number})"
