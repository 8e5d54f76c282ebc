"""What Dagster knows of published tables: who owns them, when they were made, how their checks ended, what they are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.runtime.asset_metadata import relation_of
from caudal.runtime.plan.money import cost_in_words
from caudal.serving.catalogue.values import Check, Column, Figures, Freshness, Profile, Table

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

    from caudal.environment import Environment

_STATUS = {"SUCCEEDED": "passed", "FAILED": "failed", "EXECUTION_FAILED": "failed"}
_ON_DISK = "profile"


@dataclass(frozen=True)
class Records:
    """The definitions' graph, and the newest records of it.

    Attributes:
        asset_of: the asset that makes a relation.
        made: the newest materialization of an asset.
        late: what Dagster's freshness daemon or the alerts say of an asset; assets of which nothing is said are missing.

    """

    graph: AssetGraph
    asset_of: Mapping[str, dg.AssetKey]
    made: Mapping[dg.AssetKey, dg.EventLogEntry]
    checks: Mapping[dg.AssetCheckKey, Any]
    late: Mapping[dg.AssetKey, bool]

    def schema_of(self, relation: str) -> dict[str, Column]:
        """The columns that the asset itself shows, for tables that neither a contract nor a model describes."""
        key = self.asset_of.get(relation)
        told = self.graph.get(key).metadata.get("dagster/column_schema") if key else None
        schema = getattr(told, "value", told)
        if not isinstance(schema, dg.TableSchema):
            return {}
        return {
            c.name.lower(): Column(
                c.name,
                c.type,
                c.description or "",
                unit=c.tags.get("unit", ""),
                constraints=(
                    *(() if c.constraints.nullable else ("never empty",)),
                    *(("unique",) if c.constraints.unique else ()),
                ),
                classification=c.tags.get("classification"),
            )
            for c in schema.columns
        }

    def fill(self, table: Table) -> Table:
        """The table with what is known of its asset; as it is if it is none."""
        key = self.asset_of.get(table.relation)
        if key is None:
            return table
        node, entry = self.graph.get(key), self.made.get(key)
        metadata = _metadata(entry)
        rows = getattr(metadata.get("dagster/row_count"), "value", None)
        return replace(
            table,
            asset="/".join(key.path),
            domain=node.tags.get("domain") or node.tags.get("source") or key.path[1],
            description=(node.description or "").partition("\n\nDelta Lake table")[0].strip(),
            owners=tuple(node.owners),
            tags=tuple(sorted(name for name, value in node.tags.items() if not value and "/" not in name)),
            rows=table.rows if table.rows is not None else rows if isinstance(rows, int) else None,
            freshness=self._freshness(key, entry),
            checks=self._checks(key),
            reads=_names(node.parent_keys),
            read_by=_names(k for k in node.child_keys if k.path[0] != _ON_DISK),
            origins=_names(k for k in self._ancestors(key) if k.path[0] == "lake") if node.parent_keys else (),
            profile=self._profile(key, {c.name for c in table.columns if c.personal}),
            cost=cost_in_words({name: value.value for name, value in metadata.items() if hasattr(value, "value")}),
        )

    def _ancestors(self, key: dg.AssetKey) -> set[dg.AssetKey]:
        seen: set[dg.AssetKey] = set()
        pending = [key]
        while pending:
            new = [p for p in self.graph.get(pending.pop()).parent_keys if p not in seen]
            seen.update(new)
            pending += [p for p in new if self.graph.has(p)]
        return seen

    def _freshness(self, key: dg.AssetKey, entry: dg.EventLogEntry | None) -> Freshness:
        policy = self.graph.get(key).freshness_policy
        made_s = entry.timestamp if entry else None
        rule, expected_s = promise(policy, made_s)
        late = self.late.get(key) if rule else self.late.get(key) or None
        return Freshness(_iso(made_s), False if late is None and rule and made_s else late, rule, _iso(expected_s))

    def _checks(self, key: dg.AssetKey) -> tuple[Check, ...]:
        found = []
        for check_key in sorted(self.graph.get(key).check_keys, key=lambda k: k.name):
            spec, record = self.graph.get(check_key), self.checks.get(check_key)
            status = _STATUS.get(record.status.value, "") if record else ""
            evaluated = record.event.dagster_event.asset_check_evaluation_data if record and record.event and status else None
            if status == "failed" and evaluated is not None and evaluated.severity == dg.AssetCheckSeverity.WARN:
                status = "warned"
            at = _iso(record.create_timestamp) if record else ""
            found.append(Check(check_key.name, spec.description or "", spec.blocking, status, at))
        return tuple(found)

    def with_lineage(self, relation: str, columns: Sequence[Column]) -> tuple[Column, ...]:
        """The columns with those that each is made of, where a materialization or definition says."""
        key = self.asset_of.get(relation)
        if key is None:
            return tuple(columns)
        told = _metadata(self.made.get(key)).get("dagster/column_lineage") or self.graph.get(key).metadata.get(
            "dagster/column_lineage"
        )
        lineage = getattr(told, "value", told)
        if not isinstance(lineage, dg.TableColumnLineage):
            return tuple(columns)
        relation_of = {asset: relation for relation, asset in reversed(list(self.asset_of.items()))}
        of = {name.lower(): deps for name, deps in lineage.deps_by_column.items()}
        return tuple(
            replace(
                c,
                made_of=tuple(
                    f"{relation_of.get(d.asset_key, '/'.join(d.asset_key.path))}.{d.column_name}"
                    for d in of.get(c.name.lower(), ())
                ),
            )
            for c in columns
        )

    def _profile(self, key: dg.AssetKey, personal: Collection[str]) -> Profile | None:
        asset = dg.AssetKey(["profile", *(key.path[1:] if key.path[0] == "marts" else key.path)])
        entry = self.made.get(asset)
        metadata = _metadata(entry)
        figures = getattr(metadata.get("figures"), "data", None)
        if entry is None or not isinstance(figures, dict):
            return None
        report = getattr(metadata.get("report"), "path", None) or ""
        return Profile(
            "/".join(asset.path),
            _iso(entry.timestamp),
            int(figures.get("rows") or 0),
            tuple(_figures(c, bool(figures.get("approximate")), c["name"] in personal) for c in figures.get("columns") or ()),
            report if Path(report).is_file() else "",
        )


def read_records(env: Environment, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Records:
    """All that is needed, in a few queries."""
    graph = definitions.resolve_asset_graph()
    keys = list(graph.get_all_asset_keys())
    asset_of: dict[str, dg.AssetKey] = {}
    for key in sorted(keys, key=lambda k: k.path):
        relation = relation_of(graph.get(key).metadata)
        if relation and key.path[0] != _ON_DISK:
            asset_of[relation] = key
    for relation, key in list(asset_of.items()):
        asset_of.setdefault(f"{relation}_latest", key)
    made = {r.asset_entry.asset_key: r.asset_entry.last_materialization for r in instance.get_asset_records(keys)}
    checks = [check for key in asset_of.values() for check in graph.get(key).check_keys]
    return Records(
        graph,
        asset_of,
        {key: entry for key, entry in made.items() if entry is not None},
        instance.event_log_storage.get_latest_asset_check_execution_by_key(list(dict.fromkeys(checks))),
        _late(env, instance, keys),
    )


def promise(policy: dg.FreshnessPolicy | None, made_s: float | None) -> tuple[str, float | None]:
    """A freshness policy in words, and the moment by which it wants the table made again."""
    from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy

    if isinstance(policy, TimeWindowFreshnessPolicy):
        window = policy.fail_window.to_timedelta()
        hours = window.total_seconds() / 3600
        return f"never older than {hours:g} h", made_s + window.total_seconds() if made_s else None
    if isinstance(policy, CronFreshnessPolicy):
        from dagster._utils.schedules import cron_string_iterator

        now_s = datetime.now(UTC).timestamp()
        ahead = next(iter(cron_string_iterator(now_s, policy.deadline_cron, policy.timezone)))
        return f"made by `{policy.deadline_cron}` ({policy.timezone})", ahead.timestamp()
    return "", None


def _late(env: Environment, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, bool]:
    from dagster._core.definitions.freshness import FreshnessState

    from caudal.runtime.alerts.book import Book, book_path

    judged = {FreshnessState.PASS: False, FreshnessState.WARN: False, FreshnessState.FAIL: True}
    found = {
        k: judged[r.freshness_state]
        for k, r in instance.get_freshness_state_records(keys).items()
        if r.freshness_state in judged
    }
    for incident in Book.of(env).incidents() if book_path(env).exists() else ():
        if incident.kind == "late":
            found |= {dg.AssetKey.from_user_string(name): True for name in (incident.subject, *incident.also)}
    return found


def _figures(column: Mapping[str, Any], approximate: bool, personal: bool) -> Figures:
    """A column of a profile as text; of personal data only how much there is, also if the profile was made without masking."""
    nulls = float(column.get("null_share") or 0)
    if personal:
        column = {**column, "quantiles": None, "top": None, "minimum": None, "maximum": None}
    median = (column.get("quantiles") or {}).get("0.5")
    top = [f"{_short(each['value'])} ({each['rows']:,})" for each in (column.get("top") or ())[:3]]
    return Figures(
        str(column["name"]),
        "none" if not nulls else "< 0.1 %" if nulls < 0.001 else f"{nulls:.1%}",
        f"{'about ' if approximate else ''}{column.get('distinct', 0):,}",
        _short(column.get("minimum")),
        _short(median),
        _short(column.get("maximum")),
        ", ".join(top),
    )


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 32 else f"{text[:31]}…"


def _metadata(entry: dg.EventLogEntry | None) -> Mapping[str, Any]:
    return entry.asset_materialization.metadata if entry is not None and entry.asset_materialization else {}


def _names(keys: Iterable[dg.AssetKey]) -> tuple[str, ...]:
    return tuple(sorted("/".join(key.path) for key in keys))


def _iso(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
