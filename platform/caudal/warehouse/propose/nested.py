"""Objects and arrays in JSON text: declared as structs and lists where every one of them is alike, else kept as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from caudal.warehouse.propose.candidates import of_declared
from caudal.warehouse.propose.kinds import Inferred, decimal_size
from caudal.warehouse.propose.personal import suspicion
from caudal.warehouse.propose.values import Values

#: Different texts that are looked at; whether all fit is seen when the sample is read with the proposal.
_LOOKED_AT = 10_000

#: Objects of more keys than this are as likely to have dynamic ones.
_KEYS = 100

_INTEGER_DIGITS = 18


class _Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


class _Unlike(Exception):
    """The values are not alike. The message says how."""


def structured(values: Values, inferred: Inferred) -> Inferred:
    """The declaration of an object or array, with what is inside if that is always the same."""
    texts = [s for s, _ in values.listed(_LOOKED_AT) if s not in values.markers]
    decode = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode
    try:
        inside = _declared([decode(s) for s in texts])
    except _Unlike as unlike:
        return replace(inferred, notes=(*inferred.notes, f"kept as JSON text: {unlike}"))
    declared = inferred.chosen.declared
    return replace(inferred, chosen=of_declared(inferred.chosen.meaning, {**declared, **inside}))


def plain(declared: dict[str, Any]) -> dict[str, Any]:
    """A declaration without what is inside."""
    return {key: value for key, value in declared.items() if key not in ("properties", "items")}


def personal(declared: dict[str, Any]) -> str | None:
    """Why something inside may be personal data, by the names of what is inside; or None."""
    for inside in (*declared.get("properties", ()), *([declared["items"]] if "items" in declared else ())):
        name = inside.get("name", "")
        if why := suspicion(name, []):
            return f"inside it `{name}`, {why}"
        if why := personal(inside):
            return why
    return None


def _declared(found: Sequence[Any], path: str = "") -> dict[str, Any]:
    """The ODCS properties of values that are alike; nulls are like any."""
    present = [v for v in found if v is not None]
    kinds = {type(v) for v in present}
    if not kinds:
        raise _Unlike(f"no value{_at(path)}, so that its type is not known")
    if len(kinds) > 1:
        raise _Unlike(f"values of different types{_at(path)}")
    (kind,) = kinds
    if kind is dict:
        return _object(present, path)
    if kind is list:
        return {"logicalType": "array", "items": _declared([item for v in present for item in v], f"{path}[]")}
    if kind is bool:
        return {"logicalType": "boolean"}
    return _number(present) if kind is _Number else {"logicalType": "string"}


def _object(present: Sequence[dict[str, Any]], path: str) -> dict[str, Any]:
    keys = {key: None for v in present for key in v}
    always = set.intersection(*(set(v) for v in present))
    if set(keys) != always:
        some = sorted(k for k in keys if k not in always)
        listed = ", ".join(f"`{k}`" for k in some[:3]) + (", ..." if len(some) > 3 else "")
        raise _Unlike(f"not every object{_at(path)} has {listed}")
    if not keys or len(keys) > _KEYS or len({k.lower() for k in keys}) < len(keys) or "" in keys:
        raise _Unlike(f"{len(keys)} keys{_at(path)}")
    inside = ((key, _declared([v[key] for v in present], f"{path}.{key}")) for key in keys)
    return {"logicalType": "object", "properties": [{"name": key, **declared} for key, declared in inside]}


def _number(present: Sequence[str]) -> dict[str, Any]:
    if all(re.fullmatch(r"-?\d+", v) and len(v) <= _INTEGER_DIGITS for v in present):
        return {"logicalType": "integer"}
    if any("e" in v.lower() for v in present):
        return {"logicalType": "number", "physicalType": "DOUBLE"}
    before = max(len(v.lstrip("-").partition(".")[0].lstrip("0")) for v in present)
    after = max(len(v.partition(".")[2]) for v in present)
    precision, scale = decimal_size(before, after)
    fits = before + scale <= precision
    return {"logicalType": "number", "physicalType": f"DECIMAL({precision},{scale})" if fits else "DOUBLE"}


def _at(path: str) -> str:
    return f" at {path.lstrip('.')}" if path else ""
