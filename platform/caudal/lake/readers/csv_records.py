"""Splitting delimited text into records exactly (RFC 4180), with the fault of each record that is not well formed.

A quote has a meaning only as the first character of a value; inside the value it is written twice. What RFC 4180 does not
allow is a fault, not a guess: text or blanks between a closing quote and the delimiter, blanks before an opening quote, a
carriage return outside quotes. Such a fault costs the line on which the record starts, and the next line is a new record: a
stray quote does not swallow the rest of the file.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CARRIAGE_RETURN = "a carriage return inside the line, outside quotes"


class Record(NamedTuple):
    """One record.

    Attributes:
        values: None for an unquoted empty value or null marker. Empty with a `fault`.
        fault: why it is no record.
        text: as it stands in the file, with a `fault`.

    """

    values: list[str | None]
    fault: str | None = None
    text: str = ""


class RecordSplitter:
    """Splits text by one dialect.

    Args:
        delimiter: one character.
        quote: one character, or "" for none.
        nulls: texts that stand for no value where they are not quoted.
        escape: a character that takes the meaning from the delimiter, quote, newline or itself after it, or "" for none.

    """

    def __init__(self, delimiter: str, quote: str, nulls: frozenset[str], escape: str = "") -> None:
        self._delimiter, self._quote, self._nulls, self._escape = delimiter, quote, nulls, escape
        q, d, e = re.escape(quote), re.escape(delimiter), re.escape(escape)
        escaped = f"{e}(?s:\r\n|.)|" if escape else ""
        self._quoted = re.compile(f"{q}((?:[^{q}{e}]++|{escaped}{q}{q})*+){q}") if quote else None
        self._plain = re.compile(f"(?:{escaped}[^{d}{e}\n]++)*+")
        self._escapes = re.compile(f"{e}(\r\n|(?s:.))" + (f"|{q}{q}" if quote else "")) if escape else None

    def record_at(self, text: str, position: int) -> tuple[Record | None, int]:
        """The record that starts at `position`, and where the next one starts.

        Args:
            text: whole lines, each of which ends in a newline.
            position: of the start of a line.

        Returns:
            No record if a quote is opened and not closed in `text`.

        """
        end = text.index("\n", position)
        marks = (self._quote, self._escape)
        if not any(mark and text.find(mark, position, end) >= 0 for mark in marks):
            line = text[position:end].removesuffix("\r")
            if "\r" in line:
                return Record([], _CARRIAGE_RETURN, line), end + 1
            nulls = self._nulls
            return Record([None if v in nulls else v for v in line.split(self._delimiter)]), end + 1
        values: list[str | None] = []
        start = position
        while True:
            if self._quote and text.startswith(self._quote, position):
                fault, position = self._quoted_value(text, position, values)
            else:
                fault, position = self._plain_value(text, position, values)
            if position < 0:
                return None, end + 1
            if fault:
                return fault_of_line(text, start, fault)
            if text[position] == "\n":
                return Record(values), position + 1
            position += 1

    def _quoted_value(self, text: str, position: int, values: list[str | None]) -> tuple[str | None, int]:
        """Append the value; its fault and where it ends. A negative place if it does not end."""
        assert self._quoted is not None
        match = self._quoted.match(text, position)
        if match is None:
            return None, -1
        end = match.end()
        if self._escape in match[1] and self._escape:
            value, fault = self._unescaped(match[1])
            if fault:
                return fault, end
        else:
            value = match[1].replace(self._quote * 2, self._quote)
        values.append(value)
        if text.startswith("\r\n", end):
            end += 1
        return (None if text.startswith((self._delimiter, "\n"), end) else "text after a closing quote"), end

    def _plain_value(self, text: str, position: int, values: list[str | None]) -> tuple[str | None, int]:
        match = self._plain.match(text, position)
        assert match is not None
        end = match.end()
        if end == len(text) or text[end] not in (self._delimiter, "\n"):
            return None, -1
        value = match[0].removesuffix("\r") if text[end] == "\n" else match[0]
        if value in self._nulls:
            values.append(None)
            return None, end
        if self._escape and self._escape in value:
            value, fault = self._unescaped(value)
            values.append(value)
            return fault, end
        values.append(value)
        if "\r" in value:
            return _CARRIAGE_RETURN, end
        return ("blanks before an opening quote" if self._quote and value.lstrip(" \t").startswith(self._quote) else None), end

    def _unescaped(self, value: str) -> tuple[str, str | None]:
        """The value without its escapes; and the fault of one that has no meaning."""
        assert self._escapes is not None
        known = (self._delimiter, self._quote, self._escape, "\n", "\r\n")
        unknown = next((m[1] for m in self._escapes.finditer(value) if m[1] and m[1] not in known), None)
        fault = f"`{self._escape}{unknown}`, an escape that is not known" if unknown else None
        return self._escapes.sub(lambda m: m[1] or self._quote, value), fault


def fault_of_line(text: str, position: int, fault: str) -> tuple[Record, int]:
    """The line at `position` as a faulty record, and where the next line starts."""
    end = text.index("\n", position)
    return Record([], fault, text[position:end].removesuffix("\r")), end + 1
