"""How load jobs are to read Parquet, and rows that Python made as such a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery


def load_config(
    schema: Sequence[bigquery.SchemaField], labels: Mapping[str, str], *, replace: bool, **properties: Any
) -> bigquery.LoadJobConfig:
    """A load job of Parquet files with this schema.

    Args:
        replace: put the rows in the place of all rows; else they are added.
        properties: others of `bigquery.LoadJobConfig`.

    """
    from google.cloud import bigquery

    options = bigquery.ParquetOptions()
    options.enable_list_inference = True
    return bigquery.LoadJobConfig(
        source_format="PARQUET",
        schema=list(schema),
        write_disposition="WRITE_TRUNCATE" if replace else "WRITE_APPEND",
        parquet_options=options,
        labels=dict(labels),
        **properties,
    )


def parquet_of(rows: pa.Table) -> IO[bytes]:
    """The rows as a Parquet file in memory, with types that a load job takes as they are."""
    import io

    import pyarrow.parquet

    from caudal.warehouse.bigquery.arrow_fields import storable

    written = io.BytesIO()
    pyarrow.parquet.write_table(storable(rows), written)
    return written
