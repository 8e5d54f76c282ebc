"""Whether text is the JSON that a contract declares, as a function in DuckDB, whose own check accepts what is no JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Contract

#: The SQL function (text, expected type) -> what is wrong, or NULL.
JSON_FAULT = "caudal_json_fault"


def provide_json_fault(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Define the function for the contract's objects and arrays, if it has any and it is not yet defined."""
    if not any(c.logical_type in ("object", "array") for c in contract.columns):
        return
    from duckdb.func import FunctionNullHandling, PythonUDFType

    known = connection.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [JSON_FAULT]).fetchone()
    if known is None:
        connection.create_function(
            JSON_FAULT,
            _faults,
            ["VARCHAR", "VARCHAR"],
            "VARCHAR",
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )


def json_fault(value: str, expected: str) -> str | None:
    """Why `value` is not the JSON text of an `object` or an `array`; None if it is.

    Args:
        value: the text.
        expected: `object` or `array`.

    """
    try:
        found = _DECODER.decode(value)
    except (ValueError, RecursionError) as bad:
        return f"not JSON: {bad}"
    return None if isinstance(found, dict if expected == "object" else list) else f"JSON, but not an {expected}"


def _faults(values: Any, expected: Any) -> Any:
    # DuckDB evaluates annotations, and Arrow is not imported at module level.
    import pyarrow as pa

    pairs = zip(values.to_pylist(), expected.to_pylist(), strict=True)
    return pa.array([None if value is None else json_fault(value, kind) for value, kind in pairs], pa.string())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given more than once")
    return values


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def strict_decoder(number: Callable[[str], Any]) -> json.JSONDecoder:
    """A decoder that refuses a key given twice, NaN and infinity. `number` is called with each number as it is written."""
    return json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_int=number, parse_float=number)


_DECODER = strict_decoder(str)
