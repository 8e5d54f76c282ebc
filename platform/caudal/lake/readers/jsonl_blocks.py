"""Blocks of JSON lines parsed by Arrow, where the result is what parsing line by line would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.lake.readers.rows import undeclared_text

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column, Contract

#: Up to here a double holds every integer.
_EXACT_INTEGERS = 2**53


class BlockParser:
    """Parses blocks of flat objects.

    Arrow's parser refuses what is no JSON, a key twice, and any number that does not fit its type exactly; what it does not
    refuse is looked for here: two objects on a line, a key that is not there, a decimal in quotes (which Arrow would read with
    a leading zero), a number too large or too small for a double.
    """

    def __init__(self, contract: Contract, undeclared: list[Column]) -> None:
        self._contract = contract
        self._undeclared = undeclared
        self._schema = _schema(contract)

    def parse(self, data: bytes) -> list[pa.Array] | None:
        """The values of the contract's columns as text, one for each line; None if a line needs a closer look."""
        import pyarrow as pa
        from pyarrow import json

        count = _lines_of_objects(data)
        if self._schema is None or count is None:
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
        if table.num_rows != count or not _is_plain(table, data):
            return None
        known = {*self._contract.column_names, *(c.name for c in self._undeclared)}
        self._undeclared += undeclared_text([n for n in table.column_names if n not in known])
        return [_as_text(table[name]) for name in self._contract.column_names]


def _is_plain(table: pa.Table, data: bytes) -> bool:
    """Whether every key is in every object, no decimal is in quotes, and no double lost anything."""
    import pyarrow as pa

    for name in table.column_names:
        values = table[name]
        if values.null_count != _written_nulls(data, name, values.null_count):
            return False
        if pa.types.is_floating(values.type) and not _plain_doubles(values, data):
            return False
    if not any(pa.types.is_decimal(t) for t in table.schema.types):
        return True
    strings = sum(len(v) - v.null_count for v in table.columns if pa.types.is_string(v.type))
    return _count(data, b'"') - data.count(b'\\"') == 2 * (table.num_rows * table.num_columns + strings)


def _lines_of_objects(data: bytes) -> int | None:
    """How many lines there are, if each of them starts with a brace."""
    import numpy as np

    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    starts_well = data.startswith(b"{") and (characters[ends[:-1] + 1] == ord("{")).all()
    return len(ends) if starts_well else None


def _count(data: bytes, character: bytes) -> int:
    """How often a character is there: quicker than `bytes.count` for a frequent one."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == character[0]))


def _schema(contract: Contract) -> pa.Schema | None:
    """What Arrow parses each column as. None if there are objects or arrays, which are kept as they are written."""
    import pyarrow as pa

    if any(c.logical_type in ("object", "array") for c in contract.columns):
        return None
    return pa.schema([(c.name, _type(c)) for c in contract.columns])


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    return column.arrow_type if column.logical_type in ("integer", "number", "boolean") else pa.string()


def _written_nulls(data: bytes, name: str, at_least: int) -> int:
    """How many nulls are written for the key. A key cannot stand inside a string: the quotes around it would be escaped."""
    import json

    if not at_least:
        return 0
    key = json.dumps(name, ensure_ascii=False).encode()
    return data.count(key + b":null") + data.count(key + b": null")


def _plain_doubles(values: pa.ChunkedArray, data: bytes) -> bool:
    """Whether no number lost anything: none is that large, or that small, that the double is another."""
    import numpy as np

    found = values.to_numpy()
    found = found[~np.isnan(found)]
    if len(found) != len(values) - values.null_count or (np.abs(found) >= _EXACT_INTEGERS).any():
        return False
    return bool(found.all()) or b"e-" not in data.lower()


def _as_text(values: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    text = values.cast(pa.string())
    return text.chunk(0) if text.num_chunks == 1 else text.combine_chunks()
