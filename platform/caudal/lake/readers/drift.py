"""The columns of a file against those of its contract.

| in the file | under `freeze` | under `ignore` and `evolve` |
|---|---|---|
| in another order | read | read |
| a column that the contract does not have | refused | left out and told; `evolve` then adds it to the contract |
| a column under a name that the contract declares as an older one | read | read |
| under an older name and the new one at once | refused | refused |
| an optional column is missing | refused | filled with nulls |
| a required column is missing | refused | refused |
| a name twice; a name that differs in case only; none of the declared columns | refused | refused |
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.contracts import LINEAGE_COLUMNS, Column, Contract
from caudal.lake.readers.rows import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa

#: Names that share so much are taken for one that was changed.
_ALIKE = 0.6


@dataclass(frozen=True)
class Matched:
    """Where the contract's columns stand in the file.

    Attributes:
        positions: of each column of the contract, in its order; None where the file does not have it.
        ignored: columns of the file that are left out.

    """

    positions: tuple[int | None, ...]
    ignored: tuple[str, ...]


def match_columns(found: Sequence[str], contract: Contract, path: str, where: str) -> Matched:
    """Match column names, or their older ones: exactly, whatever their order, but for blanks around them.

    Args:
        found: the names in the file's order; "" for a column without one.
        where: where they stand, such as `line 1`.

    Raises:
        Unreadable: a name twice; or what the contract's drift policy does not allow.

    """
    names = [name.strip() for name in found]
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name)
    if twice:
        raise Unreadable(f"{path}, {where}: {_list(twice)} stands there more than once; a column must have a name of its own")
    places = {name: place for place, name in enumerate(names) if name}
    found_as = {c.name: _name_in_file(c, places, path, where) for c in contract.columns}
    missing = [c for c in contract.columns if found_as[c.name] is None]
    known = set(found_as.values())
    unexpected = [n or f"(column {i} without a name)" for i, n in enumerate(names, 1) if n not in known]
    added = [name for name in unexpected if name.lower() in LINEAGE_COLUMNS]
    if added and contract.drift != "ignore":
        raise Unreadable(f"{path}, {where}: {_list(added)}: the platform adds a column of this name. Rename it in the file")
    lowered = {name.lower() for name in unexpected}
    none_found = len(missing) == len(contract.columns)
    strict = contract.drift == "freeze" or none_found
    refused = [c for c in missing if strict or c.required or c.name.lower() in lowered]
    if refused or (unexpected and contract.drift == "freeze"):
        raise Unreadable(_drift_message([c.name for c in refused], unexpected, contract, path, where))
    positions = (None if (name := found_as[c.name]) is None else places[name] for c in contract.columns)
    return Matched(tuple(positions), tuple(unexpected))


def column_of(field: pa.Field) -> Column | None:
    """The column that a typed column of a file could be declared as, so that none of its values is refused or changed.

    Returns:
        A nullable column; None for a type that cannot be kept. What has no type of its own in a contract (a map, a struct
        whose names differ in case only) is JSON text.

    """
    from caudal.lake.readers.parquet_types import kind_of

    found = kind_of(field.type)
    if found is None:
        return None
    kind, carried = found
    match kind:
        case "text":
            return Column(field.name, "string")
        case "boolean" | "integer" | "date":
            return Column(field.name, kind)
        case "unsigned":
            return Column(field.name, "number", precision=20, scale=0)
        case "decimal":
            return Column(field.name, "number", precision=carried.precision, scale=carried.scale)
        case "float" | "double":
            return Column(field.name, "number")
        case "time" | "time_ns":
            return Column(field.name, "time")
        case "timestamp" | "timestamp_ns" | "timestamptz" | "timestamptz_ns":
            return Column(field.name, "timestamp", timezone=kind.startswith("timestamptz"))
        case "nested":
            return _nested(field)


def undeclared_columns(schema: pa.Schema, ignored: Sequence[str]) -> list[Column]:
    """The columns of a typed file that its contract does not have, but those whose type cannot be kept."""
    fields = {field.name.strip(): field for field in schema}
    columns = (column_of(fields[name].with_name(name)) for name in ignored if name in fields)
    return [column for column in columns if column is not None]


def _nested(field: pa.Field) -> Column:
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        inner = [column_of(field.type.field(i)) for i in range(field.type.num_fields)]
        names = {c.name.lower() for c in inner if c is not None and c.name}
        whole = len(names) == len(inner)
        return Column(field.name, "object", fields=tuple(c for c in inner if c is not None) if whole else ())
    if pa.types.is_map(field.type):
        return Column(field.name, "object")
    item = column_of(field.type.value_field.with_name("items"))
    return Column(field.name, "array", items=item)


def _name_in_file(column: Column, places: dict[str, int], path: str, where: str) -> str | None:
    """The column's name, or the older one that it has in the file."""
    found = [name for name in (column.name, *column.renamed_from) if name in places]
    if len(found) > 1:
        raise Unreadable(
            f"{path}, {where}: {_list(found)} stand there, and the contract says that they are one column (`renamedFrom`). "
            "Leave one out, or declare them as two columns"
        )
    return found[0] if found else None


def _drift_message(missing: list[str], unexpected: list[str], contract: Contract, path: str, where: str) -> str:
    pieces = []
    if missing:
        pieces.append(f"missing: {_list(missing)}")
    if unexpected:
        pieces.append(f"not in the contract: {_list(unexpected)}")
    lowered = {name.lower(): name for name in missing}
    pieces += [f"`{u}` differs from `{lowered[u.lower()]}` only in case" for u in unexpected if u.lower() in lowered]
    pieces += _renamed(missing, unexpected)
    if not set(contract.column_names) - set(missing):
        pieces.append("none of the declared columns is there: is this the header?")
    remedy = "Correct the file, or the contract"
    if contract.drift == "freeze" and not any(c.required for c in contract.columns if c.name in missing):
        remedy += ", or declare `driftPolicy: ignore` there"
    return f"{path}, {where}: columns {'; '.join(pieces)}. {remedy}"


def _renamed(missing: Sequence[str], unexpected: Sequence[str]) -> list[str]:
    """What to declare where a missing column and a new one look like one that was renamed."""
    left, pieces = [u for u in unexpected if u.lower() not in {m.lower() for m in missing}], []
    for name in missing:
        alike = difflib.get_close_matches(name.lower(), [u.lower() for u in left], 1, _ALIKE)
        found = next((u for u in left if alike and u.lower() == alike[0]), None)
        if found:
            left.remove(found)
            pieces.append(f"if `{name}` is now `{found}`, rename the column and declare `renamedFrom: [{name}]` there")
    return pieces


def _list(names: Sequence[str]) -> str:
    return ", ".join(name if name.startswith("(") else f"`{name}`" for name in names)
