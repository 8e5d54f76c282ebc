"""The columns of all models of a project, read from its manifest and the queries that dbt made, and kept beside them.

What was found of a model stays true as long as its SQL and the columns of the tables that it reads do; only the others are read
again. The tables of a manifest are named by their asset keys, joined by `/`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.transform.columns.stored import Stored, StoredTable, declared, known, of_relation, seed, unknown
from caudal.transform.columns.values import Column, Ref, Relation, Unresolved, merged, table
from caudal.transform.lineage import Lineage, meta

if TYPE_CHECKING:
    from sqlglot import exp

#: Beside `manifest.json`.
RENDERED = "rendered.json"
COLUMNS = "columns.json"

#: Say another number when what is read from the same SQL changes.
READING = "1"
#: What sqlglot calls the SQL of dbt's adapters.
DIALECTS = {"duckdb": "duckdb", "bigquery": "bigquery"}
_UNDERSTOOD = {"table", "view", "incremental", "materialized_view", "external", "snapshot"}
_SNAPSHOT_COLUMNS = ("dbt_scd_id", "dbt_updated_at", "dbt_valid_from", "dbt_valid_to")


def write_columns(folder: Path, previous: Path | None = None) -> None:
    """Read the models of the manifest in `folder` and write what was found beside it; `previous` is such a folder of before."""
    document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rendered = json.loads((folder / RENDERED).read_text(encoding="utf-8"))
    before = Stored.read(previous / COLUMNS) if previous else Stored({})
    _, stored = read_columns(document, rendered, before)
    stored.write(folder / COLUMNS)


def read_columns(document: Mapping[str, Any], rendered: Mapping[str, Any], before: Stored) -> tuple[int, Stored]:
    """What the columns of each table of a manifest are made of, and how many models had to be read for it.

    Args:
        document: dbt's manifest.
        rendered: by unique id, `sql`, a list of queries, or `unknown`, why there are none.
        before: what was found of an earlier state of the project.

    """
    reader = _Reader(document, rendered, before)
    for unique_id in _parents_first(reader.lineage):
        reader.of_node(unique_id)
    return reader.parsed, Stored(reader.found)


def _parents_first(lineage: Lineage) -> Iterator[str]:
    """The models, each after those that it reads, so that a long chain of them is no deep recursion."""
    done: set[str] = set()
    for start in lineage.assets:
        pending = [start]
        while pending:
            unique_id = pending[-1]
            waiting = [p for p in lineage.parents(lineage.assets[unique_id]) if p in lineage.assets and p not in done]
            if waiting and unique_id not in waiting:
                pending.extend(waiting)
                continue
            pending.pop()
            if unique_id not in done:
                done.add(unique_id)
                yield unique_id


@dataclass
class _Known:
    """A table that a query may read, and what its columns are called."""

    key: str
    columns: tuple[str, ...]
    is_open: bool
    across: tuple[str, ...] = ()

    @property
    def signature(self) -> list[Any]:
        return [self.key, list(self.columns), self.is_open, list(self.across)]

    def relation(self) -> Relation:
        return table(self.key, self.columns, is_open=self.is_open, across=self.across)


class _Reader:
    def __init__(self, document: Mapping[str, Any], rendered: Mapping[str, Any], before: Stored) -> None:
        self.lineage = Lineage(document)
        self.rendered = rendered
        self.before = before
        self.dialect = DIALECTS.get(document["metadata"].get("adapter_type") or "")
        self.found: dict[str, StoredTable] = {}
        self.parsed = 0
        self._reading: list[str] = []
        self._places: dict[tuple[str, str], dict[str, str]] = {}
        for unique_id, resource in {**self.lineage.sources, **self.lineage.assets}.items():
            name = resource.get("identifier") or resource.get("alias") or resource["name"]
            place = self._places.setdefault((str(resource["schema"]).lower(), name.lower()), {})
            place[str(resource.get("database") or "").lower()] = unique_id
        for unique_id in self.lineage.sources:
            self._source(unique_id)

    def of_node(self, unique_id: str) -> StoredTable:
        """What is known of a model, seed or snapshot."""
        key = self.key(unique_id)
        if key not in self.found:
            self._reading.append(unique_id)
            self.found[key] = self._read(unique_id)
            self._reading.pop()
        return self.found[key]

    def key(self, unique_id: str) -> str:
        return "/".join(self.lineage.key(unique_id))

    def _source(self, unique_id: str) -> None:
        """A raw table and the view of its latest rows are one asset."""
        resource, key = self.lineage.sources[unique_id], self.key(unique_id)
        columns = {name.lower(): name for name in self._declared(resource)}
        earlier = self.found.get(key)
        if earlier is not None:
            columns = {name.lower(): name for name in earlier.columns} | columns
        is_closed = "contract" in meta(resource) and meta(resource).get("drift") != "evolve"
        self.found[key] = known(columns.values(), is_open=not is_closed)

    @staticmethod
    def _declared(resource: Mapping[str, Any]) -> list[str]:
        return [column["name"] for column in resource.get("columns", {}).values()]

    def _read(self, unique_id: str) -> StoredTable:
        resource = self.lineage.assets[unique_id]
        said = meta(resource).get("column_lineage")
        if resource["resource_type"] == "seed":
            return seed(_header(resource) or self._declared(resource))
        if said:
            return declared(said)
        queries: Mapping[str, Any] = self.rendered.get(unique_id, {"unknown": "dbt made no SQL of it"})
        if "unknown" in queries:
            return self._unknown(resource, queries["unknown"])
        materialized = resource["config"].get("materialized")
        if materialized not in _UNDERSTOOD:
            return self._unknown(resource, f"nothing is known of the materialization {materialized!r}")
        if self.dialect is None:
            return self._unknown(resource, "its SQL is neither DuckDB's nor BigQuery's")
        facts = [READING, self.dialect, queries["sql"], resource["resource_type"], self._declared(resource)]
        facts += [resource["config"].get(name) for name in ("contract", "unique_key", "updated_at", "check_cols", "strategy")]
        fingerprint = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:24]
        earlier = self.before.tables.get(self.key(unique_id))
        if earlier is not None and earlier.fingerprint == fingerprint and self._unchanged(earlier.reads):
            return earlier
        return self._parse(unique_id, resource, queries["sql"], fingerprint)

    def _unchanged(self, reads: Mapping[str, Any]) -> bool:
        return all(self._signature(name) == signature for name, signature in reads.items())

    def _signature(self, name: str) -> list[Any] | None:
        database, schema, identifier = name.split("\0")
        try:
            return self._known(database, schema, identifier).signature
        except Unresolved:
            return None

    def _parse(self, unique_id: str, resource: Mapping[str, Any], queries: list[str], fingerprint: str) -> StoredTable:
        from caudal.transform.columns.query import parse, resolve

        self.parsed += 1
        reads: dict[str, Any] = {}
        own = self.key(unique_id)
        result: Relation | None = None

        def lookup(node: exp.Table) -> Relation:
            place = (node.catalog.lower(), node.db.lower(), node.name.lower())
            if result is not None and self._unique_id(*place) == unique_id:
                return table(own, [column.name for column in result.columns.values()], is_open=result.is_open)
            reads["\0".join(place)] = None
            found = self._known(*place)
            reads["\0".join(place)] = found.signature
            return found.relation()

        try:
            for sql in queries:
                again = resolve(parse(sql, self.dialect or ""), lookup)
                result = again if result is None else _both(result, again, own)
            if result is None:
                raise Unresolved("dbt made no SQL of it")
            if resource["resource_type"] == "snapshot":
                result = _snapshot(result, resource)
        except Unresolved as problem:
            return self._unknown(resource, str(problem), fingerprint, reads)
        except RecursionError:
            return self._unknown(resource, "its SQL is nested too deeply", fingerprint, reads)
        return of_relation(result, fingerprint, reads)

    def _unknown(
        self, resource: Mapping[str, Any], reason: str, fingerprint: str = "", reads: Mapping[str, Any] | None = None
    ) -> StoredTable:
        enforced = bool((resource["config"].get("contract") or {}).get("enforced"))
        return unknown(reason, self._declared(resource), is_open=not enforced, fingerprint=fingerprint, reads=reads)

    def _unique_id(self, database: str, schema: str, identifier: str) -> str | None:
        there = self._places.get((schema, identifier), {})
        if database:
            return there.get(database)
        return next(iter(there.values())) if len(there) == 1 else None

    def _known(self, database: str, schema: str, identifier: str) -> _Known:
        unique_id = self._unique_id(database, schema, identifier)
        name = ".".join(part for part in (database, schema, identifier) if part)
        if unique_id is None:
            raise Unresolved(f"it reads {name}, which is no model, seed, snapshot or source of the project")
        if unique_id in self._reading:
            raise Unresolved(f"it reads {name}, which reads it")
        key = self.key(unique_id)
        if unique_id in self.lineage.sources:
            stored, columns = self.found[key], self._declared(self.lineage.sources[unique_id])
        else:
            stored = self.of_node(unique_id)
            columns = [column.name for column in stored.columns.values()]
        across = tuple(column.name for column in stored.columns.values() if column.across)
        return _Known(key, tuple(columns), stored.is_open, across)


def _header(resource: Mapping[str, Any]) -> list[str]:
    path = Path(resource.get("root_path") or ".", resource.get("original_file_path") or "")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = resource["config"].get("delimiter") or ","
            return [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
    except OSError:
        return []


def _both(first: Relation, later: Relation, own: str) -> Relation:
    """What the table of an incremental model holds: rows of either query, of which the later reads the table itself."""
    columns = []
    for key, column in first.columns.items():
        again = later.columns.get(key)
        columns.append(merged(column.name, [column, again] if again is not None else [column]))
    behind: dict[Ref, frozenset[Ref]] = {(own, column.name.lower()): column.refs for column in columns}
    influences = _expanded(first.influences | later.influences, behind)
    plain = {}
    for column in columns:
        origins = {ref: is_copy for ref, is_copy in column.origins.items() if ref[0] != own}
        reached = _expanded(frozenset(ref for ref in column.origins if ref[0] == own), behind)
        for ref in reached:
            origins.setdefault(ref, False)
        kept = _expanded(column.influences, behind) - set(origins)
        plain[column.name.lower()] = Column(column.name, origins, kept, column.across)
    rest = first.rest if later.rest in (first.rest, own) else None
    return Relation(plain, influences, rest=rest, across=True)


def _expanded(refs: frozenset[Ref], behind: Mapping[Ref, frozenset[Ref]]) -> frozenset[Ref]:
    """`refs`, with what is behind those of the table itself in their place."""
    found: set[Ref] = set()
    seen: set[Ref] = set()
    pending = list(refs)
    while pending:
        ref = pending.pop()
        if ref in seen:
            continue
        seen.add(ref)
        if ref in behind:
            pending.extend(behind[ref])
        else:
            found.add(ref)
    return frozenset(found)


def _snapshot(relation: Relation, resource: Mapping[str, Any]) -> Relation:
    """Dbt's own columns are made of those that tell it whether a row changed."""
    config = resource["config"]
    watched = [config.get("updated_at"), *_listed(config.get("unique_key"))]
    checked = config.get("check_cols")
    watched += list(relation.columns) if checked == "all" else _listed(checked)
    names = [name.lower() for name in watched if isinstance(name, str)]
    deciding = [relation.columns[name].computed for name in names if name in relation.columns]
    if len(deciding) < len(names):
        raise Unresolved("the snapshot is told apart by an expression, not by columns")
    called = config.get("snapshot_meta_column_names") or {}
    columns = dict(relation.columns)
    own = [*_SNAPSHOT_COLUMNS, *(["dbt_is_deleted"] if config.get("hard_deletes") == "new_record" else [])]
    for name in own:
        shown = called.get(name) or name
        columns[shown.lower()] = merged(shown, deciding)
    influences = relation.influences.union(*(column.refs for column in deciding))
    return Relation(columns, influences, rest=relation.rest, across=True)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
