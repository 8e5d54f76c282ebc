"""The rows of a table as one number, whatever their order: the same on both sides, for both are computed by the same code.

BigQuery and DuckDB have no hash function in common, so that rows are read back, cast to the types that they had and hashed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Fingerprint:
    """How many rows, and the sum of their hashes, modulo 2**64, in hexadecimal digits."""

    rows: int
    checksum: str


def fingerprint(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Fingerprint:
    """Of rows that have the columns of `schema`, in any order, each of a type that can be cast to the one there.

    An array that is null counts as one that is empty: BigQuery knows no other.
    """
    import duckdb
    import pyarrow as pa

    reader = pa.RecordBatchReader.from_batches(schema, (_cast(batch, schema) for batch in batches))
    hashed = ", ".join(_hashed(field) for field in schema)
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows_to_hash", reader)
        row = connection.execute(f"SELECT count(*), sum(hash({hashed})::HUGEINT) FROM rows_to_hash").fetchone()
    assert row is not None
    return Fingerprint(row[0], f"{(row[1] or 0) % 2**64:016x}")


def _hashed(field: pa.Field) -> str:
    import pyarrow as pa

    name = identifier(field.name)
    return f"coalesce({name}, [])" if pa.types.is_list(field.type) else name


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return batch.select(schema.names).cast(schema)
