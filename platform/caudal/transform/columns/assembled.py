"""The models above a table, put together to one query over the raw tables."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from caudal.transform.columns.project import COLUMNS, RENDERED
from caudal.transform.columns.provenance import LAKE, NotCarried, carrying
from caudal.transform.columns.stored import Stored
from caudal.transform.columns.values import Column, Unresolved
from caudal.transform.lineage import Lineage, meta
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from sqlglot import exp

    from caudal.transform.manifest import Manifest

_NO_LAKE = 'CAST([] AS STRUCT(dataset VARCHAR, file VARCHAR, version VARCHAR, "row" BIGINT)[])'


class Plan:
    """The query that is put together for one table.

    Attributes:
        key: the table's asset key, joined by `/`.
        published: the table, as it is read.
        sql: the query. It has the table's columns, and `LAKE`.
        notes: what must be known of the answer.
        whole_sources: unique ids of raw tables of which all files may have been used.

    """

    def __init__(self, manifest: Manifest, table: str) -> None:
        document = json.loads(manifest.path.read_text(encoding="utf-8"))
        self.lineage = Lineage(document)
        self.stored = Stored.read(manifest.path.with_name(COLUMNS)).tables
        self.rendered = json.loads(manifest.path.with_name(RENDERED).read_text(encoding="utf-8"))
        self.notes: list[str] = []
        self.whole_sources: dict[str, None] = {}
        self.ctes: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.target = self._find(table)
        self.key = "/".join(self.lineage.key(self.target))
        self.published = self._relation(self.lineage.assets[self.target])
        self.sql = ""
        self._aggregates: Collection[str] = ()
        self._not_carried: set[str] = set()
        self._places = {
            (str(r["schema"]).lower(), (r.get("identifier") or r.get("alias") or r["name"]).lower()): unique_id
            for unique_id, r in {**self.lineage.sources, **self.lineage.assets}.items()
        }

    def build(self, aggregates: Collection[str]) -> None:
        """Put the query together; `aggregates` are the names of DuckDB's functions that aggregate."""
        self._aggregates = aggregates
        name = self._carried(self.target)
        self.sql = "WITH " + ",\n".join(f"{name} AS ({body})" for name, body in self.ctes.items()) + f"\nSELECT * FROM {name}"
        across = [column.name for column in self._columns(self.target) if column.across]
        if across and self.target not in self._not_carried:
            self.notes.append(
                f"{', '.join(across)}: computed from other rows as well (a window); the files of those are not named"
            )

    def give_up(self, reason: str) -> None:
        """Nothing is known exactly."""
        self.notes = [f"upper bound: {reason}"]
        self._bound(self.target)

    @property
    def comparable(self) -> list[str]:
        """Columns that come out the same when they are computed again from the same rows."""
        return [column.name for column in self._columns(self.target) if not column.across]

    def _columns(self, unique_id: str) -> list[Column]:
        found = self.stored.get("/".join(self.lineage.key(unique_id)))
        return list(found.columns.values()) if found else []

    def _find(self, table: str) -> str:
        by_name = {"/".join(self.lineage.key(u)): u for u in self.lineage.assets}
        short: dict[str, list[str]] = {}
        for key, unique_id in by_name.items():
            resource = self.lineage.assets[unique_id]
            for name in {key.rsplit("/", 1)[-1], f"{resource['schema']}.{resource['alias']}"}:
                short.setdefault(name, []).append(unique_id)
        if table in by_name:
            return by_name[table]
        if len(short.get(table, ())) == 1:
            return short[table][0]
        near = [f"`{name}`" for name in difflib.get_close_matches(table, [*by_name, *short], n=4, cutoff=0.5)]
        raise LookupError(f"no model is called `{table}`{'; did you mean ' + ' or '.join(near) + '?' if near else ''}")

    @staticmethod
    def _relation(resource: Mapping[str, Any]) -> str:
        name = resource.get("identifier") or resource.get("alias") or resource["name"]
        return f"{identifier(resource['schema'])}.{identifier(name)}"

    def _carried(self, unique_id: str) -> str:
        """The name of the CTE of a table with its lake rows."""
        if unique_id in self.names:
            return self.names[unique_id]
        body = self._source(unique_id) if unique_id in self.lineage.sources else self._node(unique_id)
        name = f"__table_{len(self.names)}"
        self.names[unique_id], self.ctes[name] = name, body
        return name

    def _source(self, unique_id: str) -> str:
        resource = self.lineage.sources[unique_id]
        if "contract" not in meta(resource):
            self.notes.append(f"{'/'.join(self.lineage.key(unique_id))} does not come from the lake")
            return f"SELECT *, {_NO_LAKE} AS {LAKE} FROM {self._relation(resource)}"
        dataset = "/".join(self.lineage.key(unique_id)[1:])
        row = f"{{'dataset': {text(dataset)}, 'file': _file, 'version': _version, 'row': CAST(_row AS BIGINT)}}"
        return f"SELECT *, [{row}] AS {LAKE} FROM {self._relation(resource)}"

    def _node(self, unique_id: str) -> str:
        key = "/".join(self.lineage.key(unique_id))
        resource = self.lineage.assets[unique_id]
        if resource["resource_type"] == "seed":
            self.notes.append(f"{key} is a file of the project, not of the lake")
            return f"SELECT *, {_NO_LAKE} AS {LAKE} FROM {self._relation(resource)}"
        try:
            return self._query(unique_id)
        except (NotCarried, Unresolved) as problem:
            self.notes.append(f"upper bound: {key}: {problem}; all files of the raw tables above it are named")
            self._not_carried.add(unique_id)
            self._bound(unique_id)
            return f"SELECT *, {_NO_LAKE} AS {LAKE} FROM {self._relation(resource)}"

    def _query(self, unique_id: str) -> str:
        from caudal.transform.columns.query import parse

        known = self.stored.get("/".join(self.lineage.key(unique_id)))
        queries = self.rendered.get(unique_id, {}).get("sql", [])
        if known is None or known.unknown or not queries:
            raise NotCarried((known.unknown if known else None) or "dbt made no SQL of it")
        materialized = self.lineage.assets[unique_id]["config"].get("materialized")
        if materialized not in ("table", "view"):
            raise NotCarried(f"its rows were made by earlier runs as well ({materialized})")
        if known.across:
            raise NotCarried("which rows it has depends on others: a window, a limit or a recursive query")

        def rename(node: exp.Table) -> str:
            found = self._places.get((node.db.lower(), node.name.lower()))
            if found is None:
                raise NotCarried(f"it reads {node.name}, which the project does not know")
            return self._carried(found)

        return carrying(parse(queries[0], "duckdb"), rename, self._aggregates).sql("duckdb")

    def _bound(self, unique_id: str) -> None:
        pending, seen = [unique_id], set()
        while pending:
            current = pending.pop()
            if current in self.lineage.sources:
                if "contract" in meta(self.lineage.sources[current]):
                    self.whole_sources[current] = None
            elif current not in seen:
                seen.add(current)
                pending += self.lineage.parents(self.lineage.assets[current])

    def source_relation(self, unique_id: str) -> tuple[str, str]:
        """A raw table's dataset and relation."""
        return "/".join(self.lineage.key(unique_id)[1:]), self._relation(self.lineage.sources[unique_id])
