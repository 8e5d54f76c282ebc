"""dbt's sources, written from the contracts: one table for each dataset, with its columns, types and tests.

Of a contract's promises, those about one row were kept when the file was loaded: a row that breaks one is in the rejects, and
there is no test that could find it. Those about the whole table become tests: `unique` and a primary key of one column are
`unique`; a key of several columns is the test `unique` of the row `(a, b)`, a value that DuckDB and BigQuery group by alike,
except where one of them needs quotes, which the two engines write differently and dbt does not translate there.

A dataset with a key has a second table, `<dataset>_latest`, the view with one row a key; to Dagster it is the raw table, which
it shows. Where the dataset declares `order_by`, the raw table is meant to hold several rows of one key, and what is unique is
so in the view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from caudal.contracts import LINEAGE_COLUMNS, Column
from caudal.lake.dataset import Dataset
from caudal.warehouse.latest import has_latest, latest_table

HEADER = """\
# Generated from the contracts by `caudal generate`: change a contract, then run it again. What is written here by hand is lost.
"""

_SCHEMA = "raw"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(
    """all and any as asc between by case cast column create cross current default desc distinct else end except exists false
    for from full group having in inner intersect interval into is join lateral left like limit natural not null of offset on
    or order outer over partition primary range references right rows select set some table then to true union unique unnest
    using when where window with within""".split()  # noqa: SIM905 - to be read as a list of words
)
_WIDTH = 110
_LINEAGE = {
    "_file": "The lake file that the row came from.",
    "_version": "The version of that file.",
    "_row": "Where in the file the row stands, from 1.",
    "_loaded_at": "When the row was loaded (UTC).",
}


def sources_yaml(datasets: Iterable[Dataset]) -> str:
    """The text of `models/sources.yml`: the same for the same contracts, in whatever order they come."""
    import yaml

    ordered = sorted(datasets, key=lambda dataset: dataset.id)
    sources = [
        {"name": source, "schema": _SCHEMA, "tables": _tables(list(group))}
        for source, group in groupby(ordered, key=lambda dataset: dataset.source)
    ]
    body = yaml.safe_dump(
        {"version": 2, "sources": sources}, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
    )
    return f"{HEADER}{body}"


def _tables(datasets: Sequence[Dataset]) -> list[dict[str, Any]]:
    names = {dataset.name for dataset in datasets}
    tables = []
    for dataset in datasets:
        tables.append(_table(dataset, is_latest=False))
        if has_latest(dataset):
            tables.append(_table(dataset, is_latest=True))
            if tables[-1]["name"] in names:
                raise ValueError(
                    f"{dataset.source} has the datasets `{dataset.name}`, whose view of the latest rows is the dbt source "
                    f"`{dataset.name}_latest`, and `{dataset.name}_latest`: rename one of the two"
                )
    return tables


def _table(dataset: Dataset, *, is_latest: bool) -> dict[str, Any]:
    contract = dataset.contract
    key = contract.primary_key
    is_tested = is_latest == (dataset.order_by is not None)
    table: dict[str, Any] = {
        "name": f"{dataset.name}_latest" if is_latest else dataset.name,
        "identifier": latest_table(dataset) if is_latest else dataset.table,
        "description": _latest_description(dataset) if is_latest else contract.description,
        "config": {
            "loaded_at_field": "_loaded_at",
            "meta": {
                "contract": f"{contract.id} {contract.version}",
                "dagster": {"asset_key": ["raw", dataset.source, dataset.name]},
                # Then the table may have more columns than are named here.
                **({"drift": contract.drift} if contract.drift == "evolve" else {}),
            },
        },
    }
    if is_tested and len(key) > 1 and all(_is_plain(name) for name in key):
        columns = ", ".join(key)
        table["data_tests"] = [
            {
                "unique": {
                    "name": f"source_unique_{table['identifier']}_key",
                    "description": f"No two rows have the same {columns}.",
                    "arguments": {"column_name": f"({columns})"},
                }
            }
        ]
    table["columns"] = [
        _column(column, is_unique=is_tested and (column.unique or key == (column.name,))) for column in contract.columns
    ]
    table["columns"] += [
        {"name": name, "description": _LINEAGE[name], "data_type": kind.lower()} for name, kind in LINEAGE_COLUMNS.items()
    ]
    return {name: value for name, value in table.items() if value}


def _latest_description(dataset: Dataset) -> str:
    first = f"the greatest `{dataset.order_by}`, then " if dataset.order_by else ""
    key = ", ".join(f"`{name}`" for name in dataset.contract.primary_key)
    return f"{dataset.contract.description}\n\nOne row for each {key}: {first}the one loaded last.".strip()


def _column(column: Column, *, is_unique: bool) -> Mapping[str, Any]:
    tests = ["unique"] if is_unique else []
    meta = {name: value for name, value in (("unit", column.unit), ("classification", column.classification)) if value}
    declared: dict[str, Any] = {
        "name": column.name,
        "description": column.description,
        "data_type": column.duckdb_type if column.is_nested else column.duckdb_type.lower(),
        "quote": bool(tests) and not _is_plain(column.name),
        "config": {"meta": meta} if meta else None,
        "data_tests": tests,
    }
    return {name: value for name, value in declared.items() if value}


def _is_plain(name: str) -> bool:
    """Whether DuckDB and BigQuery both understand the name without quotes around it."""
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED
