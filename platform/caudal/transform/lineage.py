"""Who reads what in a dbt manifest, and what each resource is called as an asset.

What is no asset (ephemeral models, metrics, functions) is replaced by what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

Key = tuple[str, ...]
Resource = Mapping[str, Any]

_ASSETS = ("model", "seed", "snapshot")
_COLLECTIONS = ("nodes", "metrics", "semantic_models", "saved_queries", "functions")
_STAGES = {"seed": "seeds", "snapshot": "snapshots"}


def meta(resource: Resource) -> Resource:
    """The resource's `meta`, which dbt keeps in `config` and, of old, beside it."""
    return resource.get("config", {}).get("meta") or resource.get("meta") or {}


class Lineage:
    """The resources of a manifest by unique id, and the questions that are asked of all of them.

    Attributes:
        project: the project's name.
        assets: models (not ephemeral ones), seeds and snapshots.
        sources: the tables that the project reads and does not make.
        resources: `assets`, and all else that may stand between two of them.
        groups: dbt groups by name.

    """

    def __init__(self, document: Resource) -> None:
        self.project: str = document["metadata"]["project_name"]
        self.resources: dict[str, Resource] = {u: r for c in _COLLECTIONS for u, r in document.get(c, {}).items()}
        self.assets = {u: r for u, r in document["nodes"].items() if _is_asset(r)}
        self.sources: Mapping[str, Resource] = document.get("sources", {})
        self.groups: dict[str, Resource] = {g["name"]: g for g in document.get("groups", {}).values()}
        self._macros: Mapping[str, Resource] = document.get("macros", {})

    def parents(self, resource: Resource) -> tuple[str, ...]:
        """The unique ids of the assets and sources that `resource` reads, in the order in which it names them."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        pending = _reads(resource)[::-1]
        while pending:
            unique_id = pending.pop()
            if unique_id in seen:
                continue
            seen.add(unique_id)
            if unique_id in self.assets or unique_id in self.sources:
                found[unique_id] = None
            elif unique_id in self.resources:
                pending.extend(_reads(self.resources[unique_id])[::-1])
        return tuple(found)

    def key(self, unique_id: str) -> Key:
        """The asset key of an asset or source: its `meta.dagster.asset_key`, else made of its place in the project."""
        resource = self.sources.get(unique_id) or self.assets[unique_id]
        declared = meta(resource).get("dagster", {}).get("asset_key")
        if declared:
            return tuple(declared)
        if unique_id in self.sources:
            return ("raw", resource["source_name"], resource["name"])
        name = resource["name"] if resource.get("version") is None else f"{resource['name']}_v{resource['version']}"
        folders = PurePosixPath(resource["path"]).parent.parts
        if resource["resource_type"] in _STAGES:
            folders = (_STAGES[resource["resource_type"]], *folders)
        stage = folders[0] if folders else "models"
        domain = folders[1] if len(folders) > 1 else self.project
        return (stage, domain, name)

    def code_version(self, resource: Resource) -> str:
        """A checksum of the code that makes the resource: its own, that of ephemeral models in it and of macros it calls."""
        pieces = self.code(resource)
        digest = hashlib.sha256()
        for name in sorted(pieces):
            digest.update(f"{name}\0{pieces[name]}\0".encode())
        return digest.hexdigest()[:16]

    def code(self, resource: Resource) -> dict[str, str]:
        """The code that makes the resource, by unique id: its own, that of ephemeral models in it and of macros it calls."""
        pieces: dict[str, str] = {}
        macros: set[str] = set()
        pending = [resource]
        while pending:
            current = pending.pop()
            code = current.get("raw_code") or current.get("checksum", {}).get("checksum", "")
            pieces[current["unique_id"]] = f"{current['config'].get('materialized')}\n{code}"
            macros.update(current.get("depends_on", {}).get("macros", []))
            pending.extend(self.resources[p] for p in _reads(current) if p not in pieces and self._is_inlined(p))
        return pieces | {macro: self._macros[macro]["macro_sql"] for macro in self._called(macros)}

    def _is_inlined(self, unique_id: str) -> bool:
        return unique_id not in self.assets and self.resources.get(unique_id, {}).get("resource_type") == "model"

    def _called(self, macros: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        pending = list(macros)
        while pending:
            macro = pending.pop()
            if macro in self._macros and macro not in reached:
                reached.add(macro)
                pending.extend(self._macros[macro].get("depends_on", {}).get("macros", []))
        return reached


def _is_asset(resource: Resource) -> bool:
    return resource["resource_type"] in _ASSETS and resource["config"].get("materialized") != "ephemeral"


def _reads(resource: Resource) -> list[str]:
    return resource.get("depends_on", {}).get("nodes", [])
