"""What models and their tests would be billed for in BigQuery: dry runs of their rendered SQL on what is published.

What cannot be run dry, since what it reads is not built yet or has other columns than it will have, is estimated by the sizes
of what it is made of, and says so. Estimates are upper bounds on clustered tables, and of tables that do not grow meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from caudal.google_cloud import GoogleCloud
from caudal.transform.checks import Check
from caudal.transform.columns.project import RENDERED
from caudal.transform.manifest import Manifest
from caudal.transform.nodes import Node
from caudal.warehouse.bigquery.costs import DryRun, billed_for
from caudal.warehouse.bigquery.explained import BigQueryRefused, NotThere

#: BigQuery answers a dry run within a second, and allows 100 requests of a method a second and user.
_AT_ONCE = 8
_LONGEST_REASON = 200
_ADDS_ROWS = ("insert_overwrite", "microbatch")


class Asked(Protocol):
    """Who answers: `caudal.warehouse.bigquery.sizes.Sizes`."""

    @property
    def cloud(self) -> GoogleCloud: ...
    def dry_run(self, sql: str, what: str) -> DryRun: ...
    def size(self, relation: str) -> int | None: ...


@dataclass(frozen=True)
class Estimate:
    """What one node would be billed for.

    Attributes:
        asset: its key, joined by `/`.
        bytes_processed: by the query that makes it; `bytes_billed` is that, rounded as the bill rounds it.
        tests, tests_bytes_billed: how many tests and rules run, and what they would be billed for together.
        is_bound: it is not what BigQuery says, but all that it can read at most.
        note: what must be known of it: why it is a bound, or why it is free.

    """

    asset: str
    group: str
    bytes_processed: int = 0
    bytes_billed: int = 0
    tests: int = 0
    tests_bytes_billed: int = 0
    is_bound: bool = False
    note: str = ""

    @property
    def all_bytes_billed(self) -> int:
        """With its tests."""
        return self.bytes_billed + self.tests_bytes_billed


def estimate(asked: Asked, manifest: Manifest, nodes: Collection[str], checks: Collection[str]) -> tuple[Estimate, ...]:
    """The estimate of each of `nodes`, parents first, and of what only is tested, all by unique id.

    Raises:
        caudal.warehouse.bigquery.explained.BigQueryError: BigQuery cannot be asked: credentials, permissions, no answer.

    """
    estimator = _Estimator(asked, manifest)
    by_node: dict[str, list[Check]] = {}
    for unique_id in checks:
        by_node.setdefault(manifest.checks[unique_id].attached_to, []).append(manifest.checks[unique_id])
    tested = [u for u in (*manifest.nodes, *manifest.sources) if u in nodes or u in by_node]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        made = {u: threads.submit(estimator.node, manifest.nodes[u]) for u in tested if u in nodes}
        tests = {u: [threads.submit(estimator.test, check) for check in by_node.get(u, ())] for u in tested}
        found = []
        for unique_id in tested:
            node = manifest.nodes.get(unique_id)
            billed = [each.result() for each in tests[unique_id]]
            key, group = (node.key, node.group) if node else (by_node[unique_id][0].asset, "raw")
            guess = made[unique_id].result() if unique_id in made else _Guess(note="only tested")
            found.append(
                Estimate("/".join(key), group, guess.bytes, guess.billed, len(billed), sum(billed), guess.is_bound, guess.note)
            )
    return tuple(found)


@dataclass(frozen=True)
class _Guess:
    bytes: int = 0
    tables: int = 1
    is_bound: bool = False
    note: str = ""

    @property
    def billed(self) -> int:
        return billed_for(self.bytes, self.tables)


class _Estimator:
    def __init__(self, asked: Asked, manifest: Manifest) -> None:
        self._asked, self._manifest = asked, manifest

    @cached_property
    def _document(self) -> dict[str, Any]:
        return json.loads(self._manifest.path.read_text(encoding="utf-8"))

    @cached_property
    def _rendered(self) -> dict[str, Any]:
        return json.loads(self._manifest.path.with_name(RENDERED).read_text(encoding="utf-8"))

    @cached_property
    def _physical(self) -> Mapping[str, str]:
        """What stands in rendered SQL for each table, and what is to stand there: longest first, for one may begin another."""
        document, cloud = self._document, self._asked.cloud
        found = {
            resource["relation_name"]: f"`{cloud.table(relation)}`"
            for unique_id, relation in self._manifest.relations.items()
            if (resource := document["nodes"].get(unique_id) or document["sources"][unique_id]).get("relation_name")
        }
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))

    def node(self, node: Node) -> _Guess:
        if node.is_virtual:
            return _Guess(note="a view: who reads it pays")
        if node.kind == "seed":
            return _Guess(note="loaded, which is free")
        size = self._asked.size(node.relation)
        queries = self._rendered.get(node.unique_id, {})
        if "sql" not in queries:
            return self._bound(node.parents, str(queries.get("unknown", "dbt made no SQL of it")))
        guess = self._dry_run(queries["sql"][0 if size is None else -1], node.relation, node.parents)
        adds = node.materialized == "incremental" or node.kind == "snapshot"
        if not adds:
            return guess
        if size is None:
            return _Guess(guess.bytes, guess.tables, guess.is_bound, _and(guess.note, "the first time: the whole of it"))
        config = self._document["nodes"][node.unique_id].get("config", {})
        if config.get("incremental_strategy") in _ADDS_ROWS:
            return _Guess(guess.bytes, guess.tables, guess.is_bound, _and(guess.note, "besides the partitions it replaces"))
        note = _and(guess.note, "with the table that it merges into")
        return _Guess(guess.bytes + size, guess.tables + 1, guess.is_bound, note)

    def test(self, check: Check) -> int:
        """The bytes billed for one test."""
        queries = self._rendered.get(check.unique_id, {})
        if check.rule is None and not check.has_rows:
            return 0  # A unit test reads rows that it brings.
        if check.rule is not None or "sql" not in queries:
            return self._bound(check.reads, "").billed
        return self._dry_run(f"select count(*) from (\n{queries['sql'][-1]}\n)", check.name, check.reads).billed

    def _dry_run(self, sql: str, what: str, reads: Collection[str]) -> _Guess:
        for logical, physical in self._physical.items():
            sql = sql.replace(logical, physical)
        try:
            found = self._asked.dry_run(sql, f"estimate {what}")
        except NotThere:
            names = self._manifest.relations
            missing = [n for u in reads if (n := names.get(u)) and self._asked.size(n) is None]
            return self._bound(reads, f"{', '.join(missing) or 'something it reads'}: not built yet")
        except BigQueryRefused as refused:
            if refused.reason not in ("invalidQuery", "invalid", ""):
                raise
            said = str(refused).removeprefix(f"estimate {what}: ")
            return self._bound(reads, f"BigQuery refuses it as things stand: {said[:_LONGEST_REASON]}")
        return _Guess(found.bytes_processed, found.tables)

    def _bound(self, reads: Collection[str], why: str) -> _Guess:
        sizes = [self._most(unique_id, frozenset()) for unique_id in reads]
        return _Guess(sum(sizes), max(1, len(sizes)), is_bound=True, note=f"at most, by the size of what it reads ({why})")

    def _most(self, unique_id: str, above: frozenset[str]) -> int:
        """The size of a table; of one that is not there, that of all that it is made of."""
        relation = self._manifest.relations.get(unique_id)
        size = self._asked.size(relation) if relation else None
        if size is not None:
            return size
        parents = self._manifest.nodes[unique_id].parents if unique_id in self._manifest.nodes else ()
        return sum(self._most(parent, above | {unique_id}) for parent in parents if parent not in above)


def limits(manifest: Manifest, estimates: Collection[Estimate]) -> dict[str, tuple[int, int]]:
    """The nodes that would be billed for more than they say they may, by key: what they would, and what they may."""
    found = {}
    for one in estimates:
        node = manifest.node_of.get(tuple(one.asset.split("/")))
        if node is not None and node.maximum_bytes is not None and one.bytes_billed > node.maximum_bytes:
            found[one.asset] = (one.bytes_billed, node.maximum_bytes)
    return found


def _and(one: str, other: str) -> str:
    return f"{one}; {other}" if one else other
