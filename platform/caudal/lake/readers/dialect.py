"""Finding out how a text file is written, where the dataset says `auto`: by evidence that admits one answer, or not at all."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.content import head_of, refuse_other_content
from caudal.lake.readers.csv_records import RecordSplitter
from caudal.lake.readers.rows import Unreadable
from caudal.lake.readers.text import encoding_of_mark, read_blocks

if TYPE_CHECKING:
    from caudal.contracts import Contract
    from caudal.lake.dataset import CsvOptions

AUTO = "auto"

#: Looked at for the delimiter.
_HEAD_BYTES = 256 << 10
_HEAD_RECORDS = 1_000
_DELIMITERS = ",;\t|"
_NAMES = {"\t": "tab", "|": "pipe"}

#: Without a header, so large a share of the first rows must have as many values as the contract has columns.
_CLEAR_SHARE = 0.9

_PIECE_BYTES = 1 << 20

#: What tells that text of 8 bits a character is no cp1252, each with what to say.
_DOUBTS = (
    (re.compile(rb"[\x81\x8d\x8f\x90\x9d]"), "a byte that cp1252 does not have"),
    (
        re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"),
        "characters of UTF-8 among bytes that are none",
    ),
    (
        re.compile(
            rb"[A-Za-z][\x80\x82-\x84\x86-\x89\x8b\x93-\x94\x98\x99\x9b\xa1-\xac\xae-\xb3\xb5\xb6\xb8-\xbf\xd7\xf7][A-Za-z]"
        ),
        "letters with a sign of cp1252 between them, as text of another code page has",
    ),
    (re.compile(rb"[a-z][\x8a\x8c\x8e\x9f\xc0-\xde][a-z]"), "a capital of cp1252 between small letters"),
    (re.compile(rb"\xa4"), "the byte A4, which is the euro sign in iso-8859-15 and another in cp1252"),
)
_ADJACENT = re.compile(rb"[\xc0-\xff]{2,}")


def detected_encoding(declared: str, file: Path, path: str, wanted: str) -> str:
    """The encoding of a file: as declared, or found out.

    Raises:
        Unreadable: the bytes admit several, or none that is told apart here.

    """
    if declared != AUTO:
        return declared
    head = head_of(file, path, wanted)
    marked = encoding_of_mark(head)
    if marked:
        return marked
    refuse_other_content(head, path, wanted)
    if b"\0" in head:
        return _of_two_bytes(head, path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in _pieces(file):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _of_one_byte(file, path)
    return "utf-8"


def detected(options: CsvOptions, contract: Contract, file: Path, path: str) -> tuple[CsvOptions, str | None]:
    """The options with what the file is written in, and that for the record: such as `cp1252, ;`. None if it was declared.

    Raises:
        Unreadable: the file admits several answers, or none.

    """
    if AUTO not in (options.encoding, options.delimiter):
        return options, None
    options = replace(options, encoding=detected_encoding(options.encoding, file, path, "CSV text"))
    if options.delimiter == AUTO:
        options = replace(options, delimiter=_delimiter(options, contract, file, path))
    return options, f"{options.encoding}, {_NAMES.get(options.delimiter, options.delimiter)}"


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            yield piece


def _of_two_bytes(head: bytes, path: str) -> str:
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > len(head) // 5 and not even:
        return "utf-16-le"
    if even > len(head) // 5 and not odd:
        return "utf-16-be"
    raise _unclear(path, "there are NUL bytes in it, and not as UTF-16 has them")


def _of_one_byte(file: Path, path: str) -> str:
    """cp1252, or latin-1 where both are the same."""
    before, before_bytes = b"", 0
    high = adjacent = 0
    differ = False
    for piece in _pieces(file):
        data = before + piece
        for pattern, doubt in _DOUBTS:
            match = pattern.search(data)
            if match:
                shown = match[0].hex(" ").upper()
                raise _unclear(path, f"it is not UTF-8, and has {doubt} (byte {before_bytes + match.start() + 1}: {shown})")
        high += sum(piece.count(bytes([b])) for b in range(0xC0, 0x100))
        adjacent += sum(len(run) for run in _ADJACENT.findall(piece))
        differ = differ or any(bytes([b]) in piece for b in range(0x80, 0xA0))
        before_bytes += len(data) - 3
        before = data[-3:]
    if adjacent * 2 > high:
        raise _unclear(path, "it is not UTF-8, and its letters beyond ASCII stand side by side, as in no Western language")
    return "cp1252" if differ else "latin-1"


def _unclear(path: str, why: str) -> Unreadable:
    return Unreadable(f"{path}: the encoding cannot be told: {why}. Declare `encoding`, such as cp1252, cp850 or cp1250")


def _delimiter(options: CsvOptions, contract: Contract, file: Path, path: str) -> str:
    lines = _head_lines(options, file, path)
    if len(contract.columns) == 1 and not any(d in line for line in lines for d in _DELIMITERS):
        return ","
    judge = _by_header if options.header else _by_width
    fitting = judge(options, contract, lines)
    if len(fitting) != 1:
        told = "none of" if not fitting else "several of"
        where = "the header" if options.header else "the first rows"
        raise Unreadable(
            f"{path}: the delimiter cannot be told: {told} comma, semicolon, tab and pipe give the columns of the contract in "
            f"{where}. It begins with `{lines[0][:200] if lines else ''}`. Declare `csv.delimiter`"
        )
    return fitting[0]


def _head_lines(options: CsvOptions, file: Path, path: str) -> list[str]:
    """Lines at the start of the file that may be rows."""
    block = next(read_blocks(file, path, options.encoding, _HEAD_BYTES), None)
    lines = (block.data.decode().split("\n")[:-1] if block else [])[options.skip_lines :]
    return [x for x in lines if x.strip("\r") and not (options.comment and x.startswith(options.comment))]


def _by_header(options: CsvOptions, contract: Contract, lines: Sequence[str]) -> list[str]:
    """Delimiters under which the header names the most columns of the contract."""
    found = {}
    for delimiter in _DELIMITERS:
        names = next(_records(options, delimiter, lines[:50]), [])
        known = {(name or "").strip() for name in names} & set(contract.column_names)
        found[delimiter] = len(known)
    most = max(found.values())
    return [d for d, count in found.items() if count == most and most]


def _by_width(options: CsvOptions, contract: Contract, lines: Sequence[str]) -> list[str]:
    """Delimiters under which nearly all rows have as many values as the contract has columns."""
    fitting = []
    for delimiter in _DELIMITERS:
        widths = [len(record) for record in _records(options, delimiter, lines[:_HEAD_RECORDS])]
        right = widths.count(len(contract.columns))
        if right and right >= _CLEAR_SHARE * len(widths):
            fitting.append(delimiter)
    return fitting


def _records(options: CsvOptions, delimiter: str, lines: Sequence[str]) -> Iterator[list[str | None]]:
    splitter = RecordSplitter(delimiter, options.quote, frozenset(), options.escape)
    text, position = "".join(f"{line}\n" for line in lines), 0
    while position < len(text):
        record, position = splitter.record_at(text, position)
        if record is None:
            return
        yield record.values
