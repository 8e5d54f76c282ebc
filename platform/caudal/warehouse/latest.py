"""One row a key: the view beside a raw table, which keeps every row that was ever delivered.

Of the rows of one key the view shows the one with the greatest `order_by` (a row without one comes after all that have one);
among equals the one loaded last, then the one of the last file by name, then the one furthest down in it. No two rows agree
in all of these, so that the same raw gives the same view, on DuckDB and on BigQuery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset

Dialect = Literal["duckdb", "bigquery"]

_TIE_BREAKERS = ("_loaded_at", "_file", "_row")


def has_latest(dataset: Dataset) -> bool:
    """Whether the dataset has such a view: its contract declares a key."""
    return bool(dataset.contract.primary_key)


def latest_table(dataset: Dataset) -> str:
    """The view's name. No dataset can have a raw table of this name."""
    return f"{dataset.table}__latest"


def latest_query(dataset: Dataset, rows: str, columns: Sequence[str], dialect: Dialect = "duckdb") -> str:
    """The query that gives one row a key.

    Args:
        rows: what stands after `FROM`: the raw table or view, with `columns` and the lineage columns.
        columns: what the query gives, in this order.

    """
    quote = _QUOTES[dialect]
    key = ", ".join(quote(name) for name in dataset.contract.primary_key)
    shown = ", ".join(quote(name) for name in columns)
    order = ", ".join([*_declared_order(dataset, dialect), *(f"{quote(name)} DESC" for name in _TIE_BREAKERS)])
    # BigQuery takes QUALIFY only beside one of WHERE, GROUP BY and HAVING.
    return f"SELECT {shown} FROM {rows} WHERE true QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"


def bigquery_view(dataset: Dataset, schema: str = "raw") -> str:
    """The statement that makes the view on BigQuery, beside the raw table in the dataset `schema`."""
    columns = [*dataset.contract.column_names, "_file", "_version", "_row", "_loaded_at"]
    query = latest_query(dataset, f"`{schema}`.`{dataset.table}`", columns, "bigquery")
    return f"CREATE OR REPLACE VIEW `{schema}`.`{latest_table(dataset)}` AS\n{query}"


def _declared_order(dataset: Dataset, dialect: Dialect) -> list[str]:
    if dataset.order_by is None:
        return []
    name = _QUOTES[dialect](dataset.order_by)
    column = next(c for c in dataset.contract.columns if c.name == dataset.order_by)
    if dialect == "bigquery" and column.bigquery_type == "FLOAT64":
        # To DuckDB NaN is the greatest number, to BigQuery the least.
        return [f"coalesce(is_nan({name}), false) DESC", f"{name} DESC NULLS LAST"]
    return [f"{name} DESC NULLS LAST"]


def _backquoted(name: str) -> str:
    return f"`{name}`"


_QUOTES: dict[Dialect, Callable[[str], str]] = {"duckdb": identifier, "bigquery": _backquoted}
