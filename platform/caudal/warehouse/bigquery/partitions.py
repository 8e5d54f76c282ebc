"""Which partitions parts have rows in, and ranges of these that one statement may write to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery.limits import MOST_PARTITIONS

if TYPE_CHECKING:
    from caudal.contracts import Layout


@dataclass(frozen=True)
class Range:
    """Values of the partitioning column from `low` to before `high`, None for no bound. Nulls are in that without a `low`."""

    low: dt.date | dt.datetime | None = None
    high: dt.date | dt.datetime | None = None


def ranges(parts: Sequence[Path], layout: Layout, most: int | None = None) -> list[Range]:
    """All rows of the parts, in ranges of at most `most` partitions each (as many as a job may). One, if that is enough."""
    if layout.partition_by is None:
        return [Range()]
    most = most or MOST_PARTITIONS
    starts = sorted(_starts(parts, layout.partition_by, layout.granularity))
    bounds = [*starts[most - 1 :: most - 1]]  # One partition holds nulls.
    lows, highs = [None, *bounds], [*bounds, None]
    return [Range(low, high) for low, high in zip(lows, highs, strict=True)]


def _starts(parts: Sequence[Path], column: str, granularity: str) -> set[dt.date | dt.datetime]:
    """The first moment of each partition."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: set[dt.date | dt.datetime] = set()
    for part in parts:
        with pq.ParquetFile(part) as opened:
            for batch in opened.iter_batches(columns=[column]):
                values = batch.column(0)
                kind = values.type
                moments = values.cast(pa.timestamp("us"))
                floored = pc.call_function("floor_temporal", [moments], pc.RoundTemporalOptions(unit=granularity))
                found.update(v for v in floored.cast(pa.timestamp("us")).cast(kind).unique().to_pylist() if v is not None)
    return found
