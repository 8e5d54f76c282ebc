"""JSON lines: one object a line.

A number is kept as it is written, never as a float; an object or a list is kept as JSON text. A line that is no JSON object,
or gives a key twice, is a rejected row; under the drift policy `freeze`, so is an object with a key more or less than the
contract. Blank lines are no rows.

Blocks whose lines are all plainly what the contract says are parsed by Arrow, the others line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from caudal.lake.dataset import Dataset
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
from caudal.lake.readers.text import Block, open_text, read_blocks

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column, Contract

_HALF_CHARACTER = "half of a surrogate pair, which is no character"


def read_jsonl(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no such text.

    """
    head = open_text(file, path, dataset.encoding, "JSON lines")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise Unreadable(f"{path}: it starts with `[`, as a JSON array does. Expected JSON lines: one object a line, no array")
    undeclared: list[Column] = []
    lines = _Lines(dataset.contract, undeclared)
    blocks = BlockParser(dataset.contract, undeclared)

    def batches() -> Iterator[pa.RecordBatch]:
        undeclared.clear()
        for block in read_blocks(file, path, dataset.encoding):
            columns = blocks.parse(block.data)
            if columns is None:
                yield from lines.batches(block)
            else:
                place = consecutive(block.first_line, len(columns[0]))
                yield batch_of(columns, dataset.contract.column_names, place)

    return Rows(text_columns(dataset.contract), batches, undeclared, file.stat().st_size)


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
        self._undeclared = undeclared

    def batches(self, block: Block) -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, str | None]] = []
        places: list[int] = []
        problems: dict[int, Problem] = {}
        for number, line in enumerate(block.data.decode().split("\n")[:-1], block.first_line):
            if not line or line.isspace():
                continue
            places.append(number)
            try:
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
            for name, value in values.items():
                if type(value) is not str and value is not None:
                    values[name] = _text_of(value) if type(value) is bool else self._nested(line, name)
        except json.JSONDecodeError as bad:
            raise _Refused(f"not valid JSON: {bad.msg[0].lower()}{bad.msg[1:]} (character {bad.colno})") from None
        except RecursionError:
            raise _Refused("nested too deeply") from None
        return values

    def _drift(self, values: dict[str, Any]) -> None:
        extra = [k for k in values if k not in self._known]
        missing = [n for n in self._names if n not in values]
        if self._freeze or {k.lower() for k in extra} & {n.lower() for n in missing}:
            told = [(what, names) for what, names in (("missing", missing), ("not in the contract", extra)) if names]
            raise _Refused("keys " + "; ".join(f"{what}: {', '.join(f'`{n}`' for n in names)}" for what, names in told))
        for key in extra:
            del values[key]
            if all(c.name != key for c in self._undeclared):
                self._undeclared += undeclared_text([key])

    @staticmethod
    def _nested(line: str, name: str) -> str:
        return _text_of(_EXACT.decode(line)[name])

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
