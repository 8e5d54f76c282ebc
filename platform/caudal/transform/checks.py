"""dbt tests as checks: which asset each one is about.

A generic test is about the model or source that declares it, also when it reads others (`relationships`). A singular test
is about the model, seed or snapshot that `meta.dagster.ref` names, else about the one furthest downstream of those it reads:
the one that was made of the others. A unit test is about its model. A test on an ephemeral model is about the asset that the
model's rows come from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caudal.contracts.rules import Rule
from caudal.transform.lineage import Key, Lineage, Resource, meta
from caudal.transform.nodes import Node

#: Tests of dbt's own that look at each row by itself.
_BY_ROW = ("not_null", "accepted_values")
_DECLARED_ON_SOURCE = re.compile(r"source\(\s*['\"](?P<source>[^'\"]+)['\"]\s*,\s*['\"](?P<table>[^'\"]+)['\"]\s*\)")


@dataclass(frozen=True)
class Check:
    """A dbt test (data test or unit test) as a check of one asset.

    Attributes:
        unique_id: dbt's name of it.
        fqn: dbt's path to it, by which it is selected.
        asset: the key of the asset that it is attached to.
        attached_to: the unique id of that asset's node or source.
        name: unique among the checks of the asset.
        reads: the unique ids of all nodes and sources that it reads, `attached_to` first.
        is_blocking: whether its failure is an error, which keeps the asset and what is downstream from being published.
        column: the column that it is declared on, or None.
        has_rows: whether its SQL selects the failing rows (a unit test's does not).
        whole_rows: SQL that selects the failing rows with all their columns, where the test's own selects only the null.
        rule: what it is, if it is no test of dbt but a rule that YAML declares; see `caudal.transform.rules`.
        by_day: whether what it finds in a table is what it finds in each of its days, see `caudal.transform.tested_days`.
        code: of a test that is by the day: changes whenever what it selects does, by its macros, arguments or conditions.

    """

    unique_id: str
    fqn: Key
    asset: Key
    attached_to: str
    name: str
    reads: tuple[str, ...]
    is_blocking: bool
    description: str = ""
    column: str | None = None
    has_rows: bool = True
    whole_rows: str | None = None
    rule: Rule | None = None
    by_day: bool = False
    code: str = ""


def attach_checks(document: Resource, lineage: Lineage, nodes: Mapping[str, Node]) -> tuple[dict[str, Check], dict[str, Key]]:
    """All tests of a manifest as checks, and the `fqn` of those that no asset can show, both by unique id."""
    depths = _depths(nodes)
    checks: dict[str, Check] = {}
    unattached: dict[str, Key] = {}
    taken: set[tuple[Key, str]] = set()
    for test in _tests(document):
        reads = lineage.parents(test)
        attached_to = _attached_to(test, reads, lineage, depths)
        if attached_to is None:
            unattached[test["unique_id"]] = tuple(test["fqn"])
            continue
        asset = lineage.key(attached_to)
        name = _name(test)
        if (asset, name) in taken:
            name = f"{name}_{hashlib.sha256(test['unique_id'].encode()).hexdigest()[:6]}"
        taken.add((asset, name))
        is_by_day = _is_by_day(test) and test.get("attached_node") == attached_to
        checks[test["unique_id"]] = Check(
            unique_id=test["unique_id"],
            fqn=tuple(test["fqn"]),
            asset=asset,
            attached_to=attached_to,
            name=name,
            reads=tuple(dict.fromkeys((attached_to, *reads))),
            is_blocking=(test["config"].get("severity") or "error").lower() == "error",
            description=_description(test),
            column=test.get("column_name"),
            has_rows=test["resource_type"] == "test",
            whole_rows=_whole_rows(test, lineage.sources.get(attached_to) or lineage.assets[attached_to]),
            by_day=is_by_day,
            code=_code(test, lineage) if is_by_day else "",
        )
    return checks, unattached


def _tests(document: Resource) -> Iterator[Resource]:
    found = [r for r in document["nodes"].values() if r["resource_type"] == "test"]
    found += document.get("unit_tests", {}).values()
    yield from sorted(found, key=lambda test: test["unique_id"])


def _attached_to(test: Resource, reads: tuple[str, ...], lineage: Lineage, depths: Mapping[str, int]) -> str | None:
    named = meta(test).get("dagster", {}).get("ref")
    if named:
        name = named["name"] if isinstance(named, Mapping) else named
        for unique_id in reads:
            if unique_id in lineage.assets and lineage.assets[unique_id]["name"] == name:
                return unique_id
    declared_on = test.get("attached_node") or _declaring_source(test, lineage)
    if declared_on in lineage.assets or declared_on in lineage.sources:
        return declared_on
    candidates = lineage.parents(lineage.resources[declared_on]) if declared_on in lineage.resources else reads
    return max(candidates, key=lambda unique_id: depths.get(unique_id, 0), default=None)


def _declaring_source(test: Resource, lineage: Lineage) -> str | None:
    """The manifest names the model that declares a generic test, but of a source only how the test's SQL speaks of it."""
    model = ((test.get("test_metadata") or {}).get("kwargs") or {}).get("model")
    found = _DECLARED_ON_SOURCE.search(model) if isinstance(model, str) else None
    if not found:
        return None
    named = (found["source"], found["table"])
    return next((u for u, s in lineage.sources.items() if (s["source_name"], s["name"]) == named), None)


def _depths(nodes: Mapping[str, Node]) -> dict[str, int]:
    """How many nodes the longest way to each node has, itself included; `nodes` come parents first."""
    depths: dict[str, int] = {}
    for unique_id, node in nodes.items():
        depths[unique_id] = 1 + max((depths.get(p, 0) for p in node.parents), default=0)
    return depths


def _whole_rows(test: Resource, asset: Resource) -> str | None:
    generic = test.get("test_metadata") or {}
    is_on_ephemeral = test.get("attached_node") not in (None, asset["unique_id"])
    if generic.get("name") != "not_null" or is_on_ephemeral:
        return None
    only = f" and ({test['config']['where']})" if test["config"].get("where") else ""
    return f"select * from {asset['relation_name']} where {generic['kwargs']['column_name']} is null{only}"


def _is_by_day(test: Resource) -> bool:
    """Its `meta.by_day`, else whether it is one of dbt's own that look at each row by itself."""
    macros = test.get("depends_on", {}).get("macros", [])
    is_by_row = any(f"macro.dbt.test_{name}" in macros for name in _BY_ROW)
    is_counted = test["config"].get("fail_calc", "count(*)") == "count(*)"
    return bool(test.get("test_metadata")) and is_counted and bool(meta(test).get("by_day", is_by_row))


def _code(test: Resource, lineage: Lineage) -> str:
    arguments = (test.get("test_metadata") or {}).get("kwargs")
    conditions = [test["config"].get(name) for name in ("where", "limit", "fail_calc")]
    told = json.dumps([lineage.code_version(test), arguments, conditions], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _name(test: Resource) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", test["name"])


def _description(test: Resource) -> str:
    declared = (test.get("description") or meta(test).get("description") or "").strip()
    if declared:
        return declared
    if test["resource_type"] == "unit_test":
        return f"dbt unit test `{test['name']}` of `{test['model']}`, in {test['original_file_path']}"
    generic = test.get("test_metadata")
    if not generic:
        return f"dbt test {test['original_file_path']}: it selects no row"
    on = f" of `{test['column_name']}`" if test.get("column_name") else ""
    return f"dbt test `{generic['name']}`{on}, in {test['original_file_path']}"
