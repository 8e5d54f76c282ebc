"""Which format a file is in, and the options with which the lake's reader reads it: by its content, never by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from caudal.lake.dataset import CsvOptions, Dataset, ExcelOptions
from caudal.lake.options import FixedWidthOptions, JsonOptions, XmlOptions
from caudal.lake.readers.content import recognised
from caudal.lake.readers.dialect import AUTO, detected_encoding
from caudal.lake.readers.excel.biff import COMPOUND_FILE
from caudal.lake.readers.rows import Unreadable
from caudal.warehouse.propose import delimited, fixed, splitting
from caudal.warehouse.propose.table import NoProposal, text_contract

#: Looked at from the start of a text, and from its end.
_HEAD_BYTES, _TAIL_BYTES = 1 << 20, 64 << 10

#: Bytes that cp1252 does not have.
_NOT_CP1252 = frozenset(b"\x81\x8d\x8f\x90\x9d")

_TYPED = ((b"PAR1", "parquet"), (b"Obj\x01", "avro"), (b"ORC", "orc"))

_OPTIONS = {"csv": CsvOptions, "excel": ExcelOptions, "json": JsonOptions, "xml": XmlOptions, "fixed_width": FixedWidthOptions}


@dataclass
class Sniffed:
    """How files are read.

    Attributes:
        options: as `defs.yaml` has them, without those that are as by default; the format's own under its name.
        notes: what is to be said beside an option, by its name, such as `csv.delimiter`.
        names: of the columns, where the files do not name them.

    """

    format: Literal["csv", "jsonl", "json", "parquet", "avro", "orc", "excel", "xml", "fixed_width"]
    options: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def note(self, option: str, told: str) -> None:
        self.notes.setdefault(option, []).append(told)

    def dataset(self, source: str, name: str) -> Dataset:
        """The dataset, without its contract."""
        given = {k: v for k, v in self.options.items() if k not in _OPTIONS}
        own = {k: _OPTIONS[k](**_frozen(v)) for k, v in self.options.items() if k in _OPTIONS}
        return Dataset(source, name, self.format, text_contract(self.names), **given, **own)


def sniff(file: Path, name: str) -> Sniffed:
    """How a file, which is not compressed, is read.

    Raises:
        NoProposal: it is of no format that is read.

    """
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
        whole = len(head) < _HEAD_BYTES
        if not whole:
            opened.seek(max(_HEAD_BYTES, file.stat().st_size - _TAIL_BYTES))
        tail = b"" if whole else opened.read()
    if not head:
        raise NoProposal(f"{name}: the file is empty (0 bytes)")
    for signature, typed in _TYPED:
        if head.startswith(signature):
            return Sniffed(typed)
    if head.startswith((b"PK\x03\x04", COMPOUND_FILE)):
        return Sniffed("excel")
    found = recognised(head)
    if found and "XML" not in found:
        raise NoProposal(f"{name}: this is {found}, which is not read")
    return _text(file, head, tail, name)


def _text(file: Path, head: bytes, tail: bytes, name: str) -> Sniffed:
    encoding, told = _encoding(file, head, name)
    whole = not tail
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if "\0" in text:
        raise NoProposal(f"{name}: it holds NUL characters, which text does not; it is of no format that is read")
    end = tail.decode(encoding, "replace")
    start = text.lstrip()
    if start.startswith("<"):
        return Sniffed("xml")
    if start.startswith("["):
        sniffed = Sniffed("json")
    elif start.startswith("{"):
        sniffed = _objects(start)
    else:
        sniffed = _delimited(text, end, whole=whole)
    if encoding != "utf-8":
        place = sniffed.options if sniffed.format in ("json", "jsonl") else sniffed.options.setdefault(sniffed.format, {})
        place["encoding"] = encoding
        sniffed.note("encoding" if sniffed.format in ("json", "jsonl") else f"{sniffed.format}.encoding", told)
    return sniffed


def _encoding(file: Path, head: bytes, name: str) -> tuple[str, str]:
    """The encoding of a text, and what is to be said beside it."""
    try:
        found, doubt = detected_encoding(AUTO, file, name, "text"), ""
    except Unreadable as unclear:
        if b"\0" in head[:4096]:
            raise NoProposal(str(unclear)) from None
        found, doubt = ("latin-1" if _NOT_CP1252 & set(head) else "cp1252"), f" ({_reason(unclear, name)})"
    if found == "latin-1" and not doubt:
        found = "cp1252"
    if found != "cp1252" and not doubt:
        return found, ""
    high = next((n for n, byte in enumerate(head) if byte > 0x7F), 0)
    line = head[head.rfind(b"\n", 0, high) + 1 :].partition(b"\n")[0]
    shown = line.decode(found, "replace").strip()[:60]
    return found, f"unsure: no UTF-8; read as {found} it says `{shown}`{doubt}"


def _reason(unclear: Unreadable, name: str) -> str:
    return str(unclear).removeprefix(f"{name}: the encoding cannot be told: ").partition(". Declare")[0]


def _delimited(text: str, end: str, *, whole: bool) -> Sniffed:
    dialect = splitting.detect_dialect(text)
    if dialect is None or dialect.delimiter in " :":
        found = fixed.places(text if whole else text[: text.rfind("\n") + 1])
        if found:
            return _fixed(found)
    layout = delimited.layout(text if whole else text[: text.rfind("\n") + 1], end)
    sniffed = Sniffed("csv", {"csv": layout.options} if layout.options else {}, names=layout.names)
    for option, told in layout.notes:
        sniffed.note(f"csv.{option}", told)
    return sniffed


def _fixed(found: fixed.Places) -> Sniffed:
    options: dict[str, Any] = {"columns": {name: list(place) for name, place in found.columns.items()}}
    sniffed = Sniffed("fixed_width", {"fixed_width": options}, names=tuple(found.columns))
    sniffed.note("fixed_width.columns", "unsure: a column begins where every line has a blank before it")
    if found.skip_lines:
        options["skip_lines"] = found.skip_lines
    if not found.named:
        sniffed.note("fixed_width.columns", "no line names them")
    return sniffed


def _objects(text: str) -> Sniffed:
    """JSON lines, or one document with an array of objects in it."""
    first, _, rest = text.partition("\n")
    try:
        is_line = isinstance(json.loads(first), dict)
    except ValueError:
        is_line = False
    if is_line and (rest.lstrip().startswith("{") or not (path := next(_arrays(first), None))):
        return Sniffed("jsonl")
    path = next(_arrays(text), None)
    if path is None:
        raise NoProposal("a JSON document without an array of objects in it: there is no row to be found")
    sniffed = Sniffed("json", {"json": {"records": path}})
    sniffed.note("json.records", "the first array of objects in the document")
    return sniffed


def _arrays(text: str) -> Iterator[str]:
    """The keys, with points between, that lead to each array of objects."""
    keys: list[str | None] = []
    key: str | None = None
    for token in re.finditer(r'"((?:[^"\\]|\\.)*)"\s*(:?)|[\[{\]}]|\[', text):
        mark = token[0][0]
        if mark == '"':
            key = token[1] if token[2] else key
        elif mark in "[{":
            if mark == "[" and text[token.end() :].lstrip()[:1] == "{" and None not in keys[1:] and key:
                yield ".".join(k for k in (*keys[1:], key) if k)
            keys.append(key if mark == "{" else None)
            key = None
        elif keys:
            keys.pop()


def _frozen(options: dict[str, Any]) -> dict[str, Any]:
    frozen = {k: {n: tuple(p) for n, p in v.items()} if isinstance(v, dict) else v for k, v in options.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in frozen.items()}
