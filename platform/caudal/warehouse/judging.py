"""Judging rows: those that the contract accepts, typed, and the problems of the others. Nothing is lost in between.

Columns are converted by Arrow where that is beyond doubt, and by SQL in batches where it is not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from caudal.warehouse.arrow_casting import cast_beyond_doubt
from caudal.warehouse.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

    from caudal.contracts import Contract
    from caudal.lake.readers.rows import SourceColumn

_RELATION = "caudal_rows"


@dataclass(frozen=True)
class Judged:
    """What became of a batch of rows.

    Attributes:
        accepted: the contract's columns in their types, then `_index` and `_row`, in the order of the rows.
        rejects: `_index`, `_row`, `column`, `value`, `reason` and `record`, one row for each problem; None without any.

    """

    accepted: pa.Table
    rejects: pa.Table | None


class Judge:
    """Judges rows of the same source columns, in several threads at once.

    Args:
        connection: each thread works on a cursor of its own.
        null_markers: of the dataset.

    Attributes:
        left_out: the paths of fields of native structs that the contract does not have.

    Raises:
        Unreadable: the type of a source column is no form of the declared one.

    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        contract: Contract,
        sources: tuple[SourceColumn, ...],
        null_markers: tuple[str, ...],
    ) -> None:
        self._connection = connection
        self._contract = contract
        self._sources = {source.name: source for source in sources}
        self._null_markers = null_markers
        statements = Statements(contract, sources, null_markers, _RELATION)
        statements.check()
        self.left_out = statements.left_out
        self._typed, self._rejects = lru_cache(64)(statements.typed), lru_cache(64)(statements.rejects)
        self._threads = threading.local()

    def judge(self, batch: pa.RecordBatch) -> Judged:
        """Judge rows: the source columns, `PLACE_COLUMNS` and `_index`."""
        import pyarrow as pa
        from pyarrow import compute

        typed = [self._beyond_doubt(n, batch) for n in range(len(self._contract.columns))]
        doubtful = tuple(n for n, values in enumerate(typed) if values is None)
        accepted = compute.call_function("is_null", [batch["_problem"]])
        if doubtful:
            decided = self._query(self._typed(doubtful), self._in_doubt(doubtful, batch))
            for number in doubtful:
                typed[number] = _array(decided[str(number)].cast(self._contract.columns[number].arrow_type))
            accepted = _array(decided["_accepted"])
        columns = pa.table([*typed, batch["_index"], batch["_row"]], [*self._contract.column_names, "_index", "_row"])
        if accepted.true_count == len(batch):
            return Judged(columns, None)
        refused = _as_text(batch.filter(compute.call_function("invert", [accepted])), self._sources)
        return Judged(columns.filter(accepted), self._query(self._rejects(doubtful), refused))

    def _beyond_doubt(self, number: int, batch: pa.RecordBatch) -> pa.Array | None:
        import pyarrow as pa

        column = self._contract.columns[number]
        source = self._sources.get(column.name)
        if source is None:
            return None if column.required else pa.nulls(len(batch), column.arrow_type)
        return cast_beyond_doubt(column, source, batch[column.name], self._null_markers)

    def _in_doubt(self, numbers: Sequence[int], batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that are in doubt, and the places."""
        from caudal.lake.readers.rows import PLACE_COLUMNS

        names = [self._contract.columns[n].name for n in numbers]
        return _as_text(batch.select([*(n for n in names if n in self._sources), *PLACE_COLUMNS, "_index"]), self._sources)

    def _query(self, select: str, batch: pa.RecordBatch) -> pa.Table:
        import pyarrow as pa

        cursor = self._cursor()
        cursor.register(_RELATION, pa.Table.from_batches([batch]))
        try:
            return cursor.execute(select).to_arrow_table()
        finally:
            cursor.unregister(_RELATION)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = getattr(self._threads, "cursor", None)
        if cursor is None:
            cursor = self._threads.cursor = self._connection.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
        return cursor


def _as_text(batch: pa.RecordBatch, sources: dict[str, SourceColumn]) -> pa.RecordBatch:
    """The rows with each column as its source says: what a reader of text has typed already as text again."""
    import pyarrow as pa

    arrays = [
        values.cast(pa.string()) if name in sources and sources[name].kind == "text" else values
        for name, values in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _array(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
