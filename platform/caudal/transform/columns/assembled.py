"""The models above a table, put together to one query over the raw tables."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from caudal.transform.columns.project import COLUMNS, DIALECTS, RENDERED
from caudal.transform.columns.provenance import LAKE, NotCarried, carrying, without
from caudal.transform.columns.query import parse, words_of
from caudal.transform.columns.stored import Stored
from caudal.transform.columns.values import Column, Unresolved
from caudal.transform.lineage import Lineage, meta
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from sqlglot import exp

    from caudal.transform.manifest import Manifest

_NO_LAKE = "CAST([] AS BIGINT[])"

#: All lake files of the raw tables, each with a number. A lake row is one number: that of its file, and its place in it.
FILES = "caudal_lake_files"
PLACES = 2**32

_PLACE = ("_file", "_version", "_row")


class Plan:
    """The query that is put together for one table.

    Attributes:
        key: the table's asset key, joined by `/`.
        published: the table, as it is read.
        sql: the query. It has the table's columns, and `LAKE`. It reads `FILES`, which `files` selects.
        notes: what must be known of the answer.
        sources: the raw tables that it reads, by unique id, with the columns that it may need; none stands for all.
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
        self.sources: dict[str, list[str]] = {}
        self.dialect = DIALECTS[manifest.adapter]
        self.target = self._find(table)
        self.key = "/".join(self.lineage.key(self.target))
        self.published = self._relation(self.lineage.assets[self.target])
        self.sql = ""
        self._aggregates: Collection[str] = ()
        self._not_carried: set[str] = set()
        self._left_out: set[str] = set()
        self._places = {
            (str(r["schema"]).lower(), (r.get("identifier") or r.get("alias") or r["name"]).lower()): unique_id
            for unique_id, r in {**self.lineage.sources, **self.lineage.assets}.items()
        }

    def build(self, aggregates: Collection[str], *, needed: Collection[str] = ()) -> None:
        """Put the query together.

        A window of the table itself is computed only where it is needed: DuckDB would have to make all rows for it, and not
        those that are asked for.

        Args:
            aggregates: the names of DuckDB's functions that aggregate.
            needed: words, in small letters, of which one may be a column that is computed from other rows as well.

        """
        self._aggregates = aggregates
        self.notes, self.whole_sources = [], {}
        self.ctes, self.names, self.sources, self._not_carried = {}, {}, {}, set()
        across = [column.name for column in self._columns(self.target) if column.across]
        across_names = {name.lower() for name in across}
        self._left_out = set() if across_names & set(needed) else across_names
        name = self._carried(self.target)
        self.sql = "WITH " + ",\n".join(f"{name} AS ({body})" for name, body in self.ctes.items()) + f"\nSELECT * FROM {name}"
        if across and self.target not in self._not_carried:
            self.notes.append(
                f"{', '.join(across)}: computed from other rows as well (a window); the files of those are not named"
            )

    @property
    def files(self) -> str:
        """Selects the lake files of all raw tables in the query, each with its number."""
        each = [
            f"SELECT DISTINCT {text(self.source_relation(unique_id)[0])} AS dataset, _file AS file, _version AS version "
            f"FROM ({self._rows(unique_id)})"
            for unique_id in self.sources
        ]
        found = " UNION ALL ".join(each) or "SELECT '' AS dataset, '' AS file, '' AS version WHERE false"
        return f"SELECT row_number() OVER () AS number, * FROM ({found})"

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
        self.sources[unique_id] = self._read(resource)
        dataset = text("/".join(self.lineage.key(unique_id)[1:]))
        lake = f"[f.number * {PLACES} + CAST(r._row AS BIGINT)] AS {LAKE}"
        same = f"f.dataset = {dataset} AND f.file = r._file AND f.version = r._version"
        return f"SELECT r.*, {lake} FROM ({self._rows(unique_id)}) AS r JOIN {FILES} AS f ON {same}"

    def _rows(self, unique_id: str) -> str:
        columns = ", ".join(map(identifier, self.sources[unique_id])) or "*"
        return f"SELECT {columns} FROM {self._relation(self.lineage.sources[unique_id])}"

    def _read(self, resource: Mapping[str, Any]) -> list[str]:
        """Its columns that may be needed: those that any model above the table names; none stands for all."""
        names = list(resource.get("columns", {}))
        if not set(_PLACE) <= set(names):
            return []
        models = [u for u in self._above() if u in self.lineage.assets]
        readers = [u for u in models if resource["unique_id"] in self.lineage.parents(self.lineage.assets[u])]
        words: set[str] = set()
        for unique_id in readers:
            queries = self.rendered.get(unique_id, {}).get("sql", [])
            found = words_of(queries[0], self.dialect) if queries else None
            if found is None:
                return []
            words |= found
        return [name for name in names if name in _PLACE or name.lower() in words]

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

        query = carrying(parse(queries[0], self.dialect), rename, self._aggregates)
        if unique_id == self.target:
            query = without(query, self._left_out)
        return query.sql("duckdb")

    def _bound(self, unique_id: str) -> None:
        for source in self._above(unique_id):
            if source in self.lineage.sources and "contract" in meta(self.lineage.sources[source]):
                self.whole_sources[source] = None

    def _above(self, unique_id: str = "") -> list[str]:
        """A table, the models and the raw tables that it is made of."""
        pending, seen = [unique_id or self.target], dict[str, None]()
        while pending:
            current = pending.pop()
            if current not in seen:
                seen[current] = None
                pending += self.lineage.parents(self.lineage.assets[current]) if current in self.lineage.assets else ()
        return list(seen)

    def source_relation(self, unique_id: str) -> tuple[str, str]:
        """A raw table's dataset and relation."""
        return "/".join(self.lineage.key(unique_id)[1:]), self._relation(self.lineage.sources[unique_id])
