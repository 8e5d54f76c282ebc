"""Who may see which rows of a table, and how its columns are classified: what BigQuery is told when the table is published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from caudal.contracts.masking import is_masked

if TYPE_CHECKING:
    from caudal.contracts.columns import Column

_NAME = re.compile(r"[a-z][a-z0-9_]{0,255}")
_GRANTEE = re.compile(r"(?:user|group|serviceAccount|domain):\S+|allAuthenticatedUsers|principal(?:Set)?://\S+")
_KEYS = {"name", "grantees", "filter"}


@dataclass(frozen=True)
class RowPolicy:
    """Whoever is of `grantees` sees the rows for which `filter`, a condition in GoogleSQL, is true."""

    name: str
    grantees: tuple[str, ...]
    filter: str


@dataclass(frozen=True)
class Access:
    """How a table is to be guarded.

    Attributes:
        classified: by column, `a.b` for the field of a struct, how it is classified.
        rows: who sees which rows; empty: who may read the table sees all of them. With one or more, others see none.

    """

    classified: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[RowPolicy, ...] = ()


def classified(columns: Iterable[Column], above: str = "") -> dict[str, str]:
    """The columns that are not public, those inside a struct or a list of structs by their path."""
    found: dict[str, str] = {}
    for column in columns:
        path = f"{above}{column.name}"
        inside = (column.items or column).fields
        own = column.classification or (column.items.classification if column.items else None)
        if inside:
            found |= classified(inside, f"{path}.")
            if own is not None and is_masked(own):  # A tag is of a leaf: what is inside inherits it.
                found |= {f"{path}.{leaf.name}": own for leaf in inside if f"{path}.{leaf.name}" not in found}
        elif own is not None and is_masked(own):
            found[path] = own
    return found


def row_policies(value: Any) -> tuple[RowPolicy, ...]:
    """What `rowAccess` of a contract, or `meta.row_access` in dbt, declares.

    Raises:
        ValueError: it is not a list of name, grantees and filter.

    """
    found = []
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict) or set(each) != _KEYS:
            raise ValueError(f"{each!r}; expected `name`, `grantees` and `filter`")
        name, grantees, condition = each["name"], each["grantees"], each["filter"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r}; expected lower-case letters, digits and `_`")
        if not isinstance(grantees, list) or not grantees:
            raise ValueError(f"{name}: the grantees {grantees!r}; expected a list such as `[group:north@example.com]`")
        wrong = [g for g in grantees if not isinstance(g, str) or not _GRANTEE.fullmatch(g)]
        if wrong:
            raise ValueError(f"{name}: the grantee {wrong[0]!r}; expected such as `group:north@example.com`")
        if not isinstance(condition, str) or not condition.strip() or ";" in condition:
            raise ValueError(f"{name}: the filter {condition!r}; expected a condition such as `region = 'north'`")
        found.append(RowPolicy(name, tuple(grantees), condition.strip()))
    if len({policy.name for policy in found}) < len(found):
        raise ValueError("two policies have one name; expected a name of its own for each")
    return tuple(found)
