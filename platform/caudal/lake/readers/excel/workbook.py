"""What every workbook offers, whatever its file format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from zipfile import ZipInfo

    from caudal.lake.options import Limits
    from caudal.lake.readers.excel.cells import Cells

#: What a sheet can have at most.
LAST_ROW, COLUMNS = 1_048_576, 16_384


class TooLarge(Exception):
    """Reading it would take more than is allowed. The message is for people, without the file's name."""


class Sheet(NamedTuple):
    """A sheet of cells."""

    name: str
    is_hidden: bool


class Range(NamedTuple):
    """A rectangle of cells. Rows are counted from 1 as Excel does, columns from 0; both ends belong to it."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


class Workbook(Protocol):
    """An open workbook. Its methods raise one of `DAMAGED` where it is damaged."""

    @property
    def sheets(self) -> Sequence[Sheet]:
        """In the order of the workbook."""

    #: Many tables are read of a sheet: its cells are kept, where they are few.
    keeps: bool

    def cells(self, sheet: str) -> Iterator[Cells]:
        """The cells of a sheet that are not empty, row by row."""

    def merged(self, sheet: str) -> Sequence[Range]:
        """The cells of a sheet that are shown as one."""

    def weight_bytes(self, sheet: str) -> int:
        """About how much memory or time it takes to read the sheet."""


def refuse_large(part: ZipInfo, limits: Limits) -> None:
    """Raise `TooLarge` for a part of an archive that unpacks to more than the limits allow."""
    size = part.file_size
    if size > limits.unpacked_bytes:
        raise TooLarge(f"`{part.filename}` unpacks to {size} bytes, and `limits.unpacked_bytes` is {limits.unpacked_bytes}")
    times = size / max(part.compress_size, 1)
    if size > limits.ratio_from_bytes and times > limits.ratio:
        raise TooLarge(f"`{part.filename}` unpacks to {times:.0f} times its size, and `limits.ratio` is {limits.ratio:g}")


def reference(column: int, row: int) -> str:
    """A cell as Excel calls it.

    Args:
        column: from 0.
        row: from 1.

    """
    letters = ""
    while column >= 0:
        letters = chr(65 + column % 26) + letters
        column = column // 26 - 1
    return f"{letters}{row}"


def column_number(letters: str) -> int:
    """The column that Excel calls by `letters`, from 0."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter.upper()) - 64
    return number - 1


def arrow_compute() -> Any:
    """Arrow's functions. They are made when it is imported, so that a type checker knows none of them."""
    import pyarrow.compute

    return pyarrow.compute
