"""JSON lines: one object a line.

A number is kept as it is written, never as a float; an object or a list is kept as JSON text. A line that is no JSON object,
or gives a key twice, is a rejected row; under the drift policy `freeze`, so is an object with a key more or less than the
contract. Blank lines are no rows.

Blocks whose lines are all plainly what the contract says are parsed by Arrow, the others line by line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from caudal.contracts import LINEAGE_COLUMNS
from caudal.contracts.native_text import as_declared
from caudal.lake.dataset import Dataset
from caudal.lake.readers.ahead import in_order
from caudal.lake.readers.dialect import AUTO, detected_encoding
from caudal.lake.readers.jsonl_blocks import BlockParser
from caudal.lake.readers.rows import (
    BATCH_ROWS,
    Problem,
    Rows,
    Unreadable,
    batch_of,
    consecutive,
    text_batch,
    text_columns,
    undeclared_text,
)
from caudal.lake.readers.text import Block, block_bytes, open_text, read_blocks

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column, Contract

_HALF_CHARACTER = "half of a surrogate pair, which is no character"


def read_jsonl(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no such text.

    """
    encoding = detected_encoding(dataset.encoding, file, path, "JSON lines")
    head = open_text(file, path, encoding, "JSON lines")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise Unreadable(f"{path}: it starts with `[`, as a JSON array does. Expected JSON lines: one object a line, no array")
    size = block_bytes(len(dataset.contract.columns))
    rows = rows_of_lines(dataset.contract, lambda: read_blocks(file, path, encoding, size), file.stat().st_size)
    return replace(rows, dialect=encoding if dataset.encoding == AUTO else None)


def rows_of_lines(contract: Contract, blocks: Callable[[], Iterator[Block]], weight_bytes: int) -> Rows:
    """The rows of lines of JSON that `blocks` gives, each time it is called; the number of a line is its row's place."""
    undeclared: list[Column] = []
    parser = BlockParser(contract)

    def read(block: Block) -> tuple[list[pa.RecordBatch], list[Column]]:
        parsed = None if block.faults else parser.parse(block.data)
        if parsed is None:
            found: list[Column] = []
            return list(_Lines(contract, found).batches(block)), found
        place = consecutive(block.first_line, len(parsed.columns[0]))
        return [batch_of(parsed.columns, contract.column_names, place)], undeclared_text(parsed.undeclared)

    def batches() -> Iterator[pa.RecordBatch]:
        undeclared.clear()
        with closing(in_order(partial(read, block) for block in blocks())) as results:
            for made, found in results:
                known = {c.name for c in undeclared}
                undeclared.extend(c for c in found if c.name not in known)
                yield from made

    return Rows(text_columns(contract), batches, undeclared, weight_bytes)


class _Refused(ValueError):
    """A line that is no row. The message is the reason."""


class _Number(str):
    """A JSON number as it is written, told apart from a string."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [k for k, _ in pairs]
        raise _Refused(f"the key `{next(k for k in keys if keys.count(k) > 1)}` is given more than once")
    return values


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON; write null where there is no value")


_FLAT = json.JSONDecoder(object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=_constant)
_EXACT = json.JSONDecoder(object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=_constant)


class _Lines:
    """Lines one by one."""

    def __init__(self, contract: Contract, undeclared: list[Column]) -> None:
        self._names = contract.column_names
        self._known = frozenset(self._names)
        self._freeze = contract.drift == "freeze"
        self._evolve = contract.drift == "evolve"
        self._older = contract.older_names
        self._formatted = [c for c in contract.columns if c.number_format]
        self._undeclared = undeclared

    def batches(self, block: Block) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, str | None]] = []
        places: list[int] = []
        problems: dict[int, Problem] = {}
        faults = block.faults or {}
        for number, line in enumerate(block.data.decode().split("\n")[:-1], block.first_line):
            if not line or line.isspace():
                continue
            places.append(number)
            try:
                if number in faults:
                    raise _Refused(faults[number])
                rows.append(self._row(line))
            except _Refused as refused:
                problems[len(rows)] = Problem(str(refused), line.strip("\r"))
                rows.append({})
            if len(rows) >= BATCH_ROWS:
                yield self._batch(rows, places, problems)
                rows, places, problems = [], [], {}
        if rows:
            yield self._batch(rows, places, problems)

    def _row(self, line: str) -> dict[str, str | None]:
        try:
            values = _FLAT.decode(line)
            if type(values) is not dict:
                raise _Refused(f"{_name_of(values)} stands on the line; expected a JSON object")
            if values.keys() != self._known:
                self._drift(values)
            if self._formatted:
                self._write_numbers_as_declared(line, values)
            for name, value in values.items():
                if type(value) is not str and value is not None:
                    values[name] = _text_of(value) if type(value) is bool else self._nested(line, name)
        except json.JSONDecodeError as bad:
            raise _Refused(f"not valid JSON: {bad.msg[0].lower()}{bad.msg[1:]} (character {bad.colno})") from None
        except RecursionError:
            raise _Refused("nested too deeply") from None
        return values

    def _write_numbers_as_declared(self, line: str, values: dict[str, Any]) -> None:
        found = _EXACT.decode(line)
        for column in self._formatted:
            written = [found[n] for n in (column.name, *column.renamed_from) if isinstance(found.get(n), _Number)]
            if written:
                values[column.name] = as_declared(column, str(written[0]))

    def _drift(self, values: dict[str, Any]) -> None:
        for older in self._older.keys() & values.keys():
            name = self._older[older]
            if name in values:
                raise _Refused(f"both the key `{name}` and its older name `{older}` are there; one of them is too much")
            values[name] = values.pop(older)
        extra = [k for k in values if k not in self._known]
        missing = [n for n in self._names if n not in values]
        if not extra and (not missing or not self._freeze):
            return
        if self._freeze or {k.lower() for k in extra} & {n.lower() for n in missing}:
            told = [(what, names) for what, names in (("missing", missing), ("not in the contract", extra)) if names]
            raise _Refused("keys " + "; ".join(f"{what}: {', '.join(f'`{n}`' for n in names)}" for what, names in told))
        if self._evolve and any(k.lower() in LINEAGE_COLUMNS for k in extra):
            raise _Refused(f"keys {', '.join(f'`{k}`' for k in extra)}: the platform adds a column of such a name; rename it")
        for key in extra:
            del values[key]
            if all(c.name != key for c in self._undeclared):
                self._undeclared += undeclared_text([key])

    def _nested(self, line: str, name: str) -> str:
        found = _EXACT.decode(line)
        older = (o for o, now in self._older.items() if now == name)
        return _text_of(next(found[n] for n in (name, *older) if n in found))

    def _batch(self, rows: list[dict[str, str | None]], places: list[int], problems: dict[int, Problem]) -> pa.RecordBatch:
        try:
            return text_batch([[row.get(n) for row in rows] for n in self._names], self._names, places, problems)
        except UnicodeEncodeError:
            for index, row in enumerate(rows):
                for name, value in row.items():
                    if value and any("\ud800" <= c <= "\udfff" for c in value):
                        problems[index] = Problem(_HALF_CHARACTER, json.dumps(value), name)
                        rows[index] = {}
            return text_batch([[row.get(n) for row in rows] for n in self._names], self._names, places, problems)


def _name_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    return "true or false" if isinstance(value, bool) else "a single value"


def _text_of(value: Any) -> str:
    """A JSON value as JSON text, its numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_text_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text_of(v) for v in value) + "]"
    if isinstance(value, _Number):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
