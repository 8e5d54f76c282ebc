"""JSON text of structs and lists -> structs and lists of text, as functions in DuckDB, which would round the numbers.

Of each JSON value the text is kept as it is written, and what is no such struct or list is told with its path; the texts
become values in SQL, by the same rules as those of columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from caudal.contracts.native_text import as_declared
from caudal.lake.readers.json_plain import PlainParser
from caudal.warehouse.json_text import json_fault, strict_decoder

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.contracts import Column, Contract

_HALF_CHARACTER = "half of a surrogate pair, which is no character"


class _Fault(ValueError):
    """What is wrong at a path, both as they are told: `.price: not a number`."""


class _Number(str):
    """A JSON number as it is written, told apart from a string."""

    __slots__ = ()


def function_name(column: Column) -> str:
    """The SQL function (JSON text) -> STRUCT(fault, value): what is wrong and where, or the texts."""
    return f"caudal_split_{hashlib.sha256(column.to_json().encode()).hexdigest()[:16]}"


def text_type(column: Column) -> str:
    """DuckDB's type of the column with texts in the place of all values."""
    if column.items is not None:
        return f"{text_type(column.items)}[]"
    if column.fields:
        inner = ", ".join(f'"{c.name.replace(chr(34), chr(34) * 2)}" {text_type(c)}' for c in column.fields)
        return f"STRUCT({inner})"
    return "VARCHAR"


def provide_split(connection: duckdb.DuckDBPyConnection, contract: Contract) -> set[str]:
    """Define the functions of the contract's structs and lists anew.

    Returns:
        A set that will hold the path of each key that is left out, where the drift policy allows it.

    """
    from duckdb.func import FunctionNullHandling, PythonUDFType

    left_out: set[str] = set()
    for column in contract.columns:
        if not column.is_nested:
            continue
        name, returned = function_name(column), f'STRUCT(fault VARCHAR, "value" {text_type(column)})'
        if connection.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [name]).fetchall():
            connection.remove_function(name)
        connection.create_function(
            name,
            _function(column, left_out if contract.drift != "freeze" else None),
            ["VARCHAR"],
            returned,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    return left_out


def _function(column: Column, left_out: set[str] | None) -> Callable[[Any], Any]:
    """The function over Arrow arrays. DuckDB evaluates annotations, and Arrow is not imported at module level: it has none."""
    split = _splitter(column, column.name, left_out)
    kept: list[PlainParser] = []

    def split_text(text: str | None) -> dict[str, Any] | None:
        if text is None or _is_blank(text):
            return None
        try:
            value = split(_DECODER.decode(text))
        except _Fault as fault:
            return {"fault": f"{column.name}{fault}" if str(fault)[:1] in ".[" else str(fault)[2:], "value": None}
        except RecursionError:
            return {"fault": "nested too deeply", "value": None}
        except ValueError as bad:
            return {"fault": f"not JSON: {bad}", "value": None}
        return {"fault": None if value is not None else f"JSON, but not an {column.logical_type}", "value": value}

    def split_all(values: Any) -> Any:
        import pyarrow as pa

        kind = pa.struct([("fault", pa.string()), ("value", _arrow_type(column))])
        texts = values.to_pylist()
        if not kept:
            kept.append(PlainParser(column, kind.field("value").type))
        plain = _plainly(kept[0], texts)
        if plain is not None:
            faults, missing = pa.nulls(len(texts), pa.string()), pa.array([_is_blank(t) for t in texts])
            return pa.StructArray.from_arrays([faults, plain], fields=list(kind), mask=missing)
        found = [split_text(text) for text in texts]
        try:
            return pa.array(found, kind)
        except UnicodeEncodeError:
            return pa.array([row if _is_text(row) else {"fault": _HALF_CHARACTER, "value": None} for row in found], kind)

    return split_all


def _is_blank(text: str | None) -> bool:
    return text is None or not text.strip(" ")


def _plainly(parser: PlainParser, texts: list[str | None]) -> pa.Array | None:
    """What the texts are by Arrow's parser; None where they need a closer look."""
    import pyarrow as pa

    present = [text for text in texts if text is not None and not _is_blank(text)]
    found = parser.split(present)
    if found is None or len(present) == len(texts):
        return found
    places = iter(range(len(present)))
    return found.take(pa.array([None if _is_blank(t) else next(places) for t in texts], pa.int64()))


def _arrow_type(column: Column) -> pa.DataType:
    import pyarrow as pa

    if column.items is not None:
        return pa.list_(_arrow_type(column.items))
    if column.fields:
        return pa.struct([(c.name, _arrow_type(c)) for c in column.fields])
    return pa.string()


def _splitter(column: Column, path: str, left_out: set[str] | None) -> Callable[[Any], Any]:
    if column.items is not None:
        return _list_splitter(_splitter(column.items, f"{path}[]", left_out))
    if column.fields:
        return _struct_splitter(column, path, left_out)
    if column.logical_type in ("object", "array"):
        return _json_splitter(column.logical_type)
    number_format, is_string = column.number_format, column.logical_type == "string"

    def leaf(value: Any) -> str | None:
        kind = type(value)
        if kind is str or value is None:
            return value
        if kind is _Number:
            return as_declared(column, str(value)) if number_format else str(value)
        if kind is bool:
            return "true" if value else "false"
        if is_string:
            return _text_of(value)
        raise _Fault(f": {_named(value)}; expected a single value")

    return leaf


def _struct_splitter(column: Column, path: str, left_out: set[str] | None) -> Callable[[Any], Any]:
    fields = [(c.name, _splitter(c, f"{path}.{c.name}", left_out)) for c in column.fields]
    known = frozenset(name for name, _ in fields)
    required = column.required_keys

    def check(value: dict[str, Any]) -> None:
        extra = [key for key in value if key not in known]
        missing = {name.lower(): name for name in known if name not in value}
        alike = next((key for key in extra if key.lower() in missing), None)
        if alike is not None:
            raise _Fault(f".{alike}: the key differs from `{missing[alike.lower()]}` only in case")
        if extra and left_out is None:
            raise _Fault(f".{extra[0]}: the key is not in the contract")
        if left_out is not None:
            left_out.update(f"{path}.{key}" for key in extra)
        for name in required:
            if name not in value:
                raise _Fault(f".{name}: the key is missing")

    def struct(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        if type(value) is not dict:
            raise _Fault(f": {_named(value)}; expected an object")
        if value.keys() != known:
            check(value)
        found: dict[str, Any] = {}
        name = ""
        try:
            for name, split in fields:
                found[name] = split(value.get(name))
        except _Fault as fault:
            raise _Fault(f".{name}{fault}") from None
        return found

    return struct


def _list_splitter(split: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def listed(value: Any) -> list[Any] | None:
        if value is None:
            return None
        if type(value) is not list:
            raise _Fault(f": {_named(value)}; expected an array")
        found: list[Any] = []
        try:
            for item in value:
                found.append(split(item))  # noqa: PERF401 - how many there are tells where a fault is
        except _Fault as fault:
            raise _Fault(f"[{len(found)}]{fault}") from None
        return found

    return listed


def _json_splitter(expected: str) -> Callable[[Any], Any]:
    def nested(value: Any) -> str | None:
        text = value if value is None or type(value) is str else _text_of(value)
        fault = None if text is None else json_fault(text, expected)
        if fault:
            raise _Fault(f": {fault}")
        return text

    return nested


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", _Number: "a number"}
    return names.get(type(value), "text")


def _text_of(value: Any) -> str:
    """A JSON value as JSON text, its numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_text_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text_of(v) for v in value) + "]"
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _is_text(row: Any) -> bool:
    return all(c < "\ud800" or c > "\udfff" for text in _texts(row) for c in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


_DECODER = strict_decoder(_Number)
