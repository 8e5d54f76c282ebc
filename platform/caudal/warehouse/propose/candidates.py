"""Types that a column may be declared as, each as ODCS writes it, and the column that the platform makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from caudal.contracts.declaring import property_of
from caudal.contracts.odcs import SchemaProperty
from caudal.contracts.properties import column_of

if TYPE_CHECKING:
    from caudal.contracts.columns import Column


@dataclass(frozen=True)
class Candidate:
    """A declaration that may hold for a column.

    Attributes:
        meaning: candidates of the same meaning give the same value; the first that accepts every value is taken.
        written: the ODCS properties of the type: `logicalType`, `physicalType`, `logicalTypeOptions`, ...
        told: what is to be said beside it.

    """

    meaning: str
    written: tuple[tuple[str, str], ...]
    told: str = ""

    @property
    def declared(self) -> dict[str, Any]:
        return {key: json.loads(value) for key, value in self.written}

    def column(self, name: str) -> Column:
        """The column, as the contract's reader makes it."""
        return replace(_column(self.written), name=name)

    def with_custom(self, name: str, value: Any) -> Candidate:
        """With one more custom property."""
        declared = self.declared
        declared["customProperties"] = [*declared.get("customProperties", []), {"property": name, "value": value}]
        return of_declared(self.meaning, declared, self.told)


def candidate(meaning: str, logical_type: str, told: str = "", **options: Any) -> Candidate:
    """A candidate of a logical type; `physical` is its `physicalType`, `custom` its custom properties, the rest are options."""
    declared: dict[str, Any] = {"logicalType": logical_type}
    custom = options.pop("custom", {})
    if physical := options.pop("physical", None):
        declared["physicalType"] = physical
    if options:
        declared["logicalTypeOptions"] = options
    if custom:
        declared["customProperties"] = [{"property": name, "value": value} for name, value in custom.items()]
    return of_declared(meaning, declared, told)


def of_declared(meaning: str, declared: Mapping[str, Any], told: str = "") -> Candidate:
    """A candidate of ODCS properties."""
    return Candidate(meaning, tuple((key, json.dumps(value, ensure_ascii=False)) for key, value in declared.items()), told)


def of_column(column: Column) -> Candidate:
    """A candidate that declares the column."""
    declared = {key: value for key, value in property_of(column).items() if key != "name"}
    return of_declared(column.logical_type, declared)


STRING = candidate("string", "string")


@lru_cache(maxsize=4096)
def _column(written: tuple[tuple[str, str], ...]) -> Column:
    declared = {key: json.loads(value) for key, value in written}
    return column_of(SchemaProperty.model_validate({"name": "value", **declared}))
