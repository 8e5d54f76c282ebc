"""Blocks of JSON lines parsed by Arrow, where the result is what parsing line by line would give."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from caudal.contracts import LINEAGE_COLUMNS
from caudal.lake.readers.json_plain import QuotedDecimals, numbers_are_plain, parsed_type
from caudal.lake.readers.json_slices import Slices
from caudal.lake.readers.json_template import TemplateParser

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.contracts import Column, Contract

#: Up to here a double holds every integer.
_EXACT_INTEGERS = 2**53

#: Exponents that may make a double zero, or are longer than any that is accepted.
_RISKY_EXPONENT = "[eE](?:-[0-9]{3}|[+]?[0-9]{6})"
#: Exponents that may move a decimal by more than 38 places: Arrow gives any value then.
_RISKY_FOR_DECIMALS = f"{_RISKY_EXPONENT}|[eE]-0*[1-9][0-9]|[0-9.]{{20}}[eE]"
#: More digits than a decimal has: Arrow gives any value for some of those numbers.
_LONG = 39
_LONG_NUMBER = re.compile(rb"[0-9.]{%d}" % _LONG)
#: So many zeros after the point make a double zero.
_VANISHING = b"0" * 300


@dataclass(frozen=True)
class Parsed:
    """The rows of a block, one for each line.

    Attributes:
        columns: of the contract, as text; or numbers and booleans in the declared type.
        undeclared: keys that the contract does not have.

    """

    columns: list[pa.Array]
    undeclared: list[str]


class BlockParser:
    """Parses blocks of objects: by array operations where all lines are written alike, else by Arrow.

    Arrow's parser refuses what is no JSON, a key twice, and any number that does not fit its type exactly; what it does not
    refuse is looked for here: two objects on a line, a key that is not there, a decimal in quotes (which Arrow would read with
    a leading zero), a number too large or too small for a double, exponents that Arrow miscalculates.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._template = TemplateParser(contract)
        self._schema = _schema(contract)
        self._nested = frozenset(c.name for c in contract.columns if c.is_nested)
        self._quoted = QuotedDecimals(contract.columns)

    def parse(self, data: bytes) -> Parsed | None:
        """The rows; None if a line needs a closer look."""
        import pyarrow as pa
        from pyarrow import json

        alike = self._template.parse(data)
        if alike is not None:
            return Parsed(alike, [])
        count = _lines_of_objects(data)
        if self._schema is None or count is None or _may_miscalculate(data, self._schema.types):
            return None
        extra = "error" if self._contract.drift == "freeze" else "infer"
        try:
            table = json.read_json(
                pa.BufferReader(data),
                json.ReadOptions(use_threads=False, block_size=len(data) + 1),
                json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior=extra),
            )
        except pa.ArrowException:
            return None
        if table.num_rows != count:
            return None
        written = self._written(table, data)
        if written is None:
            return None
        added = table.column_names[len(self._schema) :]
        if self._contract.older_names.keys() & set(added) or any(n.lower() in LINEAGE_COLUMNS for n in added):
            return None
        columns = (written[name] if name in written else _one(table[name]) for name in self._contract.column_names)
        return Parsed(list(columns), added)

    def _written(self, table: pa.Table, data: bytes) -> dict[str, pa.Array] | None:
        """The structs and lists as they are written, if there are any; None if something needs a closer look."""
        import pyarrow as pa

        if not self._nested:
            return {} if _is_plain(table, data) else None
        slices = Slices(data)
        if self._quoted.may_be_in(data) or slices.keys != table.num_rows * table.num_columns:
            return None
        if not all(numbers_are_plain(_one(values), data) for values in table.columns):
            return None
        found = {name: pa.array(slices.texts(name), pa.string()) for name in self._nested}
        return found if all(texts.null_count == table[name].null_count for name, texts in found.items()) else None


def _is_plain(table: pa.Table, data: bytes) -> bool:
    """Whether every key is in every object, no decimal is in quotes, and no double lost anything."""
    import numpy as np
    import pyarrow as pa

    texts = [v for v in table.columns if pa.types.is_string(v.type) or pa.types.is_temporal(v.type)]
    values = table.num_rows * table.num_columns
    escaped = data.replace(b"\\\\", b"").count(b'\\"') if b"\\" in data else 0
    characters = np.frombuffer(data, np.uint8)
    quotes = characters == ord('"')
    # A key too few would be two quotes too few, as a decimal in quotes is two too many.
    if np.count_nonzero(quotes) - escaped != 2 * (values + sum(len(v) - v.null_count for v in texts)):
        return False
    if any(pa.types.is_decimal(t) for t in table.schema.types):
        keys = np.count_nonzero(quotes[:-1] & (characters[1:] == ord(":"))) - escaped
        if keys - sum(map(_beginning_with_colon, texts)) != values:
            return False
    return all(_plain_doubles(v, data) for v in table.columns if pa.types.is_floating(v.type))


def _beginning_with_colon(texts: pa.ChunkedArray) -> int:
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_string(texts.type):
        return 0
    found = compute.call_function("starts_with", [texts], compute.MatchSubstringOptions(":"))
    return compute.call_function("sum", [found]).as_py() or 0


def _lines_of_objects(data: bytes) -> int | None:
    """How many lines there are, if each of them starts with a brace."""
    import numpy as np

    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    starts_well = data.startswith(b"{") and (characters[ends[:-1] + 1] == ord("{")).all()
    return len(ends) if starts_well else None


def _may_miscalculate(data: bytes, types: list[pa.DataType]) -> bool:
    """Whether some number has an exponent, or so many digits, that Arrow does not read it as it should."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    decimals = any(pa.types.is_decimal(t) for t in types)
    if not decimals and not any(pa.types.is_floating(t) for t in types):
        return False
    characters = np.frombuffer(data, np.uint8)
    if decimals and _has_long_number(characters, data):
        return True
    places = np.flatnonzero(characters == ord("e"))
    if b"E" in data:
        places = np.append(places, np.flatnonzero(characters == ord("E")))
    if not ((characters[places - 1] - ord("0")) < 10).any():
        return False
    options = compute.MatchSubstringOptions(_RISKY_FOR_DECIMALS if decimals else _RISKY_EXPONENT)
    return compute.call_function("match_substring_regex", [pa.array([data], pa.large_binary())], options)[0].as_py()


def _has_long_number(characters: np.ndarray, data: bytes) -> bool:
    """Whether there are more digits in a row than a decimal has. Of those, every fourth one shows in every fourth byte."""
    import numpy as np

    sampled = characters[::4]
    is_digit = ((sampled - ord("0")) < 10) | (sampled == ord("."))
    shown = _LONG // 4
    found = is_digit[: len(is_digit) - shown + 1].copy() if len(is_digit) >= shown else is_digit[:0]
    for shift in range(1, shown):
        found &= is_digit[shift : shift + len(found)]
    return any(_LONG_NUMBER.search(data, max(4 * int(n) - 3, 0), 4 * int(n) + _LONG) for n in np.flatnonzero(found))


def _schema(contract: Contract) -> pa.Schema | None:
    """What Arrow parses each column as. None where some need a closer look: objects, arrays, formats of numbers."""
    import pyarrow as pa

    types = [_type(c) for c in contract.columns]
    if any(t is None for t in types):
        return None
    return pa.schema(list(zip(contract.column_names, types, strict=True)))


def _type(column: Column) -> pa.DataType | None:
    import pyarrow as pa

    if column.is_nested:
        return parsed_type(column)
    if column.logical_type in ("object", "array") or column.number_format:
        return None
    is_typed = column.logical_type in ("integer", "number", "boolean") and not _may_be_a_marker(column)
    return column.arrow_type if is_typed else pa.string()


def _may_be_a_marker(column: Column) -> bool:
    """Whether a number may be a null marker, or is in a form of its own: typed, `-999` would be written `-999.00`."""
    only_markers = replace(column, null_markers=()).is_plain
    return not only_markers or any(c.isdigit() for marker in column.null_markers for c in marker)


def _plain_doubles(values: pa.ChunkedArray, data: bytes) -> bool:
    """Whether no number lost anything: none is so large, or so small, that the double is another."""
    from pyarrow import compute

    if compute.call_function("all", [compute.call_function("is_finite", [values])]).as_py() is False:
        return False
    sizes = compute.call_function("min_max", [compute.call_function("abs", [values])]).as_py()
    return (sizes["max"] or 0) < _EXACT_INTEGERS and (sizes["min"] != 0 or _VANISHING not in data)


def _one(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
