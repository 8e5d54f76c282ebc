"""The models, seeds and snapshots of a dbt project that exist in the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caudal.contracts.access import Access, RowPolicy, row_policies
from caudal.contracts.masking import is_masked
from caudal.transform.lineage import Key, Lineage, Resource, meta

INCREMENTAL = "incremental"


class ManifestError(ValueError):
    """The manifest cannot be turned into assets. The message says which dbt resources, and what to do."""


@dataclass(frozen=True)
class NodeColumn:
    """A column as the project declares it; `data_type` is "" where it does not say.

    Attributes:
        classification: its `meta.classification`, or `personal` if `meta.personal` is true; None where nothing is said.
        unit: its `meta.unit`.

    """

    name: str
    data_type: str = ""
    description: str = ""
    classification: str | None = None
    unit: str = ""


@dataclass(frozen=True)
class Node:
    """A model, seed or snapshot that exists in the warehouse. Ephemeral models exist only inside those that read them.

    Attributes:
        unique_id: dbt's name of it.
        fqn: dbt's path to it, by which it is selected.
        kind: `model`, `seed` or `snapshot`.
        key: the asset key, `(stage, domain or source, name)`: the first two folders of `models/` and the model's name.
        parents: the unique ids of the nodes and sources that it reads, also those that it reads through ephemeral models.
        deps: the asset keys of `parents`.
        relation: `schema.name` in the warehouse.
        materialized: as dbt says: `table`, `view`, `incremental`, `seed`, `snapshot`, ...
        code_version: changes whenever its SQL, an ephemeral model in it or a macro that it calls does.
        group: its domain for a mart, else its stage, unless dbt or `meta.dagster.group` names another.
        owners: e-mail addresses and `team:<name>`.
        days_of, with_newest: its `meta.days`, see `incremental`: `of`, the raw table whose days are its days, and whether the
            newest day is always built anew, since it says of itself that it is the newest.
        day_column: the date by whose days its table is partitioned in BigQuery, or None.
        row_access: its `meta.row_access`: who sees which of its rows in BigQuery.
        maximum_bytes: its `meta.maximum_bytes`: no query that makes or tests it may be billed for more in BigQuery.

    """

    unique_id: str
    fqn: Key
    kind: str
    key: Key
    parents: tuple[str, ...]
    deps: tuple[Key, ...]
    relation: str
    materialized: str
    code_version: str
    group: str
    description: str = ""
    columns: tuple[NodeColumn, ...] = ()
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    maximum_bytes: int | None = None
    row_access: tuple[RowPolicy, ...] = ()
    days_of: str | None = None
    with_newest: bool = False
    day_column: str | None = None

    @property
    def access(self) -> Access:
        """How it is guarded in BigQuery."""
        told = {c.name: c.classification for c in self.columns if c.classification and is_masked(c.classification)}
        return Access(told, self.row_access)

    @property
    def is_virtual(self) -> bool:
        """It holds no data of its own: what it shows is always as new as what it reads."""
        return self.materialized == "view"


def read_nodes(lineage: Lineage) -> dict[str, Node]:
    """All nodes by unique id, each after those that it reads.

    Raises:
        ManifestError: two resources have the same asset key, or one has a setting that cannot be read.

    """
    nodes = {unique_id: _node(resource, lineage) for unique_id, resource in lineage.assets.items()}
    _refuse_shared_keys(nodes, lineage)
    return dict(_parents_first(nodes))


def _node(resource: Resource, lineage: Lineage) -> Node:
    key = lineage.key(resource["unique_id"])
    parents = lineage.parents(resource)
    declared_group = meta(resource).get("dagster", {}).get("group") or resource.get("group")
    return Node(
        unique_id=resource["unique_id"],
        fqn=tuple(resource["fqn"]),
        kind=resource["resource_type"],
        key=key,
        parents=parents,
        deps=tuple(dict.fromkeys(lineage.key(parent) for parent in parents)),
        relation=f"{resource['schema']}.{resource['alias']}",
        materialized=resource["config"].get("materialized") or "",
        code_version=lineage.code_version(resource),
        group=declared_group or (key[1] if key[0] == "marts" else key[0]),
        description=(resource.get("description") or "").strip(),
        columns=tuple(
            NodeColumn(
                c["name"],
                c.get("data_type") or "",
                (c.get("description") or "").strip(),
                classification=classification_of(c),
                unit=str(meta(c).get("unit") or ""),
            )
            for c in resource.get("columns", {}).values()
        ),
        owners=_owners(resource, lineage),
        tags=tuple(resource.get("tags", ())),
        maximum_bytes=_maximum_bytes(resource),
        row_access=_row_access(resource),
        days_of=(meta(resource).get("days") or {}).get("of"),
        with_newest=bool((meta(resource).get("days") or {}).get("with_newest")),
        day_column=_day_column(resource),
    )


def _day_column(resource: Resource) -> str | None:
    said = resource["config"].get("partition_by")
    if not isinstance(said, Mapping) or (said.get("data_type", "date"), said.get("granularity", "day")) != ("date", "day"):
        return None
    return str(said["field"])


def _row_access(resource: Resource) -> tuple[RowPolicy, ...]:
    said = meta(resource).get("row_access")
    try:
        return row_policies(said) if said is not None else ()
    except ValueError as bad:
        raise ManifestError(f"{resource['unique_id']}: meta.row_access: {bad}") from None


def _maximum_bytes(resource: Resource) -> int | None:
    said = meta(resource).get("maximum_bytes")
    if said is not None and (isinstance(said, bool) or not isinstance(said, int) or said <= 0):
        raise ManifestError(
            f"{resource['unique_id']}: meta.maximum_bytes is {said!r}; expected a whole number of bytes, 1 or more"
        )
    return said


def classification_of(column: Resource) -> str | None:
    """How a column of a model or source is classified, in its `meta`."""
    said = meta(column)
    return str(said["classification"]) if said.get("classification") else "personal" if said.get("personal") is True else None


def _owners(resource: Resource, lineage: Lineage) -> tuple[str, ...]:
    declared = meta(resource).get("owner") or meta(resource).get("owners")
    if not declared and resource.get("group") in lineage.groups:
        owner = lineage.groups[resource["group"]].get("owner", {})
        declared = owner.get("email") or owner.get("name")
    named = [declared] if isinstance(declared, str) else list(declared or ())
    return tuple(owner if "@" in owner or owner.startswith("team:") else f"team:{owner}" for owner in named)


def _refuse_shared_keys(nodes: Mapping[str, Node], lineage: Lineage) -> None:
    holders: dict[Key, str] = {lineage.key(source): source for source in lineage.sources}
    for unique_id, node in nodes.items():
        first = holders.setdefault(node.key, unique_id)
        if first != unique_id:
            raise ManifestError(
                f"{first} and {unique_id} would both be the asset {'/'.join(node.key)}: rename or move one of them, "
                f"or give it a key of its own with `meta.dagster.asset_key`"
            )


def _parents_first(nodes: Mapping[str, Node]) -> Iterator[tuple[str, Node]]:
    done: set[str] = set()
    for start in nodes:
        pending = [start]
        while pending:
            unique_id = pending[-1]
            waiting = [p for p in nodes[unique_id].parents if p in nodes and p not in done]
            if waiting:
                pending.extend(waiting)
                continue
            pending.pop()
            if unique_id not in done:
                done.add(unique_id)
                yield unique_id, nodes[unique_id]
