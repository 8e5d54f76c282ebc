"""Rows taken out of Parquet and ORC files."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from caudal.runtime.erasure.rewriting import CannotRewrite
from caudal.warehouse.parquet_rows import NotKept, without_rows

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.lake.dataset import Dataset


def without_table_rows(dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """As `take_out`.

    Raises:
        CannotRewrite: the new file would not have the same schema.

    """
    if dataset.format == "orc":
        _without_orc_rows(held, gone, target)
        return
    try:
        without_rows(held, [place - 1 for place in gone], target)
    except NotKept as refused:
        raise CannotRewrite(str(refused)) from None


def _without_orc_rows(held: Path, gone: Collection[int], target: Path) -> None:
    """Stripe by stripe, each of which is in memory."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import orc

    with held.open("rb") as source:
        opened = orc.ORCFile(source)
        places = np.fromiter(gone, np.int64, len(gone))
        with orc.ORCWriter(str(target), compression=opened.compression, batch_size=1024) as writer:
            writer.write(opened.schema.empty_table())
            first = 1
            for number in range(opened.nstripes):
                stripe = pa.Table.from_batches([opened.read_stripe(number)])
                stays = ~np.isin(np.arange(first, first + stripe.num_rows), places)
                if stays.any():
                    writer.write(stripe.filter(pa.array(stays)))
                first += stripe.num_rows
        with target.open("rb") as made:
            if orc.ORCFile(made).schema != opened.schema:
                raise CannotRewrite("an ORC file of its types cannot be written here")
