"""Which columns identify a row of a model, as its tests declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Key = tuple[str, ...]


def declared_keys(document: Mapping[str, Any]) -> dict[str, Key]:
    """By relation, from a manifest's JSON: the column of a test `unique`, else those of `unique_combination_of_columns`."""
    nodes = document["nodes"]
    found: dict[str, Key] = {}
    for name in ("unique_combination_of_columns", "unique"):
        for test in sorted(nodes.values(), key=lambda node: node["unique_id"], reverse=True):
            generic = test.get("test_metadata") or {}
            about = nodes.get(test.get("attached_node"))
            if generic.get("name") != name or about is None:
                continue
            columns = generic["kwargs"].get("combination_of_columns") or [
                test.get("column_name") or generic["kwargs"]["column_name"]
            ]
            found[f"{about['schema']}.{about['alias']}"] = tuple(column.strip('"') for column in columns)
    return found
