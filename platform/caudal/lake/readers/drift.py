"""The columns of a file against those of its contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caudal.contracts import Contract
from caudal.lake.readers.rows import Unreadable


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
    """Match column names: exactly, whatever their order, but for blanks around them.

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
    missing = [c for c in contract.columns if c.name not in places]
    unexpected = [n or f"(column {i} without a name)" for i, n in enumerate(names, 1) if n not in contract.column_names]
    lowered = {name.lower() for name in unexpected}
    none_found = len(missing) == len(contract.columns)
    strict = contract.drift == "freeze" or none_found
    refused = [c for c in missing if strict or c.required or c.name.lower() in lowered]
    if refused or (unexpected and contract.drift == "freeze"):
        raise Unreadable(_drift_message([c.name for c in refused], unexpected, contract, path, where))
    return Matched(tuple(places.get(c.name) for c in contract.columns), tuple(unexpected))


def _drift_message(missing: list[str], unexpected: list[str], contract: Contract, path: str, where: str) -> str:
    pieces = []
    if missing:
        pieces.append(f"missing: {_list(missing)}")
    if unexpected:
        pieces.append(f"not in the contract: {_list(unexpected)}")
    lowered = {name.lower(): name for name in missing}
    pieces += [f"`{u}` differs from `{lowered[u.lower()]}` only in case" for u in unexpected if u.lower() in lowered]
    if not set(contract.column_names) - set(missing):
        pieces.append("none of the declared columns is there: is this the header?")
    remedy = "Correct the file, or the contract"
    if contract.drift == "freeze" and not any(c.required for c in contract.columns if c.name in missing):
        remedy += ", or declare `driftPolicy: ignore` there"
    return f"{path}, {where}: columns {'; '.join(pieces)}. {remedy}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(name if name.startswith("(") else f"`{name}`" for name in names)
