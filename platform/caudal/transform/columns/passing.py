"""What is made of classified columns, and is to be masked as they are, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from caudal.contracts.masking import Names, is_masked

if TYPE_CHECKING:
    from caudal.transform.columns.stored import StoredTable
    from caudal.transform.columns.values import Ref
    from caudal.transform.lineage import Key
    from caudal.transform.nodes import Node

_TEXT = ("VARCHAR", "TEXT", "STRING", "CHAR")


def passed_on(personal: Names, tables: Mapping[str, StoredTable], nodes: Mapping[Key, Node], node: Node) -> Iterator[str]:
    """The columns of `node` that are copies of columns called as in `personal`, or text that is computed of them.

    A number that is computed, such as a count of people, tells nobody. A model that classifies a column itself has said what
    it is.
    """
    seen: set[Ref] = set()

    def is_hidden(ref: Ref) -> bool:
        key, name = ref
        model = nodes.get(tuple(key.split("/")))
        said = next((c for c in model.columns if c.name.lower() == name), None) if model else None
        if said is not None and said.classification is not None:
            return is_masked(said.classification)
        if name in personal:
            return True
        table = tables.get(key)
        column = table.columns.get(name) if table else None
        if column is None or ref in seen:
            return False
        seen.add(ref)
        is_text = said is not None and said.data_type.upper().startswith(_TEXT)
        return any((is_copy or is_text) and is_hidden(origin) for origin, is_copy in column.origins.items())

    table = tables.get("/".join(node.key))
    for name, column in table.columns.items() if table else ():
        seen.clear()
        if is_hidden(("/".join(node.key), name)):
            yield column.name
