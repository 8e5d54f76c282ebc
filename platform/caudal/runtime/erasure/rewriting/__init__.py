"""One format a module: a file without some of its rows, everything else in it as it was, in bounded memory.

Text (`lines`, `elements`) is copied byte for byte around what is taken out, Avro but for the blocks that hold such a row;
Parquet and ORC (`tables`) are written anew with the same schema, compression and about the same groups of rows. `packing` does
this to what is compressed or in an archive. A workbook is never written anew: formulas, shared texts and charts hold copies of
its cells. Whether the result is right is not judged here but by reading it: see `caudal.runtime.erasure.lake_files`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.lake.dataset import Dataset


#: Why a workbook stays as it is.
WORKBOOK = "a workbook is not written anew, because formulas, shared texts and charts in it may hold copies of its cells"


class CannotRewrite(ValueError):
    """The file stays as it is. The message says why."""


def take_out(dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """Write to `target` what is in `held`, which is not packed, without the rows whose `_row` is in `gone`.

    Raises:
        CannotRewrite: it cannot be written as it was. What is in `target` then is worth nothing.

    """
    match dataset.format:
        case "csv" | "jsonl" | "fixed_width":
            from caudal.runtime.erasure.rewriting.lines import without_lines as without
        case "json":
            from caudal.runtime.erasure.rewriting.elements import without_json_elements as without
        case "xml":
            from caudal.runtime.erasure.rewriting.elements import without_xml_elements as without
        case "parquet" | "orc":
            from caudal.runtime.erasure.rewriting.tables import without_table_rows as without
        case "avro":
            from caudal.runtime.erasure.rewriting.avro_blocks import without_records as without
        case "excel":
            raise CannotRewrite(WORKBOOK)
    without(dataset, held, frozenset(gone), target)
