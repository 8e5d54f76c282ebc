"""What the metadata of assets says of tables, whoever declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Dagster's name for it, and the one that it had before.
_RELATION = ("dagster/table_name", "dagster/relation_identifier")


def relation_of(metadata: Mapping[str, Any]) -> str:
    """The `schema.name` of the table that an asset with this metadata is, or tells of; "" if there is none."""
    told = next((value for name in _RELATION if (value := metadata.get(name)) is not None), "")
    return str(getattr(told, "value", told))
