"""Rules and freshness declared in YAML, for any table: raw, made by dbt or by Python."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from caudal.contracts.rules import Rule, RuleError, rule_of
from caudal.environment import Environment
from caudal.lake.component import declared_datasets
from caudal.lake.dataset import Dataset
from caudal.warehouse.quality.assets import rule_results, rule_spec
from caudal.warehouse.quality.published import try_published

Key = tuple[str, ...]


class FreshnessSettings(dg.Model, dg.Resolvable):
    """How old an asset may become.

    Attributes:
        asset: its key, such as `marts/sales/daily_sales`.
        within_hours: since it was last materialized.
        warn_hours: from then on Dagster shows it as nearly late; none: never.

    """

    asset: str
    within_hours: float
    warn_hours: float | None = None


class Checks(dg.Component, dg.Model, dg.Resolvable):
    """Rules of tables, a line each, and how fresh assets are kept.

    A rule that blocks keeps what it is about from being published, where dbt makes it; of a raw table, everything downstream
    goes on reading the last version that passed. A table that Python makes is published first, and then tried.

    Attributes:
        checks: each has `asset` and what `caudal.contracts.rules.rule_of` reads: `name`, `severity: warn | block`,
            `description`, and `sql` (a query that selects the rows that break the rule), `unique`, `references`, a range, ...
        freshness: promises of marts, which are pushed upstream to what feeds them.

    """

    checks: Sequence[dict[str, Any]] = ()
    freshness: Sequence[FreshnessSettings] = ()

    def rules(self) -> dict[Key, tuple[Rule, ...]]:
        """The rules by asset key.

        Raises:
            ValueError: a line is not understood; with which.

        """
        found: dict[Key, tuple[Rule, ...]] = {}
        for number, given in enumerate(self.checks, 1):
            asset = given.get("asset")
            if not isinstance(asset, str) or not asset:
                raise ValueError(f"checks, number {number}: `asset` is missing; expected a key such as marts/sales/daily_sales")
            try:
                rule = rule_of({name: value for name, value in given.items() if name != "asset"})
            except RuleError as bad:
                raise ValueError(f"checks, number {number} ({asset}): {bad}") from None
            key = tuple(asset.split("/"))
            if rule.name in {r.name for r in found.get(key, ())}:
                raise ValueError(f"checks, number {number}: {asset} has two rules called `{rule.name}`; rename one")
            found[key] = (*found.get(key, ()), rule)
        return found

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The lines are read here; their checks are made where the assets are."""
        self.rules()
        return dg.Definitions()


@dataclass(frozen=True)
class Promise:
    """An asset is materialized at least every so many hours; from `warn_hours` on it is nearly late."""

    within_hours: float
    warn_hours: float | None = None


def declared_rules(tree: dg.ComponentTree) -> dict[Key, tuple[Rule, ...]]:
    """All rules that YAML declares, by asset key."""
    found: dict[Key, tuple[Rule, ...]] = {}
    for component in tree.get_all_components(Checks):
        for key, rules in component.rules().items():
            found[key] = (*found.get(key, ()), *rules)
    return found


def declared_freshness(tree: dg.ComponentTree) -> dict[Key, Promise]:
    """What is promised of assets in YAML, by key."""
    return {
        tuple(one.asset.split("/")): Promise(one.within_hours, one.warn_hours)
        for component in tree.get_all_components(Checks)
        for one in component.freshness
    }


def datasets_with_rules(tree: dg.ComponentTree) -> tuple[Dataset, ...]:
    """Every dataset of the company, its contract with the rules that YAML adds.

    Raises:
        ValueError: a rule of YAML has the name of one of the contract, or a reference names no dataset.

    """
    declared, added = declared_datasets(tree), declared_rules(tree)
    ids = {dataset.id for dataset in declared}
    datasets = []
    for dataset in declared:
        rules = (*dataset.contract.rules, *added.get(("raw", dataset.source, dataset.name), ()))
        names = [rule.name for rule in rules]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"raw/{dataset.id}: two rules are called `{twice}`; rename the one in YAML")
        for rule in rules:
            target = (rule.reference or "").rpartition(".")[0]
            if target and target not in ids:
                known = ", ".join(sorted(ids))
                raise ValueError(f"raw/{dataset.id}, rule {rule.name}: there is no dataset `{target}`; declared are: {known}")
        datasets.append(replace(dataset, contract=replace(dataset.contract, rules=rules)) if rules else dataset)
    return tuple(datasets)


def published_checks(
    env: Environment,
    rules: Mapping[Key, Sequence[Rule]],
    checks: Collection[dg.AssetCheckKey],
    assets: Collection[dg.AssetKey],
) -> list[dg.AssetChecksDefinition]:
    """Checks of the tables that neither the lake nor dbt made: tried once they are published.

    Args:
        rules: all that YAML declares.
        checks, assets: those that there are; a rule with a check of its own is left out.

    Raises:
        ValueError: a rule is about no asset.

    """
    missing: dict[Key, list[Rule]] = {}
    for key, declared in rules.items():
        asset = dg.AssetKey(list(key))
        left = [rule for rule in declared if dg.AssetCheckKey(asset, rule.name) not in checks]
        if left and asset not in assets:
            raise ValueError(f"the rule `{left[0].name}` is about the asset {'/'.join(key)}, which is not there")
        if left:
            missing[key] = left
    return [_published_check(env, key, left) for key, left in missing.items()]


def _published_check(env: Environment, key: Key, rules: Sequence[Rule]) -> dg.AssetChecksDefinition:
    asset = dg.AssetKey(list(key))
    specs = [rule_spec(rule, asset, dg.AutomationCondition.eager()) for rule in rules]

    @dg.multi_asset_check(name=f"rules_of_{'__'.join(key)}", specs=specs)
    def rules_of_table() -> Iterator[dg.AssetCheckResult]:
        yield from rule_results(try_published(env, key, rules), asset)

    return rules_of_table
