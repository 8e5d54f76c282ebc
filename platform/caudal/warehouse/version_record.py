"""What is written down of a version when it is published."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically
from caudal.warehouse.sql import identifier
from caudal.warehouse.versions import RECORD, Relation, Version, written

if TYPE_CHECKING:
    import duckdb


def record(
    folder: Path, connection: duckdb.DuckDBPyConnection, start: Version | None, parent: Version | None, said: Version
) -> None:
    """Write down what the candidate in `folder` holds, as `connection` sees it, and what is new beside `parent`.

    Args:
        start: what the candidate was copied from.
        parent: what readers see until it is published.
        said: the version, of which `relations` is empty and `changed` names what was made anew.

    """
    relations = dict(_relations(connection, start.relations if start else {}, said))
    with write_atomically(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(written(completed(said, relations, parent)), indent=1))


def completed(said: Version, relations: Mapping[str, Relation], parent: Version | None) -> Version:
    """The version with its relations, and in words what is new beside `parent`."""
    before = parent.relations if parent else {}
    changed = {
        name: _change(before.get(name), now)
        for name, now in relations.items()
        if name not in before or before[name].since != now.since
    }
    changed |= {name: "removed" for name in before if name not in relations}
    return replace(said, relations=relations, changed=changed)


def _relations(
    connection: duckdb.DuckDBPyConnection, before: Mapping[str, Relation], version: Version
) -> Iterator[tuple[str, Relation]]:
    """Only what is new is described (DuckDB knows how many rows a table has): the others are known from the version before."""
    told: Collection[str] = version.changed
    rows = connection.execute(
        "SELECT 'TABLE', schema_name || '.' || table_name AS name, sql FROM duckdb_tables() "
        "WHERE database_name = current_database() AND schema_name <> 'caudal' AND NOT temporary UNION ALL "
        "SELECT 'VIEW', schema_name || '.' || view_name, sql FROM duckdb_views() "
        "WHERE database_name = current_database() AND schema_name <> 'caudal' AND NOT internal AND NOT temporary ORDER BY name"
    ).fetchall()
    for kind, name, definition in rows:
        known = before.get(name)
        quoted = ".".join(map(identifier, name.split(".", 1)))
        count = connection.execute(f"SELECT count(*) FROM {quoted}").fetchall()[0][0] if kind == "TABLE" else None
        is_known = known is not None and (known.kind, known.definition, known.rows) == (kind, definition, count)
        if known is not None and is_known and name not in told:
            yield name, known
            continue
        described = connection.execute(f"DESCRIBE {quoted}").fetchall() if kind == "TABLE" else []
        yield name, Relation(kind, count, version.version, definition, {row[0]: row[1] for row in described})


def _change(before: Relation | None, now: Relation) -> str:
    if before is None:
        return f"new, {now.rows:,} rows" if now.rows is not None else "new view"
    if now.kind == "VIEW" or before.kind == "VIEW":
        return "the view is another one" if now.kind == before.kind else f"was a {before.kind.lower()}"
    told = [f"{before.rows:,} -> {now.rows:,} rows"]
    told += [f"column {name} added" for name in now.columns if name not in before.columns]
    told += [f"column {name} removed" for name in before.columns if name not in now.columns]
    both = [name for name in now.columns if name in before.columns and now.columns[name] != before.columns[name]]
    return "; ".join([*told, *(f"column {name} {before.columns[name]} -> {now.columns[name]}" for name in both)])
