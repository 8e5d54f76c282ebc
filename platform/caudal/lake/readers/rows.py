"""What every reader returns: the rows of one lake file with their places, as Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column, Contract

#: How the values of a source column are given. `*_ns` are 64-bit counts of nanoseconds, because Arrow and DuckDB would cut
#: them to microseconds without a word; `nested` is any struct, list or map.
Kind = Literal[
    "text", "boolean", "integer", "unsigned", "float", "double", "decimal", "date", "time", "time_ns",
    "timestamp", "timestamp_ns", "timestamptz", "timestamptz_ns", "nested",
]  # fmt: skip

#: Added by every reader: the row's place; and for a row that it refuses, why, what was found, and in which column if in one.
PLACE_COLUMNS = ("_row", "_problem", "_text", "_column")

#: Between the path of a lake file and the name of a member of it.
MEMBER = "!"

#: Rows of one batch, unless a reader has a better reason; fewer of many columns, see `rows_of_a_batch`.
BATCH_ROWS = 65_536
_BATCH_VALUES = 4 << 20


def named(path: str, member: str | None) -> str:
    """What rows and messages call a lake file, or a member of it."""
    return path if member is None else f"{path}{MEMBER}{member}"


class Unreadable(Exception):
    """A lake file that no row can be trusted of. The message is for people: what, where, expected, what to do."""


class Problem(NamedTuple):
    """Why a reader refuses a row, what it found there, and in which column of the contract if in one."""

    reason: str
    text: str
    column: str | None = None


@dataclass(frozen=True)
class LakeFile:
    """One version of one object of the lake, and where it can be read now.

    Attributes:
        path: relative to the lake; what people are told.
        version: as the ledger knows it.
        file: the readable file. Its name may be another.
        member: what of it is read, where it holds many tables: a file of an archive, a sheet of a workbook.
        temporary: `file` was unpacked for this, and is deleted when its rows are normalized.

    """

    path: str
    version: str
    file: Path
    member: str | None = None
    temporary: bool = False

    @property
    def name(self) -> str:
        """What its rows and messages call it: `path`, or `path!member`."""
        return named(self.path, self.member)


@dataclass(frozen=True)
class SourceColumn:
    """A column of the contract as the file gives it."""

    name: str
    kind: Kind
    arrow_type: pa.DataType


@dataclass(frozen=True)
class Rows:
    """The rows of one lake file.

    Attributes:
        columns: those of the contract that the file has, in the contract's order.
        batches: gives them from the first row on, each time it is called: `columns`, then `PLACE_COLUMNS`. Raises
            `Unreadable`.
        undeclared: what the file has and the contract does not, where the drift policy allows it, as the columns that they
            could be declared as. Complete when `batches` is exhausted.
        dialect: how the file is written, where that was found out by looking: such as `cp1252, ;`.
        weight_bytes: about how much memory or time it takes to read them.

    """

    columns: tuple[SourceColumn, ...]
    batches: Callable[[], Iterator[pa.RecordBatch]]
    undeclared: list[Column] = field(default_factory=list)
    weight_bytes: int = 0
    dialect: str | None = None


def rows_of_a_batch(columns: int) -> int:
    """How many rows of so many columns make a batch: their values have room in memory, a few batches at a time."""
    return max(min(BATCH_ROWS, _BATCH_VALUES // max(columns, 1)), 1)


def text_columns(contract: Contract) -> tuple[SourceColumn, ...]:
    """All columns of the contract, as text."""
    import pyarrow as pa

    return tuple(SourceColumn(c.name, "text", pa.string()) for c in contract.columns)


def undeclared_text(names: Sequence[str]) -> list[Column]:
    """Columns of text that the contract does not have, as it could declare them."""
    from caudal.contracts import Column

    return [Column(name, "string") for name in names if not name.startswith("(column ")]


def batch_of(
    columns: Sequence[pa.Array],
    names: Sequence[str],
    place: pa.Array,
    problems: Mapping[int, Problem] | None = None,
) -> pa.RecordBatch:
    """A batch of rows.

    Args:
        columns: the values of each column.
        names: of `columns`.
        place: of each row.
        problems: of refused rows, by their index in the batch.

    """
    import pyarrow as pa

    if problems:
        none = (None, None, None)
        found = [problems.get(i, none) for i in range(len(place))]
        told = [pa.array([f[part] for f in found], pa.string()) for part in range(3)]
    else:
        told = [pa.nulls(len(place), pa.string())] * 3
    return pa.RecordBatch.from_arrays([*columns, place, *told], [*names, *PLACE_COLUMNS])


def text_batch(
    columns: Sequence[Sequence[str | None]], names: Sequence[str], rows: Sequence[int], problems: Mapping[int, Problem]
) -> pa.RecordBatch:
    """A batch of text, the values and places as Python has them. Raises `UnicodeEncodeError` for half a character."""
    import pyarrow as pa

    return batch_of([pa.array(c, pa.string()) for c in columns], names, pa.array(rows, pa.int64()), problems)


def consecutive(first: int, count: int) -> pa.Array:
    """The places `first`, `first + 1`, ..."""
    import numpy as np
    import pyarrow as pa

    return pa.array(np.arange(first, first + count, dtype=np.int64))
