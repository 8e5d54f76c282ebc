"""What columns promise of each row by itself, which is kept when files are loaded: a row that breaks it is a reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.warehouse.raw_tables import raw_tables, rejects

if TYPE_CHECKING:
    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


def kept_at_load(env: Environment, dataset: Dataset, *, count: bool) -> list[tuple[str, str, int]]:
    """Each column, what it promises in words, and how many of the dataset's rejects are to blame on it.

    Args:
        count: the rejects are looked at; else there are none.

    """
    blamed = raw_tables(env).blamed(rejects(dataset)) if count else {}
    return [(c.name, _told(c), blamed.get(c.name, 0)) for c in dataset.contract.columns]


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
