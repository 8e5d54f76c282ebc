"""What dbt knows of a project, read from its `manifest.json` as plain JSON: nodes, their lineage, and their checks.

The format is described at https://docs.getdbt.com/reference/artifacts/manifest-json (version 12).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from caudal.contracts.masking import Names, is_masked
from caudal.transform.checks import Check, attach_checks
from caudal.transform.columns.passing import passed_on
from caudal.transform.columns.project import COLUMNS
from caudal.transform.columns.stored import Stored, StoredTable
from caudal.transform.lineage import Key, Lineage, Resource
from caudal.transform.nodes import Node, classification_of, read_nodes
from caudal.warehouse.published import PublishedTable

#: What dbt's tests `unique`, `accepted_values` and `relationships` call the column that they are about.
_RENAMED = ("unique_field", "value_field", "from_field")


@dataclass(frozen=True)
class Manifest:
    """All nodes and checks of a project.

    Attributes:
        path: the file that was read; dbt's own serialized manifest lies beside it.
        project: the project's name.
        adapter: dbt's adapter, such as `duckdb`.
        nodes: by unique id, each after the nodes that it reads.
        checks: by unique id.
        unattached: `fqn` of the tests that read no model, seed, snapshot or source, so that no asset can show them.
        personal: the names of columns that a model or source classifies, so that their values are masked.
        sources: `schema.table` of each source, by unique id.

    """

    path: Path
    project: str
    adapter: str
    nodes: Mapping[str, Node]
    checks: Mapping[str, Check]
    unattached: Mapping[str, Key] = field(default_factory=dict)
    personal: Names = field(default_factory=Names)
    sources: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def node_of(self) -> Mapping[Key, Node]:
        """Nodes by asset key."""
        return {node.key: node for node in self.nodes.values()}

    @cached_property
    def tables(self) -> Mapping[str, StoredTable]:
        """Of which columns each column is made, by asset key joined by `/`, as far as it was read of this manifest."""
        return Stored.read(self.path.with_name(COLUMNS)).tables

    @cached_property
    def relations(self) -> Mapping[str, str]:
        """`schema.table` of each node and source, by unique id."""
        return {**{unique_id: node.relation for unique_id, node in self.nodes.items()}, **self.sources}

    @cached_property
    def check_of(self) -> Mapping[tuple[Key, str], Check]:
        """Checks by asset key and name."""
        return {(check.asset, check.name): check for check in self.checks.values()}


def read_manifest(path: Path) -> Manifest:
    """The manifest that dbt wrote at `path`.

    Raises:
        ManifestError: two resources have the same asset key.

    """
    return parse_manifest(json.loads(path.read_text(encoding="utf-8")), path)


def parse_manifest(document: Resource, path: Path = Path("manifest.json")) -> Manifest:
    """A manifest from its JSON value.

    Raises:
        ManifestError: two resources have the same asset key.

    """
    lineage = Lineage(document)
    nodes = read_nodes(lineage)
    checks, unattached = attach_checks(document, lineage, nodes)
    adapter = document["metadata"].get("adapter_type") or ""
    sources = {u: f"{source['schema']}.{source['identifier']}" for u, source in lineage.sources.items()}
    return Manifest(path, lineage.project, adapter, nodes, checks, unattached, _personal(lineage), sources)


def read_through_views(manifest: Manifest, read: Iterable[str]) -> list[str]:
    """The nodes and sources `read`, and all that the views among them read, by themselves and through views."""
    found: dict[str, None] = {}
    pending = list(read)
    while pending:
        unique_id = pending.pop()
        if unique_id not in found:
            found[unique_id] = None
            node = manifest.nodes.get(unique_id)
            if node is not None and node.is_virtual:
                pending += node.parents
    return list(found)


def code_behind(manifest: Manifest, node: Node) -> str:
    """The code version of a node that holds data: that of its own code, and of the views through which it reads.

    A view's own refresh is no news to what lies below it, since it shows at once what it reads. New code of it is.
    """
    read = () if node.is_virtual else read_through_views(manifest, node.parents)
    views = sorted(u for u in read if u in manifest.nodes and manifest.nodes[u].is_virtual)
    if not views:
        return node.code_version
    versions = [node.code_version, *(manifest.nodes[view].code_version for view in views)]
    return hashlib.sha256("\0".join(versions).encode()).hexdigest()[:16]


def personal_columns(manifest: Manifest, node: Node) -> Names:
    """The columns of a node whose values are masked: those that it classifies, and those of such a name elsewhere.

    So are copies of such a column under another name, as far as column lineage is known. Where all this says too much, the
    model classifies its column as `public`.
    """
    public = [c.name for c in node.columns if c.classification is not None and not is_masked(c.classification)]
    declared = [c.name for c in node.columns if is_masked(c.classification)]
    return ((manifest.personal | passed_on(manifest.personal, manifest.tables, manifest.node_of, node)) - public) | declared


def hidden_in(manifest: Manifest, check: Check) -> Names:
    """The columns of a check's failing rows whose values are masked; dbt's own tests rename the one that they are about."""
    node = manifest.nodes.get(check.attached_to)
    hidden = personal_columns(manifest, node) if node else manifest.personal
    return hidden | _RENAMED if check.column and check.column in hidden else hidden


def _personal(lineage: Lineage) -> Names:
    declared = (c for r in (*lineage.assets.values(), *lineage.sources.values()) for c in r.get("columns", {}).values())
    return Names(c["name"] for c in declared if is_masked(classification_of(c)))


def published_tables(manifest: Manifest, stage: str = "marts") -> list[PublishedTable]:
    """The tables of a stage that readers may rely on: its models that hold data of their own."""
    return [
        PublishedTable(
            key=node.key,
            relation=node.relation,
            description=node.description,
            owners=node.owners,
            tags=(("domain", node.key[1]), *((tag, "") for tag in node.tags)),
            columns=tuple((c.name, c.data_type, c.description) for c in node.columns),
            personal=personal_columns(manifest, node),
        )
        for node in manifest.nodes.values()
        if node.kind == "model" and node.key[0] == stage and not node.is_virtual
    ]
