"""What the ledger says of lake files, for analysts: the tables `caudal.lake_files__<source>__<dataset>`.

One a dataset, replaced whole by a load job, which is free: one table for all of them would soon have had its loads of a day.
``SELECT * FROM `...caudal.lake_files__*` `` reads them as one.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery import parts, schema
from caudal.warehouse.bigquery.explained import NotThere
from caudal.warehouse.bigquery.jobs import job_id

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import LedgerFile
    from caudal.warehouse.bigquery.service import BigQuery
    from caudal.warehouse.bigquery.tables import Tables


def show(service: BigQuery, tables: Tables, dataset: Dataset, files: Sequence[LedgerFile]) -> None:
    """Replace the dataset's table by one row for each of `files`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cloud, once = service.cloud, uuid.uuid4().hex
    name, folder = cloud.table(f"caudal.lake_files__{dataset.table}"), f"lake_files/{dataset.table}/{once}"
    rows = [_row(dataset, file) for file in files]
    fields = schema.fields_of_files()
    kinds = {"STRING": pa.string(), "INT64": pa.int64(), "TIMESTAMP": pa.timestamp("us", "UTC")}
    table = pa.Table.from_pylist(rows, pa.schema([pa.field(f.name, kinds[f.field_type]) for f in fields]))
    with tempfile.TemporaryDirectory(prefix="caudal-lake-files-") as temporary:
        written = Path(temporary) / "files.parquet"
        pq.write_table(table, written, store_schema=False)
        urls = parts.upload(cloud, [written], folder)
    made = job_id("lake_files", dataset.table, once)
    try:
        service.load(urls, name, job_id=made, schema=fields, replace=True)
    except NotThere:
        tables.ensure_dataset(name)
        service.load(urls, name, job_id=f"{made}-again", schema=fields, replace=True)
    parts.remove(cloud, f"lake_files/{dataset.table}")


def _row(dataset: Dataset, file: LedgerFile) -> dict[str, Any]:
    told = {field.name: getattr(file, field.name, None) for field in schema.fields_of_files()}
    return {**told, "dataset": dataset.id, "loaded_at": datetime.fromisoformat(file.loaded_at) if file.loaded_at else None}
