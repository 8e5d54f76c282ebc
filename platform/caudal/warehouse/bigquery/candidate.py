"""A candidate in BigQuery: a dataset of its own, which holds what is built anew and nothing else.

Its raw tables are clones of what loaders had written when it was opened, where that is not what readers see already. Everything
else is read where readers see it, which only a candidate changes. The dataset's tables expire by themselves, should nobody
be left to remove it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery import names, publishing
from caudal.warehouse.bigquery import versions as in_bigquery
from caudal.warehouse.bigquery.access import created, guard, own_account
from caudal.warehouse.bigquery.authorizing import authorize
from caudal.warehouse.bigquery.connection import LAST_GOOD, BigQueryConnection
from caudal.warehouse.bigquery.explained import BigQueryRefused, explained
from caudal.warehouse.bigquery.publishing import Shown
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.version_record import completed
from caudal.warehouse.versions import NOBODY, Cause, Kept, Relation, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts.access import Access
    from caudal.environment import Environment


@dataclass
class BigQueryCandidate:
    """`caudal.warehouse.candidate.Candidate` in BigQuery.

    Attributes:
        before: the record of the version that it started as; `seen` of the one that readers see.
        holding: the relations that are in its dataset, or will be.
        brought: those of them that are as they were in an older version, as it describes them.
        broken: views that would be broken by what was brought, and why.
        definitions: of raw tables: which version of what loaders write they are; of others what they were built of, if said.
        access: how relations are to be guarded, as far as that was said.
        cloned: those that began as what is published.

    """

    env: Environment
    service: BigQuery
    version: str
    start: str
    parent: str
    before: Version | None = None
    seen: Version | None = None
    holding: set[str] = field(default_factory=set)
    brought: dict[str, Relation] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    access: dict[str, Access] = field(default_factory=dict)
    cloned: set[str] = field(default_factory=set)

    path = None

    @cached_property
    def dataset(self) -> str:
        """Its dataset, without the project."""
        return names.candidate_dataset(self.service.cloud, self.version)

    @contextmanager
    def connect(self) -> Generator[BigQueryConnection]:
        """The candidate, writable."""
        connection = BigQueryConnection(self.service, self._place, self._written, scratch=self.dataset)
        try:
            yield connection
        finally:
            connection.close()

    def prepare(self, building: Iterable[str], views: Iterable[str] = (), incremental: Iterable[str] = ()) -> None:
        """Say what dbt is about to make."""
        clones = []
        there = self._there()
        for relation in incremental:
            seen = self.service.cloud.table(relation)
            if relation not in there and self.service.kind_of(seen) == "TABLE":
                clones.append(f"CREATE TABLE {names.quoted(self._own(relation))} CLONE {names.quoted(seen)}")
        if clones:
            self.service.query(";\n".join(clones) + ";", what="start incremental models as what is published")
        self.cloned |= set(incremental)
        self.holding |= {*building, *views, *incremental}

    def declare(self, access: Mapping[str, Access]) -> None:
        """Say how relations are to be guarded when they are published."""
        self.access.update(access)

    def made_of(self) -> dict[str, str]:
        """Of raw tables which version of what loaders write they are; of others what was written down of them."""
        known = dict(self.seen.relations if self.seen else {})
        known |= {n: r for n, r in (self.before.relations if self.before else {}).items() if n.startswith("raw.")}
        return {n: r.definition for n, r in (known | self.brought).items()} | self.definitions

    def write_down(self, made_of: Mapping[str, str]) -> None:
        """Have the version say of each `schema.name` what it was made of, should it be published."""
        self.definitions.update(made_of)

    def physical(self, relation: str, in_candidate: bool | None = None) -> tuple[str, str]:
        """`(dataset, table)` of a `schema.name`."""
        is_inside = relation in self.holding if in_candidate is None else in_candidate
        _, dataset, table = (self._own(relation) if is_inside else self.service.cloud.table(relation)).split(".")
        return dataset, table

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Make each `schema.name` a table of these rows, whatever it was."""
        for relation, rows in tables.items():
            self.service.client.delete_table(self._own(relation), not_found_ok=True, retry=self.service.busy)
            self.service.load_rows(rows, self._own(relation))
            self.holding.add(relation)

    def restore(self, relations: Iterable[str]) -> None:
        """Put each `schema.name` back to what is published now."""
        restored = self.holding.intersection(relations)
        if not restored:
            return
        places = {self._own(relation): self.service.cloud.table(relation) for relation in restored}
        for relation, kind in self._there().items():
            if kind != "VIEW" or relation not in self.holding - restored:
                continue
            query = self._query_of(relation)
            if (again := names.moved(query, places)) != query:
                self._make_view(relation, again)
        for relation in restored:
            self._drop(relation)

    def holds(self, relations: Iterable[str]) -> set[str]:
        """Those of the `schema.name` that can be read."""
        there = self._there()
        wanted = set(relations)
        outside = {name for name in wanted if name not in self.holding and self.service.kind_of(self.service.cloud.table(name))}
        return {name for name in wanted if name in there and name in self.holding} | outside

    def publish(self, changed: Iterable[str] = (), cause: Cause = NOBODY) -> str:
        """Make the candidate what readers see; its version."""
        cloud, told = self.service.cloud, set(changed)
        there = {name: kind for name, kind in self._there().items() if name in self.holding}
        seen = {self._own(relation): cloud.table(relation) for relation in self.holding}
        queries = {name: names.moved(self._query_of(name), seen) for name, kind in there.items() if kind == "VIEW"}
        relations = dict(self.before.relations if self.before else {})
        for name, kind in there.items():
            if name in self.brought and name not in told:
                relations[name] = self.brought[name]
            elif kind == "VIEW":
                known = relations.get(name)
                same = known is not None and (known.kind, known.definition) == ("VIEW", queries[name]) and name not in told
                relations[name] = known if known and same else Relation("VIEW", None, self.version, queries[name])
            else:
                relations[name] = self._described(name)
        version = completed(Version(self.version, datetime.now(UTC), self.parent, cause, {}, {}), relations, self.seen)
        for name, kind in there.items():
            if kind == "TABLE" and name in self.access and name not in self.brought:
                guard(self.service, self._own(name), self.access[name], may_have_policies=name in self.cloned)
        shown = self._shown(version, there, queries)
        self._make_datasets(relations)
        shown = replace(shown, guarded=self._guarded(shown.tables))
        authorize(self.service, shown.views)
        publishing.publish(self.service, version, shown)
        in_bigquery.clear(self.env, self.service)
        return self.version

    def bring(self, relation: str, kept: Kept) -> None:
        """Make the relation what it is in a kept version.

        Raises:
            LookupError: that version does not have it.

        """
        known = kept.record.relations.get(relation) if kept.record else None
        if known is None:
            raise LookupError(f"Version {kept.name} has no {relation}. `caudal versions {relation}` lists those that do")
        self.holding.add(relation)
        self.brought[relation] = known
        self.service.client.delete_table(self._own(relation), not_found_ok=True, retry=self.service.busy)
        if known.kind == "VIEW":
            self._make_view(relation, self._inside(known.definition))
        else:
            snapshot = names.snapshot(self.service.cloud, relation, known.since)
            self.service.query(f"CREATE TABLE {names.quoted(self._own(relation))} CLONE {names.quoted(snapshot)}")
        self._take_views_along()

    def rewrite(self) -> None:
        """Nothing: what is removed from a table is left in clones and snapshots of before, and in no file of ours."""

    def broken_views(self, *, published: bool = False) -> dict[str, str]:
        """The views that cannot be read, as readers see them or as they would, and why."""
        found = {} if published else dict(self.broken)
        relations = {**(self.before.relations if self.before else {}), **self.brought}
        for name, relation in relations.items():
            if relation.kind != "VIEW" or name in found:
                continue
            place = self.service.cloud.table(name) if published else self._place(name, "")
            try:
                self.service.estimate(f"SELECT * FROM {names.quoted(place)}")
            except BigQueryRefused as problem:
                found[name] = str(problem).split("\n", 1)[0]
        return found

    def _guarded(self, tables: Iterable[str]) -> dict[str, list[str]]:
        """Beside the policies that clones bring along, the same again, should they not."""
        guarded = {name: self.access[name] for name in tables if name in self.access and self.access[name].rows}
        own = own_account(self.service) if guarded else ""
        return {n: created(self.service.cloud.table(n), a, own, if_not_there=True) for n, a in guarded.items()}

    def _make_datasets(self, relations: Iterable[str]) -> None:
        known = {name.split(".", 1)[0] for name in (self.seen.relations if self.seen else ())}
        for schema in sorted({name.split(".", 1)[0] for name in relations} - known):
            in_bigquery.make_dataset(self.service, self.service.cloud.dataset(schema))

    def _shown(self, version: Version, there: Mapping[str, str], queries: Mapping[str, str]) -> Shown:
        """What changes for readers. Snapshots are made of what is new."""
        before = self.seen.relations if self.seen else {}
        differing = [n for n in version.changed if n in version.relations and n in there]
        kinds = {name: version.relations[name] for name in differing}
        fresh = {n: self._own(n) for n, r in kinds.items() if r.kind == "TABLE" and r.since == version.version}
        snapshots = publishing.keep(self.service, fresh, version.version)
        snapshots |= {
            n: names.snapshot(self.service.cloud, n, r.since) for n, r in kinds.items() if r.kind == "TABLE" and n not in fresh
        }
        views = {name: queries.get(name, relation.definition) for name, relation in kinds.items() if relation.kind == "VIEW"}
        removed = {name: before[name].kind for name in before if name not in version.relations}
        return Shown(snapshots, publishing.ordered(self.service.cloud, views), removed)

    def _described(self, name: str) -> Relation:
        from caudal.warehouse.bigquery.duckdb_types import known_types

        with explained(self.service.cloud, f"look at {name} in the candidate"):
            table = self.service.client.get_table(self._own(name), retry=self.service.busy)
        columns = known_types(table.schema)
        return Relation("TABLE", table.num_rows, self.version, self.definitions.get(name, ""), columns)

    def _take_views_along(self) -> None:
        """Have the views above what is brought here too, so that tests read through them what readers would."""
        views = {n: r.definition for n, r in (self.before.relations if self.before else {}).items() if r.kind == "VIEW"}
        for name, query in publishing.ordered(self.service.cloud, views).items():
            inside = self._inside(query)
            if inside != query and name not in self.brought:
                self.holding.add(name)
                try:
                    self._make_view(name, inside)
                except BigQueryRefused as broken:  # BigQuery makes no view that cannot be read.
                    self.broken[name] = str(broken).split("\n", 1)[0]

    def _inside(self, query: str) -> str:
        return names.moved(query, {self.service.cloud.table(name): self._own(name) for name in self.holding})

    def _make_view(self, relation: str, query: str) -> None:
        self.service.query(f"CREATE OR REPLACE VIEW {names.quoted(self._own(relation))} AS\n{query}")

    def _query_of(self, relation: str) -> str:
        with explained(self.service.cloud, f"look at the view {relation} in the candidate"):
            return self.service.client.get_table(self._own(relation), retry=self.service.busy).view_query or ""

    def _drop(self, relation: str) -> None:
        with explained(self.service.cloud, f"remove {relation} from the candidate"):
            self.service.client.delete_table(self._own(relation), not_found_ok=True, retry=self.service.busy)
        self.holding.discard(relation)
        self.brought.pop(relation, None)
        self.definitions.pop(relation, None)

    def _there(self) -> dict[str, str]:
        """What its dataset has: relation -> `TABLE` or `VIEW`."""
        with explained(self.service.cloud, f"list the dataset {self.dataset}"):
            listed = list(self.service.client.list_tables(f"{self.service.cloud.project}.{self.dataset}"))
        return {each.table_id.replace("__", ".", 1): each.table_type for each in listed if "__" in each.table_id}

    def _own(self, relation: str) -> str:
        return names.in_candidate(self.service.cloud, relation, self.version)

    def _written(self, relation: str) -> str:
        self.holding.add(relation)
        return self._own(relation)

    def _place(self, relation: str, catalogue: str) -> str:
        is_inside = catalogue != LAST_GOOD and relation in self.holding
        return self._own(relation) if is_inside else self.service.cloud.table(relation)
