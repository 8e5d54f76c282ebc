"""What Dagster shows of tables that are audited before they are published: their checks, and why they are held back."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from caudal.contracts.masking import mask_told
from caudal.environment import Environment
from caudal.warehouse.audits import Audit, AuditOutcome, AuditsFailed
from caudal.warehouse.candidate import published_tables_of
from caudal.warehouse.held_back import Held
from caudal.warehouse.versions import Cause

if TYPE_CHECKING:
    import pyarrow as pa

_WHY = dg.TableSchema([dg.TableColumn(name) for name in ("check", "failing rows", "why")])

Event = dg.AssetCheckResult | dg.AssetObservation


def audit_specs(key: dg.AssetKey, audits: Sequence[Audit]) -> list[dg.AssetCheckSpec]:
    """The audits of an asset as blocking checks."""
    return [dg.AssetCheckSpec(each.name, asset=key, description=each.description, blocking=True) for each in audits]


def publish_audited(
    context: dg.AssetExecutionContext,
    env: Environment,
    key: dg.AssetKey,
    tables: Mapping[str, "pa.Table"],
    audits: Sequence[Audit],
    hidden: Callable[[], Collection[str]] = tuple,
) -> Generator[Event, None, dict[str, dg.MetadataValue]]:
    """Publish the asset's tables if all audits hold: the checks' results, and what to say with the materialization.

    Args:
        hidden: gives the columns of which failing rows show only the shape of each value; asked for if an audit fails.

    Raises:
        dg.Failure: an audit failed. The tables keep their last good version, and the asset's page says so.

    """
    cause = Cause(by=key.to_user_string(), run_id=context.run_id)
    try:
        done = published_tables_of(env, tables, audits, cause)
    except AuditsFailed as failed:
        for relation, held in failed.held.items():
            yield observation(key, held, relation)
        yield from _results(key, failed.outcomes, hidden())
        raise dg.Failure(str(failed), allow_retries=False) from None
    yield from _results(key, done.outcomes)
    metadata: dict[str, dg.MetadataValue] = {"published version": dg.MetadataValue.text(done.version)}
    for was_held in done.was_held.values():
        metadata["was held back"] = dg.MetadataValue.text(was_held.sentence())
    return metadata


def observation(key: dg.AssetKey, held: Held, relation: str) -> dg.AssetObservation:
    """That `relation` is not published. It is no update: nothing is refreshed by it."""
    return dg.AssetObservation(key, description=f"{relation} is held back. {held.sentence()}", metadata=held_metadata(held))


def held_metadata(held: Held) -> dict[str, dg.MetadataValue]:
    """Why something is not published, since when, and what readers see."""
    rows = [
        {"check": w.check, "failing rows": "" if w.failures is None else f"{w.failures:,}", "why": w.reason} for w in held.why
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "why": dg.MetadataValue.table([dg.TableRecord(row) for row in rows], _WHY),
        "not published since": dg.MetadataValue.timestamp(held.since),
        "times": dg.MetadataValue.int(held.times),
        "readers see version": dg.MetadataValue.text(held.readers_see or "none: it was never published"),
    }
    if held.good_since:
        metadata["which was published"] = dg.MetadataValue.timestamp(held.good_since)
    return metadata


def _results(key: dg.AssetKey, outcomes: Sequence[AuditOutcome], hidden: Collection[str] = ()) -> Iterator[dg.AssetCheckResult]:
    for outcome in outcomes:
        metadata: dict[str, dg.MetadataValue] = {
            "SQL": dg.MetadataValue.md(f"```sql\n{outcome.audit.failing}\n```"),
            **({} if outcome.failures is None else {"failures": dg.MetadataValue.int(outcome.failures)}),
        }
        if outcome.rows:
            metadata["failing rows"] = dg.MetadataValue.table(
                [dg.TableRecord(_shown(outcome.columns, row, hidden)) for row in outcome.rows],
                dg.TableSchema([dg.TableColumn(name) for name in outcome.columns]),
            )
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=outcome.audit.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=outcome.problem or None,
            metadata=metadata,
        )


def _shown(names: Sequence[str], row: Sequence[str | None], hidden: Collection[str]) -> dict[str, str | None]:
    return {name: mask_told(value) if name in hidden else value for name, value in zip(names, row, strict=True)}
