"""Parts on their way: Parquet files in the bucket, where load jobs find them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.store import open_store
from caudal.warehouse.bigquery.schema import nested_arrays

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Contract
    from caudal.google_cloud import GoogleCloud

#: Files that are sent at once.
_AT_ONCE = 8


def upload(cloud: GoogleCloud, parts: Sequence[Path], folder: str) -> list[str]:
    """Put the files below `parts/<folder>` of the bucket; their URLs, in the same order."""
    home = cloud.folder("parts")
    store = open_store(home, cloud.impersonate)
    paths = [f"{folder}/{place:05}.parquet" for place in range(len(parts))]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(store.replace, paths, parts))
    return [f"{home}/{path}" for path in paths]


def remove(cloud: GoogleCloud, folder: str) -> int:
    """Remove all that lies below `parts/<folder>`; how many files that were."""
    store = open_store(cloud.folder("parts"), cloud.impersonate)
    paths = [found.path for found in store.list(folder)]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(store.delete, paths))
    return len(paths)


def fit(parts: Sequence[Path], contract: Contract | None) -> list[Path]:
    """The parts as BigQuery can load them: an array within an array as JSON text. Others are left as they are."""
    names = nested_arrays(contract)
    return [_with_text(part, names) for part in parts] if names else list(parts)


def _with_text(part: Path, names: Sequence[str]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = part.with_name(f"{part.stem}-fit.parquet")
    with pq.ParquetFile(part) as opened:
        schema = opened.schema_arrow
        kept = pa.schema([pa.field(f.name, _kept(f.type) if f.name in names else f.type) for f in schema])
        with pq.ParquetWriter(written, kept, store_schema=False) as writer:
            for batch in opened.iter_batches():
                columns = [
                    pa.array([_plain(v, field.type) for v in column.to_pylist()], field.type) if field.name in names else column
                    for field, column in zip(kept, batch.columns, strict=True)
                ]
                writer.write_batch(pa.record_batch(columns, kept))
    return written


def _kept(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _kept(f.type)) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.string() if pa.types.is_list(kind.value_type) else _kept(kind.value_type))
    return kind


def _plain(value: Any, kind: pa.DataType) -> Any:
    """A value as `kind` holds it."""
    import pyarrow as pa

    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _plain(value[f.name], f.type) for f in kind}
    if pa.types.is_list(kind):
        return [_plain(inner, kind.value_type) for inner in value]
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list) else value
