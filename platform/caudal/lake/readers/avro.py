"""Avro object container files. Values keep the type that the file gives them; nothing is cut on the way.

A union with null is an optional value; a union of numbers is the type that holds them all exactly, and any other cannot be
kept. `bytes`, `fixed` and enums are text; a duration cannot be kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.lake.readers.avro_container import open_container
from caudal.lake.readers.avro_types import AvroType, NotDecoded, NotKept, SchemaCheck, avro_type, without_logical_types
from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.drift import match_columns, undeclared_columns
from caudal.lake.readers.parquet import carried
from caudal.lake.readers.parquet_types import kind_of
from caudal.lake.readers.rows import Problem, Rows, SourceColumn, Unreadable, batch_of, consecutive

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.lake.dataset import Dataset

_BATCH_ROWS = 8_192

#: A batch ends when it was made of so many bytes.
_BATCH_BYTES = 8 << 20

#: Decoding takes about so many times the size of the file, as Python objects and packed blocks.
_EXPANSION = 4

#: What the decoder raises of bytes that are not what the schema says.
_DAMAGED = (ValueError, LookupError, EOFError, TypeError, OverflowError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class _Field:
    """A field of the file's records that the contract has."""

    name: str
    type: AvroType
    column: SourceColumn


def read_avro(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no Avro file, has other columns than the contract, or one of a type that cannot be kept.

    """
    import pyarrow as pa

    head = head_of(file, path, "an Avro file")
    if not head.startswith(b"Obj\x01"):
        found = recognised(head) or "something else, perhaps text"
        raise Unreadable(f"{path}: this is {found}, not an Avro file. Deliver Avro, or declare the format otherwise")
    with file.open("rb") as opened:
        schema, named = _parsed(open_container(opened, path).schema, path)
    types: dict[str, AvroType | str] = {f["name"]: _type_or_reason(f["type"], named) for f in schema["fields"]}
    matched = match_columns(list(types), dataset.contract, path, "its schema")
    names = list(types)
    fields = tuple(
        _field(names[place], name, types[names[place]], path)
        for name, place in zip(dataset.contract.column_names, matched.positions, strict=True)
        if place is not None
    )
    kept = pa.schema([pa.field(name, t.arrow) for name, t in types.items() if isinstance(t, AvroType)])
    undeclared = undeclared_columns(kept, matched.ignored)
    columns = tuple(f.column for f in fields)
    plain = without_logical_types(schema)
    return Rows(columns, lambda: _read(fields, plain, file, path), undeclared, file.stat().st_size * _EXPANSION)


def _parsed(schema: Any, path: str) -> tuple[Any, dict[str, Any]]:
    """The schema of the records, and the types in it that have names."""
    import fastavro
    import fastavro.schema

    named: dict[str, Any] = {}
    try:
        parsed = fastavro.parse_schema(schema, named, _write_hint=False)
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise Unreadable(f"{path}: its schema is {parsed if isinstance(parsed, str) else 'no record'}; expected a record")
        size, _ = SchemaCheck(named).measure(parsed)
        if not size:
            raise NotDecoded("its records have no content")
    except NotDecoded as refused:
        raise Unreadable(f"{path}: the Avro schema is not read: {refused}") from None
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, *_DAMAGED) as broken:
        told = " ".join(str(broken).split())[:200]
        raise Unreadable(f"{path}: the Avro schema is none ({told}). Deliver the file again") from None
    return parsed, named


def _type_or_reason(schema: Any, named: dict[str, Any]) -> AvroType | str:
    try:
        return avro_type(schema, named)
    except NotKept as refused:
        return str(refused)


def _field(name: str, column: str, found: AvroType | str, path: str) -> _Field:
    carried_as = kind_of(found.arrow) if isinstance(found, AvroType) else None
    if isinstance(found, str) or carried_as is None:
        told = found if isinstance(found, str) else found.arrow
        raise Unreadable(
            f"{path}, column `{name}`: its type is {told}, whose values cannot be kept exactly. "
            "Write it as text, a number, a date or a timestamp"
        )
    return _Field(name, found, SourceColumn(column, *carried_as))


def _read(fields: Sequence[_Field], schema: Any, file: Path, path: str) -> Iterator[pa.RecordBatch]:
    import fastavro

    parsed = fastavro.parse_schema(schema)
    records: list[dict[str, Any]] = []
    first, size = 1, 0
    with file.open("rb") as opened:
        for number, (count, data) in enumerate(open_container(opened, path).blocks(), 1):
            stream = io.BytesIO(data)
            for _ in range(count):
                start = stream.tell()
                try:
                    record = fastavro.schemaless_reader(stream, parsed, None, handle_unicode_errors="surrogateescape")
                except _DAMAGED as broken:
                    raise _block_damaged(path, number, f"record {first + len(records)}: {broken}") from None
                assert isinstance(record, dict)
                records.append(record)
                size += stream.tell() - start
                if len(records) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                    yield _batch(fields, records, first)
                    first, size, records = first + len(records), 0, []
            if stream.tell() != len(data):
                raise _block_damaged(path, number, f"{len(data) - stream.tell()} bytes are left after its {count} records")
    if records:
        yield _batch(fields, records, first)


def _block_damaged(path: str, number: int, why: str) -> Unreadable:
    told = " ".join(why.split())[:200]
    return Unreadable(f"{path}, block {number}: the Avro file is damaged ({told}). Deliver it again")


def _batch(fields: Sequence[_Field], records: Sequence[dict[str, Any]], first: int) -> pa.RecordBatch:
    problems: dict[int, Problem] = {}
    arrays = [carried(_array(f, [r[f.name] for r in records], problems), f.column, problems) for f in fields]
    return batch_of(arrays, [f.column.name for f in fields], consecutive(first, len(records)), problems)


def _array(field: _Field, values: list[Any], problems: dict[int, Problem]) -> pa.Array:
    """The values in their Arrow type. One that does not fit it makes a refused row."""
    import pyarrow as pa

    convert, arrow = field.type.convert, field.type.arrow
    if convert is not None:
        values = [None if v is None else convert(v) for v in values]
    try:
        return pa.array(values, arrow)
    except (pa.ArrowException, *_DAMAGED):
        return pa.array([_fitting(v, i, field, problems) for i, v in enumerate(values)], arrow)


def _fitting(value: Any, index: int, field: _Field, problems: dict[int, Problem]) -> Any:
    import pyarrow as pa

    try:
        pa.array([value], field.type.arrow)
    except (pa.ArrowException, *_DAMAGED):
        shown = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        reason = "not UTF-8 text" if isinstance(value, str) else f"does not fit its type {field.type.arrow}"
        problems[index] = Problem(reason, shown, field.column.name)
        return None
    return value
