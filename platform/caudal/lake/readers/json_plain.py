"""JSON texts of structs and lists split by Arrow's parser, where the result is what splitting them one by one would give.

Arrow refuses what is no JSON, a key twice, a key that is not declared, and a number that does not fit its type exactly. What it
does not refuse is looked for here: two values in one text, a decimal in quotes (which it would read with a leading zero), a
number too large or too small for a double, an exponent, some of which it miscalculates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column

#: Up to here a double holds every integer.
_EXACT_INTEGERS = 2**53
#: So many zeros in a row may be a number that a double takes for zero.
_ZEROS = b"0" * 300
#: Some of which Arrow miscalculates.
_EXPONENT = re.compile(rb"[0-9][eE]")


class PlainParser:
    """Parses JSON texts of one column.

    Args:
        column: a struct or a list.
        text_type: the column with texts in the place of all values.

    """

    def __init__(self, column: Column, text_type: pa.DataType) -> None:
        self._text_type = text_type
        self._is_list = column.items is not None
        self._parsed_type = parsed_type(column)
        self._quoted = QuotedDecimals([column])

    def split(self, texts: list[str]) -> pa.Array | None:
        """The texts as structs or lists of text; None if one of them needs a closer look."""
        import pyarrow as pa

        starts, ends = "[]" if self._is_list else "{}"
        if self._parsed_type is None or not all(t.startswith(starts) and t.endswith(ends) for t in texts):
            return None
        try:
            table = self._parse(texts)
        except (pa.ArrowException, UnicodeEncodeError):
            return None
        if table is None or table.num_rows != len(texts):
            return None
        return table.column(0).combine_chunks().cast(self._text_type)

    def _parse(self, texts: list[str]) -> pa.Table | None:
        import pyarrow as pa
        from pyarrow import json as arrow_json

        data = ('{"v":' + '}\n{"v":'.join(texts) + "}\n").encode()
        if self._quoted.may_be_in(data):
            return None
        table = arrow_json.read_json(
            pa.BufferReader(data),
            arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            arrow_json.ParseOptions(explicit_schema=pa.schema([("v", self._parsed_type)]), unexpected_field_behavior="error"),
        )
        return table if numbers_are_plain(table.column(0).combine_chunks(), data) else None


class QuotedDecimals:
    """Looks for decimals in quotes, by their keys, which cannot stand inside a string: the quotes around are escaped there."""

    def __init__(self, columns: Iterable[Column]) -> None:
        decimals = {c.name for column in columns for c in column.walk() if c.is_decimal and c.number_format is None}
        keys = b"|".join(re.escape(json.dumps(name, ensure_ascii=False).encode()) for name in sorted(decimals))
        self._pattern = re.compile(rb"(?:%b)[ \t\r\n]*:[ \t\r\n]*\"" % keys) if decimals else None

    def may_be_in(self, data: bytes) -> bool:
        """Whether one may be there, perhaps under a key that is spelled with escapes."""
        if self._pattern is None:
            return False
        return b"\\u" in data or b"\\/" in data or self._pattern.search(data) is not None


def parsed_type(column: Column) -> pa.DataType | None:
    """What Arrow parses a struct or a list as; None where its result may be another than by the rules of values one by one."""
    inner = list(column.walk())
    json_inside = any(c.logical_type in ("object", "array") and not c.is_nested for c in inner)
    decimals_in_lists = any(c.items is not None and c.items.is_decimal for c in inner)
    return None if json_inside or decimals_in_lists or any(c.required_keys for c in inner) else _parsed(column)


def numbers_are_plain(values: pa.Array, data: bytes) -> bool:
    """Whether no number inside may be another than as it is written: by an exponent, or for it is too large for a double."""
    import pyarrow as pa

    found = list(_numbers(values))
    if found and _EXPONENT.search(data):
        return False
    doubles = [v for v in found if pa.types.is_floating(v.type)]
    return all(_are_plain(v, suspicious=_ZEROS in data) for v in doubles)


def _parsed(column: Column) -> pa.DataType:
    """What Arrow parses the column as: numbers and booleans exactly, all else as text."""
    import pyarrow as pa

    if column.items is not None:
        return pa.list_(_parsed(column.items))
    if column.fields:
        return pa.struct([(c.name, _parsed(c)) for c in column.fields])
    is_number = column.logical_type in ("integer", "number", "boolean") and column.is_plain
    return column.arrow_type if is_number else pa.string()


def _numbers(values: Any) -> Iterator[pa.Array]:
    """The doubles and decimals inside."""
    import pyarrow as pa

    if pa.types.is_struct(values.type):
        for inner in values.flatten():
            yield from _numbers(inner)
    elif pa.types.is_list(values.type):
        yield from _numbers(values.flatten())
    elif pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        yield values


def _are_plain(doubles: pa.Array, *, suspicious: bool) -> bool:
    import numpy as np

    found = doubles.drop_null().to_numpy(zero_copy_only=False)
    return bool((np.abs(found) < _EXACT_INTEGERS).all() and (not suspicious or found.all()))
