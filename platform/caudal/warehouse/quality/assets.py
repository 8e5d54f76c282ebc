"""Rules as Dagster's checks: their specs, and what is told of each result."""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from caudal.contracts.rules import Rule
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.warehouse.quality.promises import kept_at_load
from caudal.warehouse.quality.raw import Tried


def rule_spec(rule: Rule, asset: dg.AssetKey, automation: dg.AutomationCondition[Any] | None = None) -> dg.AssetCheckSpec:
    """A rule as a check.

    Args:
        automation: when it is tried by itself, where the step that makes the asset does not try it.

    """
    return dg.AssetCheckSpec(
        rule.name, asset=asset, blocking=rule.blocks, description=description_of(rule), automation_condition=automation
    )


def rule_results(tried: Iterable[Tried], asset: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The results of `rule_spec`."""
    for one in tried:
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=one.outcome.rule.name,
            passed=one.outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR if one.outcome.rule.blocks else dg.AssetCheckSeverity.WARN,
            description=one.outcome.told,
            metadata=rule_metadata(one),
        )


def not_tried(rules: Iterable[Rule], asset: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """Results for a table that nothing was loaded into yet."""
    for rule in rules:
        yield dg.AssetCheckResult(asset_key=asset, check_name=rule.name, passed=True, description="nothing is loaded yet")


def promises_table(env: Environment, dataset: Dataset, *, count: bool) -> dg.TableMetadataValue:
    """What is kept at load, and the rejects of each column; see `promises.kept_at_load`."""
    rows = [
        {"column": column, "each value is": promise, "rows rejected": rejected}
        for column, promise, rejected in kept_at_load(env, dataset, count=count)
    ]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def description_of(rule: Rule) -> str:
    """What the rule is, for its page."""
    columns = ", ".join(f"`{c}`" for c in rule.columns)
    what = {
        "missing": f"Rows without {columns}: {rule.bound.told}.",
        "invalid": f"Rows whose {columns} is none of those that are meant: {rule.bound.told}.",
        "duplicate": f"Rows that share {columns} with another one: {rule.bound.told}.",
        "reference": f"Rows whose {columns} is not in `{rule.reference}`: {rule.bound.told}.",
        "rows": f"Rows that the rule's query selects: {rule.bound.told}.",
        "count": f"Rows: {rule.bound.told}.",
        "number": f"The number that the rule's query selects: {rule.bound.told}.",
        "freshness": f"The newest {columns} is at most {rule.within_hours or 0:g} hours old, and none of the future.",
        "volume": f"Each {f'day of `{rule.volume.by}`' if rule.volume.by else 'file'} has as many rows as there usually are.",
        "distribution": "The newest load is like those before it, column by column.",
    }[rule.kind]
    sql = f"\n\n```sql\n{rule.sql}\n```" if rule.sql else ""
    return f"{rule.description}\n\n{what}{sql}".strip()


def rule_metadata(tried: Tried) -> dict[str, dg.MetadataValue]:
    """What was found, what was expected, and the rows that break the rule."""
    outcome = tried.outcome
    metadata: dict[str, dg.MetadataValue] = {
        "found": dg.MetadataValue.text(outcome.found),
        "expected": dg.MetadataValue.text(outcome.expected),
        "severity": dg.MetadataValue.text(outcome.rule.severity),
    }
    for name, value in outcome.numbers.items():
        metadata[name] = dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(float(value))
    if outcome.details:
        metadata["details"] = dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in outcome.details])
    if tried.kept is not None:
        kept = tried.kept
        metadata["sample"] = dg.MetadataValue.table(
            [dg.TableRecord(dict(zip(kept.columns, row, strict=True))) for row in kept.sample],
            schema=dg.TableSchema([dg.TableColumn(name, "string") for name in kept.columns]),
        )
        if kept.files:
            files = [dg.TableRecord({"file": name, "failing rows": rows}) for name, rows in kept.files]
            metadata["failing rows by file"] = dg.MetadataValue.table(files)
        metadata["failing rows kept"] = dg.MetadataValue.int(kept.rows)
        metadata["failing rows are in"] = dg.MetadataValue.path(str(kept.path))
        metadata["query"] = dg.MetadataValue.md(
            f"```sql\n{kept.query}\n```\n\nin DuckDB; classified values are not masked there."
        )
    return metadata
