"""Options that hold for all sample files together, and those that need a look into the table itself."""

from __future__ import annotations

from collections.abc import Sequence

from caudal.lake.readers.rows import LakeFile
from caudal.warehouse.propose import workbook
from caudal.warehouse.propose.markup import record_path
from caudal.warehouse.propose.sniff import Sniffed


def common(sniffed: Sequence[Sniffed]) -> Sniffed:
    """The options of the first file, with an encoding that holds for all."""
    first = sniffed[0]
    encodings = {_encoding(s) for s in sniffed} - {"utf-8"}
    if len(encodings) == 1 and _encoding(first) == "utf-8":
        other = next(s for s in sniffed if _encoding(s) in encodings)
        place = first.options if "encoding" in other.options else first.options.setdefault(first.format, {})
        place["encoding"] = _encoding(other)
        option = "encoding" if "encoding" in other.options else f"{first.format}.encoding"
        first.notes[option] = other.notes.get(option, [])
    elif len(encodings) > 1:
        first.note(f"{first.format}.encoding", f"unsure: files are in different encodings: {', '.join(sorted(encodings))}")
    return first


def complete(sniffed: Sniffed, files: Sequence[LakeFile]) -> None:
    """Find where the table stands in a workbook, which elements are rows in XML, which columns a line of fixed width has."""
    if sniffed.format == "excel":
        workbook.complete(sniffed, files[0].file, files[0].name, [f.file for f in files[1:]])
    elif sniffed.format == "xml":
        sniffed.options["xml"] = {"record": record_path(files[0].file, files[0].name), **sniffed.options.get("xml", {})}
        sniffed.note("xml.record", "unsure: the outermost elements that are there again and again")


def _encoding(sniffed: Sniffed) -> str:
    return sniffed.options.get("encoding") or sniffed.options.get(sniffed.format, {}).get("encoding", "utf-8")
