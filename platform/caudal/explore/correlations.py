"""Pearson's correlation of each two numbers of a table, over the rows that hold both, from sums of one scan."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.explore.scan import finite, quoted, quoted_relation, source_of

if TYPE_CHECKING:
    import duckdb

    from caudal.explore.profile import TableProfile

#: Pairs grow with the square of the columns.
MOST_COLUMNS = 40
FEWEST_ROWS = 3


@dataclass(frozen=True)
class Correlation:
    """Of the columns `first` and `second`, over `rows` rows that hold both; `r` is between -1 and 1."""

    first: str
    second: str
    r: float
    rows: int


def correlations(connection: duckdb.DuckDBPyConnection, profile: TableProfile) -> list[Correlation]:
    """Every pair that has a correlation, the strongest first. Constant and classified columns have none."""
    import numpy as np

    numbers = [c for c in profile.columns if c.kind == "number" and c.distinct > 1 and not c.masked and c.std][:MOST_COLUMNS]
    if len(numbers) < 2:
        return []
    # A value is measured in deviations from its mean: sums of squares neither overflow nor cancel.
    selected = ", ".join(
        f"CASE WHEN {finite(c.name, c.type)} THEN ({quoted(c.name)}::DOUBLE - {c.mean!r}::DOUBLE) / {c.std!r}::DOUBLE END"
        f" AS v{i}"
        for i, c in enumerate(numbers)
    )
    size = len(numbers)
    rows, sums, squares, products = (np.zeros((size, size)) for _ in range(4))
    reader = connection.execute(f"SELECT {selected} FROM {quoted_relation(source_of(profile))}").to_arrow_reader(100_000)
    for batch in reader:
        values = np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns]).astype(np.float64)
        there = np.isfinite(values)
        values, present = np.where(there, values, 0.0), there.astype(np.float64)
        rows += present.T @ present
        sums += values.T @ present
        squares += (values * values).T @ present
        products += values.T @ values
    with np.errstate(all="ignore"):
        covariance = products - sums * sums.T / rows
        spread = squares - sums * sums / rows
        r = covariance / np.sqrt(spread * spread.T)
    found = [
        Correlation(numbers[i].name, numbers[j].name, float(np.clip(r[i, j], -1, 1)), int(rows[i, j]))
        for i, j in itertools.combinations(range(size), 2)
        if rows[i, j] >= FEWEST_ROWS and np.isfinite(r[i, j]) and min(spread[i, j], spread[j, i]) > 1e-9
    ]
    return sorted(found, key=lambda c: (-abs(c.r), c.first, c.second))
