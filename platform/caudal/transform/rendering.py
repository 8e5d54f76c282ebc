"""The SQL of each model, made from its template by dbt itself, without a database. Runs in dbt's process, after it has parsed.

An incremental model has two queries, one for the first time and one for later: both are made. A template that asks the database
something, as with `run_query`, has no SQL that is known beforehand, and that is what is written down of it.

This reaches into dbt-core 1.11; `tests/transform/test_rendering.py` says what it relies on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RENDERED = ("model", "snapshot")
#: Where queries cost money, tests are rendered too: they are to be estimated.
_RENDERED_FOR_MONEY = (*_RENDERED, "test")
_LONGEST_REASON = 300


class NeedsDatabase(RuntimeError):
    """A template asked the database something."""


def write_rendered(manifest: Any, path: Path) -> None:
    """Write the queries of each model, snapshot and, on BigQuery, test to `path`, as JSON: by unique id, `sql` or `unknown`."""
    from dbt.adapters.factory import FACTORY
    from dbt.compilation import Compiler

    adapter: Any = next(iter(FACTORY.adapters.values()))
    compiler = Compiler(adapter.config)
    found = {}
    kinds = _RENDERED_FOR_MONEY if adapter.type() == "bigquery" else _RENDERED
    with _without_database(adapter) as state:
        for unique_id, node in sorted(manifest.nodes.items()):
            if str(node.resource_type) in kinds and node.config.materialized != "ephemeral":
                found[unique_id] = _render(compiler, manifest, node, state)
    path.write_text(json.dumps(found, indent=0), encoding="utf-8")


def _render(compiler: Any, manifest: Any, node: Any, state: dict[str, Any]) -> dict[str, Any]:
    if str(node.language) == "python":
        return {"unknown": "it is a Python model"}
    state["this"] = (node.schema, node.alias)
    turns = (False, True) if node.config.materialized == "incremental" else (False,)
    queries = []
    for is_there in turns:
        state |= {"is_there": is_there, "asked": False}
        problem = None
        try:
            queries.append(_compiled(compiler, manifest, node))
        except Exception as raised:  # noqa: BLE001 - whatever a template does, the others are made
            problem = raised
        if state["asked"]:
            return {"unknown": "its SQL depends on what the database answers while it is compiled"}
        if problem is not None:
            told = " ".join(str(problem).split())[:_LONGEST_REASON]
            return {"unknown": f"dbt cannot compile it without a database: {told}"}
    return {"sql": list(dict.fromkeys(queries))}


def _compiled(compiler: Any, manifest: Any, node: Any) -> str:
    """A copy of the node is compiled, for dbt notes in a node what it compiled. What it keeps of ephemeral models may stay."""
    fresh = copy.copy(node)
    fresh.extra_ctes, fresh.extra_ctes_injected, fresh.compiled, fresh.compiled_code = [], False, False, None
    return compiler.compile_node(fresh, manifest, write=False).compiled_code.strip()


@contextmanager
def _without_database(adapter: Any) -> Generator[dict[str, Any]]:
    """`adapter` refuses to ask its database, and says that incremental models are there whenever `is_there` says so."""
    state: dict[str, Any] = {"is_there": False, "this": None}

    def refuse(*_: Any, **__: Any) -> Any:
        state["asked"] = True
        raise NeedsDatabase("a template asks the database")

    def get_relation(database: str, schema: str, identifier: str) -> Any:
        if (schema, identifier) != state["this"]:
            refuse()
        if not state["is_there"]:
            return None
        return adapter.Relation.create(database=database, schema=schema, identifier=identifier, type="table")

    connections = type(adapter.connections)
    replaced = {"execute": refuse, "get_relation": get_relation, "list_relations": refuse}
    replaced |= {"get_columns_in_relation": refuse, "execute_macro": refuse}
    opened = connections.get_thread_connection
    for name, function in replaced.items():
        setattr(adapter, name, function)
    connections.get_thread_connection = refuse
    try:
        yield state
    finally:
        connections.get_thread_connection = opened
        for name in replaced:
            delattr(adapter, name)
