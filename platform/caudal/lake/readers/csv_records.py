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

    """

    def __init__(self, delimiter: str, quote: str, nulls: frozenset[str]) -> None:
        self._delimiter, self._quote, self._nulls = delimiter, quote, nulls
        q, d = re.escape(quote), re.escape(delimiter)
        self._quoted = re.compile(f"{q}((?:[^{q}]++|{q}{q})*+){q}") if quote else None
        self._plain = re.compile(f"[^{d}\n]*+")

    def record_at(self, text: str, position: int) -> tuple[Record | None, int]:
        """The record that starts at `position`, and where the next one starts.

        Args:
            text: whole lines, each of which ends in a newline.
            position: of the start of a line.

        Returns:
            No record if a quote is opened and not closed in `text`.

        """
        end = text.index("\n", position)
        if not self._quote or text.find(self._quote, position, end) < 0:
            line = text[position:end].removesuffix("\r")
            if "\r" in line:
                return Record([], _CARRIAGE_RETURN, line), end + 1
            nulls = self._nulls
            return Record([None if v in nulls else v for v in line.split(self._delimiter)]), end + 1
        values: list[str | None] = []
        start = position
        while True:
            if text.startswith(self._quote, position):
                fault, position = self._quoted_value(text, position, values)
                if position < 0:
                    return None, end + 1
            else:
                fault, position = self._plain_value(text, position, values)
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
        values.append(match[1].replace(self._quote * 2, self._quote))
        end = match.end()
        if text.startswith("\r\n", end):
            end += 1
        return (None if text.startswith((self._delimiter, "\n"), end) else "text after a closing quote"), end

    def _plain_value(self, text: str, position: int, values: list[str | None]) -> tuple[str | None, int]:
        match = self._plain.match(text, position)
        assert match is not None
        end = match.end()
        value = match[0].removesuffix("\r") if text[end] == "\n" else match[0]
        values.append(None if value in self._nulls else value)
        if "\r" in value:
            return _CARRIAGE_RETURN, end
        return ("blanks before an opening quote" if value.lstrip(" \t").startswith(self._quote) else None), end


def fault_of_line(text: str, position: int, fault: str) -> tuple[Record, int]:
    """The line at `position` as a faulty record, and where the next line starts."""
    end = text.index("\n", position)
    return Record([], fault, text[position:end].removesuffix("\r")), end + 1
