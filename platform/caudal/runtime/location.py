"""One code location from a company's package.

A company is a package with a `defs` folder of YAML, contracts and Python. Its `definitions.py` is three lines around
`code_location`. Loading opens no connection and imports no heavy library.
"""

import importlib
from collections.abc import Mapping, Sequence

import dagster as dg

from caudal.contracts.rules import Rule
from caudal.environment import Environment
from caudal.lake.component import declared_datasets, lake_key
from caudal.lake.dataset import Dataset
from caudal.lake.sensor import lake_sensor
from caudal.runtime.alerts.component import declared_alerts, settings_of
from caudal.runtime.alerts.sensor import alerts_sensor
from caudal.runtime.freshness import with_freshness
from caudal.runtime.guarded import guard
from caudal.runtime.housekeeping import declared_housekeeping, housekeeping_definitions
from caudal.runtime.policy import refresh_policy
from caudal.runtime.upkeep import declared_upkeep, upkeep_definitions
from caudal.warehouse.bigquery.component import declared_budgets
from caudal.warehouse.component import raw_asset, raw_key, rejects_key
from caudal.warehouse.quality.component import (
    Key,
    datasets_with_rules,
    declared_freshness,
    declared_rules,
    published_checks,
)

#: How long the lake sensor holds a tick when nothing is new.
HOLD_S = 20.0


def code_location(company: str) -> dg.Definitions:
    """Everything that the package `company` declares, with the raw tables, the lake sensor and the automation policy.

    Raises:
        caudal.declaration.DeclarationError: a contract is wrong; with file and line.

    """
    env = Environment.current(company)
    tree = component_tree(env)
    declared = tree.build_defs(tree.defs_module_path)
    datasets, rules = datasets_with_rules(tree), declared_rules(tree)
    merged = dg.Definitions.merge(
        _automated(declared, datasets),
        _lake_and_warehouse(env, declared, datasets),
        upkeep_definitions(env, datasets, declared_upkeep(tree)),
        housekeeping_definitions(env, declared_housekeeping(tree)),
        dg.Definitions(
            sensors=[alerts_sensor(env, datasets, settings_of(tree, env), running=declared_alerts(tree) is not None)]
        ),
    )
    if env.cloud is not None:
        from caudal.runtime.google_cloud_resources import resources

        merged = dg.Definitions.merge(merged, dg.Definitions(resources=resources(env.cloud)))
    checked = dg.Definitions.merge(merged, _rules_of_the_published(env, merged, rules)) if rules else merged
    budgets, fresh = declared_budgets(tree), with_freshness(checked, declared_freshness(tree))
    if env.cloud is not None:
        from caudal.runtime.accounts import keep_accounts

        fresh = keep_accounts(fresh, env, budgets)
    return guard(fresh)


def _rules_of_the_published(env: Environment, merged: dg.Definitions, rules: Mapping[Key, Sequence[Rule]]) -> dg.Definitions:
    graph = merged.resolve_asset_graph()
    return dg.Definitions(
        asset_checks=published_checks(env, rules, graph.asset_check_keys, graph.get_all_asset_keys()),
    )


def component_tree(env: Environment) -> dg.ComponentTree:
    """The components that the company declares in its `defs` folder."""
    return dg.ComponentTree.from_module(importlib.import_module(f"{env.company}.defs"), env.root)


def dataset_named(env: Environment, name: str) -> Dataset:
    """The dataset `<source>/<name>` of the company.

    Raises:
        LookupError: there is none; the message names those that there are.

    """
    datasets = {d.id: d for d in declared_datasets(component_tree(env))}
    if name not in datasets:
        raise LookupError(f"there is no dataset `{name}`; declared are: {', '.join(sorted(datasets)) or 'none'}")
    return datasets[name]


def load_definitions(company: str) -> dg.Definitions:
    """The definitions of the code location `company`, as its `definitions.py` declares them."""
    loaded = importlib.import_module(f"{company}.definitions").defs
    return loaded if isinstance(loaded, dg.Definitions) else loaded()


def _lake_and_warehouse(env: Environment, declared: dg.Definitions, datasets: Sequence[Dataset]) -> dg.Definitions:
    _refuse_duplicates(datasets)
    if env.cloud is not None:
        from caudal.warehouse.bigquery.storable import demand

        demand(dataset.contract for dataset in datasets)
    extracted = {spec.key for spec in declared.resolve_all_asset_specs()}
    dropped = [d for d in datasets if lake_key(d) not in extracted]
    raw_keys = {d.id: raw_key(d) for d in datasets}
    lake_keys = {d.id: lake_key(d) for d in datasets}
    rejects_keys = {d.id: rejects_key(d) for d in datasets}
    extracted_ids = {d.id for d in datasets if d not in dropped}
    automation = dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Refreshes what the lake sensor did not: after failures, code changes, schedules.",
    )
    return dg.Definitions(
        assets=[raw_asset(env, d, dropped=d in dropped) for d in datasets],
        sensors=[lake_sensor(env, datasets, raw_keys, lake_keys, rejects_keys, extracted_ids, hold_s=HOLD_S), automation],
        executor=dg.in_process_executor,
    )


def _automated(declared: dg.Definitions, datasets: Sequence[Dataset]) -> dg.Definitions:
    """`declared`, with the refresh policy on every asset that depends on another and has no condition of its own."""
    partitioned = [k for d in datasets if d.partition_by != "none" for k in (lake_key(d), raw_key(d))]
    selected = dg.AssetSelection.keys(*partitioned)
    policies = {over_views: refresh_policy(selected, over_views=over_views) for over_views in (True, False)}
    views = {spec.key for spec in declared.resolve_all_asset_specs() if spec.is_virtual}

    def with_policy(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.automation_condition is not None or not list(spec.deps):
            return spec
        return spec.replace_attributes(automation_condition=policies[any(d.asset_key in views for d in spec.deps)])

    return declared.map_asset_specs(func=with_policy)


def _refuse_duplicates(datasets: Sequence[Dataset]) -> None:
    seen: set[str] = set()
    for dataset in datasets:
        if dataset.id in seen:
            raise ValueError(f"dataset {dataset.id} is declared twice; remove one declaration")
        seen.add(dataset.id)
