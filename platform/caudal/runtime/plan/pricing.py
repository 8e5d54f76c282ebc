"""The costs of a selection of assets: BigQuery is asked for dry runs, which are free, and Dagster for the last time."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.runtime.location import component_tree, load_definitions
from caudal.runtime.plan.money import Costs, Last, Line
from caudal.transform.estimating import Asked, Estimate, estimate
from caudal.transform.rules import with_rules
from caudal.transform.selection import what_to_run
from caudal.warehouse.bigquery.budgets import Budget, Verdict
from caudal.warehouse.bigquery.component import declared_budgets
from caudal.warehouse.bigquery.costs import BILLED, BILLED_BY_CHECKS
from caudal.warehouse.quality.component import datasets_with_rules, declared_rules

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.runtime.plan.snapshot import Asset
    from caudal.runtime.plan.taking import Taken
    from caudal.transform.manifest import Manifest

_NAME = re.compile(r"(?P<above>[+*]?)(?P<name>[\w.-]+(?:/[\w.-]+)*)(?P<below>[+*]?)")
_NO_RUN = ""
_LOADED = "loaded, which is free; replacing the rows of a file, and rules, are not estimated"


class NoSuchAssets(LookupError):
    """A selection names nothing that is there, or cannot be read. The message says what was expected."""


def chosen(env: Environment, selections: Sequence[str]) -> list[str]:
    """The keys that selections mean, each after those that it reads.

    Args:
        selections: each the name of an asset (`marts/sales/daily_sales`, or its last part), with `+` behind it for all that is
            downstream and before it for all that is upstream; or Dagster's selection syntax, such as `group:sales`.

    Raises:
        NoSuchAssets: one of them means nothing.

    """
    graph = load_definitions(env.company).resolve_asset_graph()
    found: set[dg.AssetKey] = set()
    for text in selections:
        found |= _named(graph, text) or _selected(graph, text)
    return [key.to_user_string() for key in graph.toposorted_asset_keys if key in found]


def in_order(env: Environment, keys: Iterable[str]) -> list[str]:
    """The keys, each after those that it reads."""
    wanted = set(keys)
    graph = load_definitions(env.company).resolve_asset_graph()
    return [name for key in graph.toposorted_asset_keys if (name := key.to_user_string()) in wanted]


def costs_of(env: Environment, taken: Taken, keys: Collection[str], asked: Asked | None = None) -> Costs:
    """What making the assets anew would cost, with their tests.

    Raises:
        caudal.warehouse.bigquery.explained.BigQueryError: BigQuery cannot be asked.

    """
    assets = {key: taken.snapshot.assets[key] for key in keys if key in taken.snapshot.assets}
    last = _history(env, assets)
    if env.cloud is None:
        return Costs("local", tuple(Line(key, a.settings.get("group", ""), last=last[key]) for key, a in assets.items()))
    if asked is None:
        from caudal.warehouse.bigquery.service import BigQuery
        from caudal.warehouse.bigquery.sizes import Sizes

        asked = Sizes(BigQuery(env.cloud))
    estimates: dict[str, Estimate] = {}
    for manifest in _manifests(env, taken):
        nodes = [u for u, node in manifest.nodes.items() if "/".join(node.key) in assets]
        own = [u for u, check in manifest.checks.items() if check.attached_to in nodes]
        checks = what_to_run(manifest, nodes, own) if nodes else ()
        estimates |= {each.asset: each for each in estimate(asked, manifest, nodes, checks)}
    lines = [_line(env, asked, assets[key], taken.snapshot.assets, estimates.get(key)) for key in assets]
    beside = [Line(k, e.group, 0, e.tests, e.tests_bytes_billed, usd=env.cloud.usd(e.all_bytes_billed), note=e.note)
              for k, e in estimates.items() if k not in assets]  # fmt: skip
    told = tuple(_with(line, last.get(line.asset, Last())) for line in (*lines, *beside))
    return Costs("bigquery", told, _verdicts(env, told, declared_budgets(component_tree(env))))


def _line(env: Environment, asked: Asked, asset: Asset, assets: Mapping[str, Asset], found: Estimate | None) -> Line:
    assert env.cloud is not None
    group = asset.settings.get("group", "")
    if found is not None or asset.is_delivered:
        found = found or Estimate(asset.key, group)
        note = _LOADED if asset.is_delivered else found.note
        money = env.cloud.usd(found.all_bytes_billed)
        return Line(asset.key, group, found.bytes_billed, found.tests, found.tests_bytes_billed, usd=money, note=note)
    read = [assets[key].relation for key in asset.deps if key in assets and assets[key].relation]
    sizes = {relation: asked.size(relation) for relation in read}
    missing = sorted(relation for relation, size in sizes.items() if size is None)
    note = "Python: at most all columns of the tables above it, read; its audits are not estimated" if read else ""
    if missing:
        note += f"; not there yet: {', '.join(missing)}"
    if not read:
        return Line(asset.key, group, note=note)
    bytes_read = sum(size or 0 for size in sizes.values())
    return Line(asset.key, group, bytes_read=bytes_read, usd=env.cloud.usd_of_reading(bytes_read), note=note)


def _with(line: Line, last: Last) -> Line:
    return replace(line, last=last)


def _manifests(env: Environment, taken: Taken) -> Iterable[Manifest]:
    tree = component_tree(env)
    datasets, rules = datasets_with_rules(tree), declared_rules(tree)
    return [with_rules(project.manifest(env, datasets), rules) for project, _ in taken.projects]


def _verdicts(env: Environment, lines: Iterable[Line], budgets: Mapping[str, Budget]) -> tuple[Verdict, ...]:
    from caudal.warehouse.bigquery.spending import Spending

    by_group: dict[str, float] = {}
    for line in lines:
        if line.group in budgets:
            by_group[line.group] = by_group.get(line.group, 0.0) + (line.usd or 0.0)
    return Spending.of(env).look(_NO_RUN, by_group, budgets) if by_group else ()


def _history(env: Environment, keys: Iterable[str]) -> dict[str, Last]:
    """What Dagster remembers of each asset. A history that cannot be opened remembers nothing."""
    nothing = {key: Last() for key in keys}
    if not nothing or not (env.dagster_home / "dagster.yaml").is_file():
        return nothing
    asset_keys = {key: dg.AssetKey.from_user_string(key) for key in nothing}
    try:
        with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
            events = instance.get_latest_materialization_events(list(asset_keys.values()))
    except Exception:  # noqa: BLE001 - such as another machine's database: then nothing is known of the last time
        return nothing
    return {key: _last(events.get(asset_key)) for key, asset_key in asset_keys.items()}


def _last(event: Any) -> Last:
    made = event.asset_materialization if event else None
    told = made.metadata if made else {}

    def number(*names: str) -> Any:
        values = (getattr(told.get(name), "value", None) for name in names)
        return next((value for value in values if isinstance(value, int | float)), None)

    rows, size = number("dagster/row_count"), number("bytes", "size_bytes", "bytes read")
    return Last(rows, number("seconds", "Execution Duration"), size, number(BILLED), number(BILLED_BY_CHECKS))


def _named(graph: Any, text: str) -> set[dg.AssetKey]:
    """The asset of a name, and what is above or below it; nothing if no asset is called so."""
    match = _NAME.fullmatch(text.strip())
    if match is None:
        return set()
    keys = [key for key in graph.get_all_asset_keys() if match["name"] in (key.to_user_string(), key.path[-1])]
    exact = [key for key in keys if key.to_user_string() == match["name"]] or keys
    if len(exact) > 1:  # A profile or report is often called as the table that it is about: that is meant.
        below = {key: dg.AssetSelection.assets(key).downstream().resolve(graph) for key in exact}
        exact = [key for key in exact if set(exact) <= below[key]] or exact
    if len(exact) > 1:
        told = ", ".join(sorted(key.to_user_string() for key in exact))
        raise NoSuchAssets(f"{match['name']!r} is the name of several assets: {told}. Say the whole key of one")
    selection = dg.AssetSelection.assets(*exact)
    if not exact:
        return set()
    found = set(selection.resolve(graph))
    if match["below"]:
        found |= selection.downstream().resolve(graph)
    if match["above"]:
        found |= selection.upstream().resolve(graph)
    return found


def _selected(graph: Any, text: str) -> set[dg.AssetKey]:
    from dagster._core.errors import DagsterError

    try:
        found = set(dg.AssetSelection.from_string(text).resolve(graph))
    except (DagsterError, ValueError) as wrong:
        known = [key.to_user_string() for key in graph.get_all_asset_keys()]
        close = difflib.get_close_matches(text.strip("+*"), [*known, *{key.rpartition("/")[2] for key in known}], n=3)
        hint = f"; is {' or '.join(close)} meant?" if close else ""
        raise NoSuchAssets(f"--select {text!r} is neither an asset nor a selection as Dagster reads it{hint}") from wrong
    if not found:
        raise NoSuchAssets(f"--select {text!r} selects no asset")
    return found
