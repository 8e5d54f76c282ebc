"""Excel workbooks (xlsx, xlsm, xlsb, xls) and OpenDocument ones: one table of a sheet.

What a cell holds is told in `caudal.lake.readers.excel.cells`. A row with a cell that holds an error, or a formula that was
never computed, is refused. A row without any value is no row; what stands after the declared end of the table is none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from caudal.lake.readers.excel.open import damage_told, open_workbook
from caudal.lake.readers.excel.places import Place, places
from caudal.lake.readers.excel.table import Table
from caudal.lake.readers.rows import MEMBER, LakeFile, Rows, Unreadable, text_columns, undeclared_text

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.lake.dataset import Dataset
    from caudal.lake.readers.excel.workbook import Workbook


def read_excel(dataset: Dataset, file: LakeFile) -> Rows:
    """The rows of one table.

    Raises:
        Unreadable: it is no workbook that can be opened, has not the declared table, or other columns than the contract.

    """
    options, contract = dataset.excel, dataset.contract
    workbook = open_workbook(file.file, dataset.limits, file.name)
    with damage_told(file.name, file.file):
        place = _place(dataset, workbook, file)
        table = Table(workbook, place, options, contract, file.name)
        undeclared = undeclared_text(table.header.undeclared)

    def batches() -> Iterator[pa.RecordBatch]:
        with damage_told(file.name, file.file):
            yield from table.batches()

    return Rows(text_columns(contract), batches, undeclared, workbook.weight_bytes(place.sheet))


def _place(dataset: Dataset, workbook: Workbook, file: LakeFile) -> Place:
    try:
        found = [place for place in places(dataset.excel, workbook) if isinstance(place, Place)]
    except Unreadable as refused:
        raise Unreadable(f"{file.name}: {refused}") from None
    if not dataset.excel.has_members:
        return found[0]
    member = f"{MEMBER}{file.member}"
    fitting = [place for place in found if member.endswith(f"{MEMBER}{place.member}")]
    if not fitting:
        raise Unreadable(f"{file.name}: the workbook has no such table any more")
    return max(fitting, key=lambda place: len(place.member or ""))
