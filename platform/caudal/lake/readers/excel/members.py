"""The tables of a workbook, each a member of its lake file: `book.xlsx!Year 2010`, `book.xlsx!Year 2010!A40`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from caudal.lake.readers.excel.open import damage_told, open_workbook
from caudal.lake.readers.excel.places import Missing, Place, places
from caudal.lake.readers.rows import MEMBER, LakeFile, Unreadable

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset


def tables(dataset: Dataset, file: LakeFile) -> Iterator[LakeFile | Missing]:
    """Yield each declared table of the workbook `file`. The workbook stays open as long as this is not exhausted.

    Raises:
        Unreadable: it is no workbook, or has none of them.

    """
    if not dataset.excel.has_members:
        yield file
        return
    workbook = open_workbook(file.file, dataset.limits, file.name)
    with damage_told(file.name, file.file):
        try:
            found = places(dataset.excel, workbook)
        except Unreadable as refused:
            raise Unreadable(f"{file.name}: {refused}") from None
    for place in found:
        member = place.member if file.member is None else f"{file.member}{MEMBER}{place.member}"
        if isinstance(place, Place):
            yield replace(file, member=member)
        else:
            assert member
            yield Missing(member, f"{file.path}{MEMBER}{member}: {place.reason}")
