"""The assets and partitions of a request, found in the definitions: what exactly would be made again, and what lies below."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset

if TYPE_CHECKING:
    from caudal.runtime.backfills.request import Request

_LISTED = 5


@dataclass(frozen=True)
class Targets:
    """What a request comes to.

    Attributes:
        subset: the assets and partitions, as Dagster takes them.
        assets: their keys, with slashes.
        partitions: how many of the partitioned ones; 0 if none is.
        runs: how many runs it takes, as the assets' backfill policies say, tries not counted.
        along: assets that were not asked for and are made by the same steps.
        below: assets that are downstream and are not made again by this request.

    """

    subset: AssetGraphSubset
    assets: tuple[str, ...]
    partitions: int
    runs: int
    along: tuple[str, ...]
    below: tuple[str, ...]


def find(request: Request, graph: Any, instance: dg.DagsterInstance) -> Targets:
    """The assets and partitions that the request asks for.

    Args:
        graph: Dagster's asset graph of the definitions.
        instance: knows the partitions that are made while data come in, such as those by file.

    Raises:
        caudal.declaration.DeclarationError: an asset or a partition does not exist, or an asset is made by others; with file
            and line.

    """
    asked = [_asset(request, name, graph) for name in request.assets]
    wanted = dict.fromkeys(asked)
    if request.downstream:
        wanted |= dict.fromkeys(_below(asked, graph))
    materializable = {key for key in wanted if graph.get(key).is_materializable}
    together = {other for key in materializable for other in graph.get(key).execution_set_asset_keys}
    keys = sorted(materializable | together, key=lambda key: key.path)
    partitioned = {key: graph.get(key).partitions_def for key in keys if graph.get(key).is_partitioned}
    chosen = _chosen(request, asked, partitioned, instance)
    subset = AssetGraphSubset(
        partitions_subsets_by_asset_key={
            key: definition.subset_with_partition_keys(chosen[key]) for key, definition in partitioned.items()
        },
        non_partitioned_asset_keys={key for key in keys if key not in partitioned},
    )
    names = tuple(key.to_user_string() for key in keys)
    return Targets(
        subset,
        names,
        max((len(each) for each in chosen.values()), default=0),
        _runs(graph, keys, chosen),
        tuple(key.to_user_string() for key in keys if key not in wanted),
        tuple(key.to_user_string() for key in _below(keys, graph)),
    )


def _asset(request: Request, name: str, graph: Any) -> dg.AssetKey:
    key = dg.AssetKey(name.split("/"))
    if not graph.has(key):
        known = [each.to_user_string() for each in graph.get_all_asset_keys()]
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"; is {' or '.join(close)} meant?" if close else ""
        raise request.error("assets", f"there is no asset {name!r}{hint}")
    if not graph.get(key).is_materializable:
        raise request.error("assets", f"{name} is made by others: the platform can only look at it")
    return key


def _chosen(
    request: Request, asked: Sequence[dg.AssetKey], partitioned: dict[dg.AssetKey, Any], instance: dg.DagsterInstance
) -> dict[dg.AssetKey, list[str]]:
    """The partitions of each asset that has some."""
    setting = "files" if request.document and "files" in request.document.value else "partitions"
    names_some = bool(request.first or request.partitions)
    if names_some and not any(key in partitioned for key in asked):
        raise request.error(setting, f"{', '.join(request.assets)} has no partitions; leave out `{setting}`")
    if partitioned and not names_some:
        one = min(partitioned, key=lambda key: key not in asked).to_user_string()
        raise request.error("assets", f"{one} has partitions; say which with `partitions: {{from: ..., to: ...}}` or a list")
    chosen = {}
    for key in sorted(partitioned, key=lambda key: key not in asked):  # what was asked for is what an error is about
        definition = partitioned[key]
        there = list(definition.get_partition_keys(dynamic_partitions_store=instance))
        if key not in asked and any(definition != partitioned.get(other) for other in asked):
            known = set(there)
            chosen[key] = [name for name in _named(request, setting, there, key, is_asked=False) if name in known]
        else:
            chosen[key] = _named(request, setting, there, key, is_asked=True)
    return chosen


def _named(request: Request, setting: str, there: list[str], key: dg.AssetKey, *, is_asked: bool) -> list[str]:
    ends = (request.first, request.last) if request.first else ()
    missing = [name for name in ends or request.partitions if name not in set(there)]
    if missing and is_asked:
        span = f"{there[0]} to {there[-1]}, {len(there):,} of them" if there else "none yet"
        close = difflib.get_close_matches(missing[0], there, n=_LISTED)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        raise request.error(
            setting, f"{key.to_user_string()} has no partition {', '.join(missing[:_LISTED])}; there are {span}{hint}"
        )
    if not ends:
        return list(request.partitions)
    if missing:
        return []
    first, last = (there.index(end) for end in ends)
    if first > last:
        raise request.error(setting, f"the range goes from {ends[0]} to {ends[1]}, which is before it; exchange them")
    return there[first : last + 1]


def _below(keys: Sequence[dg.AssetKey], graph: Any) -> list[dg.AssetKey]:
    found: dict[dg.AssetKey, None] = {}
    pending = list(keys)
    while pending:
        for child in sorted(graph.get(pending.pop(0)).child_keys, key=lambda key: key.path):
            if child not in found and child not in keys:
                found[child] = None
                pending.append(child)
    return list(found)


def _runs(graph: Any, keys: Sequence[dg.AssetKey], chosen: dict[dg.AssetKey, list[str]]) -> int:
    """Assets with the same partitions and policy go together; those without partitions in one run."""
    groups: dict[tuple[Any, ...], int] = {}
    for key in keys:
        if key not in chosen:
            groups["whole",] = 1
            continue
        policy = graph.get(key).backfill_policy
        at_most = 1 if policy is None else policy.max_partitions_per_run
        count = len(chosen[key])
        groups[tuple(chosen[key]), at_most] = -(-count // at_most) if at_most else min(count, 1)
    return sum(groups.values())
