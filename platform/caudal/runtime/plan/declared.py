"""Columns of contracts and of dbt models as `DeclaredColumn`s, and dbt's nodes as `Asset`s without their graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from caudal.contracts.declaring import property_of
from caudal.runtime.plan.snapshot import DeclaredColumn

if TYPE_CHECKING:
    from caudal.contracts import Column, Contract
    from caudal.lake.dataset import Dataset
    from caudal.transform.lineage import Lineage, Resource

#: Options of a column that limit its values, and those that tell how text becomes a value.
_LIMITS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems",
    "maxItems", "uniqueItems", "required",
)  # fmt: skip
_READING_OPTIONS = ("format",)
_READING = ("numberFormat", "duration", "trueValues", "falseValues", "nullMarkers")
#: What of a dataset is told elsewhere: in its columns, its asset's key or its asset.
_TOLD_ELSEWHERE = ("contract", "source", "name", "owners")
#: Configuration of dbt that decides what is built, and how.
_CONFIG = (
    "materialized",
    "incremental_strategy",
    "unique_key",
    "on_schema_change",
    "full_refresh",
    "enabled",
    "contract",
    "access",
)


def contract_columns(contract: Contract) -> tuple[DeclaredColumn, ...]:
    """The columns of a contract, and those inside them."""
    key = {name: place for place, name in enumerate(contract.primary_key, start=1)}
    return tuple(found for column in contract.columns for found in _declared(column, column.name, key.get(column.name)))


def dataset_settings(dataset: Dataset) -> dict[str, str]:
    """What is declared of a dataset, but for its columns, where it is not the default."""
    contract = dataset.contract
    defaults = {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields(dataset)}
    given = {f.name: getattr(dataset, f.name) for f in fields(dataset) if f.name not in _TOLD_ELSEWHERE}
    told = {name: f"{value}" for name, value in given.items() if value != defaults[name]}
    said = {"drift policy": contract.drift, "contract version": contract.version, "contract owner": contract.owner or ""}
    return {name: value for name, value in {**told, **said}.items() if value}


def node_columns(resource: Resource, tests: Mapping[str, list[Resource]]) -> tuple[DeclaredColumn, ...]:
    """The columns that a model, seed or snapshot declares, with what its tests promise of them.

    Args:
        tests: the generic tests of the node that block, by column's name in small letters.

    """
    found = []
    for column in resource.get("columns", {}).values():
        said = (column.get("config") or {}).get("meta") or column.get("meta") or {}
        metadata = [test["test_metadata"] for test in tests.get(column["name"].lower(), ())]
        named = {each["name"] for each in metadata}
        allowed = [(each.get("kwargs") or {}).get("values") or () for each in metadata if each["name"] == "accepted_values"]
        constraints = {constraint.get("type") for constraint in column.get("constraints") or ()}
        found.append(
            DeclaredColumn(
                name=column["name"],
                type=(column.get("data_type") or "").upper(),
                description=(column.get("description") or "").strip(),
                required="not_null" in named | constraints,
                unique="unique" in named | constraints,
                unit=str(said.get("unit") or ""),
                classification=str(said.get("classification") or ""),
                allowed=tuple(f"{value}" for values in allowed for value in values),
            )
        )
    return tuple(found)


def node_code(resource: Resource, lineage: Lineage) -> dict[str, str]:
    """Fingerprints of what makes a node: `SQL`, `ephemeral model x`, `macro x`."""
    own = resource["unique_id"]
    found = {}
    for unique_id, text in lineage.code(resource).items():
        kind, _, name = unique_id.partition(".")
        short = name.rpartition(".")[2]
        label = "SQL" if unique_id == own else f"macro {name}" if kind == "macro" else f"ephemeral model {short}"
        # How it is materialized is told as configuration.
        found[label] = fingerprint(text if kind == "macro" else text.partition("\n")[2])
    return found


def node_settings(resource: Resource) -> dict[str, str]:
    """The configuration of a dbt node, as far as it decides what is built."""
    config = resource["config"]
    found = {name: config.get(name) for name in _CONFIG}
    found["contract"] = (config.get("contract") or {}).get("enforced")
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value not in (None, name == "enabled", "")
    }


def fingerprint(text: str | bytes) -> str:
    """A short hash."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:12]


def _declared(column: Column, name: str, key: int | None) -> Iterator[DeclaredColumn]:
    told = property_of(column)
    options: Mapping[str, Any] = told.get("logicalTypeOptions", {})
    custom = {each["property"]: each["value"] for each in told.get("customProperties", ())}
    reading = {n: options[n] for n in _READING_OPTIONS if n in options} | {n: custom[n] for n in _READING if n in custom}
    yield DeclaredColumn(
        name=name,
        type=column.duckdb_type,
        description=column.description,
        required=column.required,
        unique=column.unique,
        key=key,
        unit=column.unit or "",
        classification=column.classification or "",
        allowed=tuple(f"{value}" for value in column.allowed),
        limits={n: json.dumps(options[n], ensure_ascii=False) for n in _LIMITS if n in options},
        reading={n: json.dumps(value, ensure_ascii=False) for n, value in reading.items()},
        renamed_from=column.renamed_from,
    )
    for inner in column.fields:
        yield from _declared(inner, f"{name}.{inner.name}", None)
    if column.items is not None:
        yield from _declared(column.items, f"{name}[]", None)
