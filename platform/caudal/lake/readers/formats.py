"""Which module reads which format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.lake.readers.rows import LakeFile, Rows, Unreadable

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset


def read_lake_file(dataset: Dataset, file: LakeFile) -> Rows:
    """The rows of a lake file, in the dataset's format.

    Raises:
        Unreadable: no row of it can be trusted.

    """
    try:
        match dataset.format:
            case "csv":
                from caudal.lake.readers.csv import read_csv as read
            case "jsonl":
                from caudal.lake.readers.jsonl import read_jsonl as read
            case "json":
                from caudal.lake.readers.json_arrays import read_json as read
            case "parquet":
                from caudal.lake.readers.parquet import read_parquet as read
            case "avro":
                from caudal.lake.readers.avro import read_avro as read
            case "orc":
                from caudal.lake.readers.orc import read_orc as read
            case "xml":
                from caudal.lake.readers.xml import read_xml as read
            case "fixed_width":
                from caudal.lake.readers.fixed_width import read_fixed_width as read
            case "excel":
                from caudal.lake.readers.excel.reader import read_excel

                return read_excel(dataset, file)
        return read(dataset, file.file, file.name)
    except OSError as failed:
        raise cannot_be_read(file, failed) from None


def cannot_be_read(file: LakeFile, failed: OSError) -> Unreadable:
    """The refusal of a file that the system does not give."""
    return Unreadable(f"{file.name}: cannot be read: {failed.strerror or type(failed).__name__}")
