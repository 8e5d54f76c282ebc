"""JSON documents: an array of objects, or an object that holds it under a declared path.

The array is cut into its elements, which are then read as JSON lines are: see `caudal.lake.readers.jsonl`. What stands beside
the array is looked at only for where it begins and ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from caudal.lake.readers.dialect import AUTO, detected_encoding
from caudal.lake.readers.json_elements import ElementSplitter
from caudal.lake.readers.jsonl import rows_of_lines
from caudal.lake.readers.rows import Rows, Unreadable
from caudal.lake.readers.text import MAX_LINE_BYTES, Block, open_text, read_pieces

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset

_TOKEN = re.compile(rb'[ \t\r\n]*+(?:([{}\[\],:])|("(?:[^"\\\n]++|\\.)*+")|([^\s{}\[\],:"]++))', re.DOTALL)

#: Elements are looked for in so much of a file at a time.
_PIECE_BYTES = 2 << 20


def read_json(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no such document, or has no array where it is declared.

    """
    encoding = detected_encoding(dataset.encoding, file, path, "JSON")
    open_text(file, path, encoding, "JSON")
    keys = [key for key in dataset.json.records.split(".") if key]

    def document() -> Document:
        return Document(read_pieces(file, path, encoding, _PIECE_BYTES), path)

    document().open_array(keys)
    rows = rows_of_lines(dataset.contract, lambda: _elements(document(), keys, path), file.stat().st_size)
    return replace(rows, dialect=encoding if dataset.encoding == AUTO else None)


def _elements(document: Document, keys: Sequence[str], path: str) -> Iterator[Block]:
    """Yield the elements of the array as lines, each with its number from 1."""
    document.open_array(keys)
    splitter = ElementSplitter(path)
    while not splitter.ended:
        piece = document.take()
        if not piece:
            raise Unreadable(f"{path}: the JSON array does not end, after {splitter.count} elements. Deliver the file again")
        yield from splitter.feed(piece)
    document.give_back(splitter.rest)
    document.close(keys)


class Document:
    """What stands around the array, token by token."""

    def __init__(self, pieces: Iterator[bytes], path: str) -> None:
        self._pieces, self._path = pieces, path
        self._data, self._position = b"", 0

    def take(self) -> bytes:
        """What was read and not looked at yet, or the next piece; b"" at the end."""
        data, self._data, self._position = self._data[self._position :], b"", 0
        return data or next(self._pieces, b"")

    def give_back(self, data: bytes) -> None:
        """Look at `data` next."""
        self._data, self._position = data, 0

    def open_array(self, keys: Sequence[str]) -> None:
        """Go on to the first element of the array.

        Raises:
            Unreadable: there is none.

        """
        for depth, key in enumerate(keys):
            found = self._token()
            if found != b"{":
                self._refuse_place(keys[:depth], found, "an object")
            while True:
                name = self._token()
                if name == b"}":
                    raise Unreadable(f"{self._path}: there is no key `{'.'.join(keys[: depth + 1])}`. Correct `json.records`")
                if self._member(name) == key:
                    break
                self._skip_value()
                if self._separator() == b"}":
                    self.give_back(b"}" + self.take())
        found = self._token()
        if found != b"[":
            self._refuse_place(keys, found, "an array")

    def close(self, keys: Sequence[str]) -> None:
        """Go on from the end of the array to that of the document.

        Raises:
            Unreadable: it is not well-formed, or has the array twice.

        """
        for key in reversed(keys):
            while self._separator() == b",":
                if self._member(self._token()) == key:
                    raise Unreadable(f"{self._path}: the key `{key}` is given more than once. Deliver one array")
                self._skip_value()
        if self._token() is not None:
            self._refuse("something follows its end")

    def _member(self, name: bytes | None) -> str:
        if name is None or not name.startswith(b'"'):
            self._refuse(f"{_shown(name)} stands where a key is expected")
        if self._token() != b":":
            self._refuse(f"no colon follows the key {_shown(name)}")
        try:
            return json.loads(name)
        except ValueError:
            self._refuse(f"{_shown(name)} is no key")

    def _separator(self) -> bytes:
        found = self._token()
        if found not in (b",", b"}"):
            self._refuse(f"{_shown(found)} stands where a comma or a brace is expected")
        return found

    def _skip_value(self) -> None:
        opened: list[bytes] = []
        while True:
            token = self._token()
            if token is None:
                self._refuse("it does not end")
            if token in b"{[":
                opened.append(b"}" if token == b"{" else b"]")
            elif token in b"}]" and (not opened or opened.pop() != token):
                self._refuse(f"{_shown(token)} closes what is not open")
            if not opened:
                if token in b",:":
                    self._refuse(f"{_shown(token)} stands where a value is expected")
                return

    def _token(self) -> bytes | None:
        """The next token; None at the end."""
        while True:
            match = _TOKEN.match(self._data, self._position)
            if match and (match.end() < len(self._data) or match[3] is None):
                break
            piece = next(self._pieces, b"")
            if not piece:
                if match:
                    break
                if self._data[self._position :].strip(b" \t\r\n"):
                    self._refuse(f"{_shown(self._data[self._position :])} is no JSON")
                return None
            self._data, self._position = self._data[self._position :] + piece, 0
            if len(self._data) > MAX_LINE_BYTES + _PIECE_BYTES:
                self._refuse(f"a text in it is longer than {MAX_LINE_BYTES >> 20} MiB")
        self._position = match.end()
        return match[0].lstrip(b" \t\r\n")

    def _refuse_place(self, keys: Sequence[str], found: bytes | None, wanted: str) -> NoReturn:
        names = {b"{": "an object", b"[": "an array", b"null": "null", None: "nothing"}
        told = names.get(found, f"{_shown(found)}")
        if keys:
            raise Unreadable(f"{self._path}: {told} stands under the key `{'.'.join(keys)}`; expected {wanted}")
        advice = {
            b"{": "Declare where the array stands: `json.records`. If it has one object a line, declare `format: jsonl`",
            b"[": "If it is the array of rows, declare no `json.records`",
        }.get(found or b"", "Deliver JSON")
        raise Unreadable(f"{self._path}: the JSON document is {told}; expected {wanted}. {advice}")

    def _refuse(self, why: str) -> NoReturn:
        raise Unreadable(f"{self._path}: the JSON document is damaged or was not written to its end: {why}")


def _shown(token: bytes | None) -> str:
    return "its end" if token is None else f"`{token[:60].decode('utf-8', 'replace').strip()}`"
