"""What columns promise of each row by itself, which is kept when files are loaded: a row that breaks it is a reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.sql import text

if TYPE_CHECKING:
    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


def kept_at_load(env: Environment, dataset: Dataset, *, count: bool) -> list[tuple[str, str, int]]:
    """Each column, what it promises in words, and how many of the dataset's rejects are to blame on it.

    Args:
        count: the rejects are looked at; else there are none.

    """
    rejects = _by_column(env, dataset) if count else {}
    return [(c.name, _told(c), rejects.get(c.name, 0)) for c in dataset.contract.columns]


def _told(column: Column) -> str:
    words = [column.logical_type if not column.is_decimal else f"{column.precision}.{column.scale} digits"]
    if column.required:
        words.append("required")
    limits = (
        ("at least", column.minimum), ("at most", column.maximum), ("above", column.exclusive_minimum),
        ("below", column.exclusive_maximum), ("a multiple of", column.multiple_of), ("from length", column.min_length),
        ("to length", column.max_length), ("like", column.pattern),
    )  # fmt: skip
    words += [f"{word} {value}" for word, value in limits if value is not None]
    if column.allowed:
        words.append(f"one of {', '.join(map(str, column.allowed))}")
    return ", ".join(words)


def _by_column(env: Environment, dataset: Dataset) -> dict[str, int]:
    table = env.quarantine / dataset.table
    version = delta.version_of_table(table)
    files = delta.data_files(table, version) if version is not None else []
    if not files:
        return {}
    listed = ", ".join(text(str(f)) for f in files)
    with connect_memory(env) as connection:
        sql = f'SELECT "column", count(*) FROM read_parquet([{listed}]) WHERE "column" IS NOT NULL GROUP BY 1'
        return dict(connection.execute(sql).fetchall())
