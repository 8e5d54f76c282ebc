"""The checks of raw tables and rejects in Dagster, and their results."""

from collections.abc import Iterator

import dagster as dg

from caudal.lake.dataset import Dataset
from caudal.lake.evolution import not_adopted
from caudal.warehouse import duplicates
from caudal.warehouse.assets import SHOWN, Told
from caudal.warehouse.quality.assets import promises_table

CONSERVATION = "For each file, rows read = rows loaded + rows rejected + rows erased at the wish of whom they are of."


def check_specs(dataset: Dataset, raw: dg.AssetKey, rejects: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a raw table and of its rejects."""
    specs = [
        dg.AssetCheckSpec("conservation", asset=raw, blocking=True, description=CONSERVATION),
        dg.AssetCheckSpec(
            "rejected_share",
            asset=rejects,
            description=f"At most {dataset.max_rejected_share:.2%} of the rows of the live files are rejected.",
        ),
        dg.AssetCheckSpec("files_readable", asset=rejects, description="No live file is in quarantine, wholly or partly."),
    ]
    if dataset.contract.drift != "freeze":
        told = "Files have no column that the contract does not declare."
        specs.append(dg.AssetCheckSpec("schema_change", asset=raw, description=told))
    if dataset.duplicates != "off":
        told = f"No {dataset.duplicates} stands in more than one file, or member of one."
        specs.append(dg.AssetCheckSpec("duplicates", asset=raw, description=told))
    return specs


def check_results(told: Told, raw: dg.AssetKey, rejects: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The results of `check_specs`."""
    dataset, totals = told.dataset, told.totals
    lost = [o.path for _, o in told.loaded.files if o.rows_read != o.rows_loaded + o.rows_rejected + o.rows_erased]
    yield dg.AssetCheckResult(
        asset_key=raw,
        check_name="conservation",
        passed=not lost and totals.rows_read == totals.rows_loaded + totals.rows_rejected + totals.rows_erased,
        metadata={
            "rows read": totals.rows_read,
            "rows loaded": totals.rows_loaded,
            "rows erased": totals.rows_erased,
            "files that differ": ", ".join(lost),
        },
    )
    share = totals.rows_rejected / totals.rows_read if totals.rows_read else 0.0
    yield dg.AssetCheckResult(
        asset_key=rejects,
        check_name="rejected_share",
        passed=share <= dataset.max_rejected_share,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "share": share,
            "rows rejected": totals.rows_rejected,
            "table": f"quarantine.{dataset.table}",
            "kept when files are loaded": promises_table(told.env, dataset, count=totals.rows_rejected > 0),
        },
    )
    faulty = told.ledger.faulty(dataset.id, SHOWN)
    yield dg.AssetCheckResult(
        asset_key=rejects,
        check_name="files_readable",
        passed=not faulty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "files quarantined": totals.files.get("quarantined", 0),
            "files": dg.MetadataValue.md("\n".join(f"- `{f.path}`: {f.reason or f.note}" for f in faulty) or "none"),
        },
    )
    if dataset.contract.drift != "freeze":
        yield _schema_change(told, raw)
    if dataset.duplicates != "off":
        yield _duplicates_of_load(told, raw)


def _schema_change(told: Told, raw: dg.AssetKey) -> dg.AssetCheckResult:
    """Columns that appeared and nobody has adopted yet; under the policy `ignore`, those that were left out of this load."""
    new = not_adopted(told.dataset, told.ledger.evolved(told.dataset.id))
    rows = [dg.TableRecord({"column": e.name, "first file": e.first_file, "first seen": e.at}) for e in new]
    if told.dataset.contract.drift == "ignore":
        rows = [dg.TableRecord({"column": name, "first file": "", "first seen": ""}) for name in sorted(told.loaded.undeclared)]
    advice = f"; `caudal lake adopt {told.dataset.id}` declares them" if new else ""
    return dg.AssetCheckResult(
        asset_key=raw,
        check_name="schema_change",
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} columns that the contract does not declare{advice}" if rows else None,
        metadata={"columns": dg.MetadataValue.table(rows)} if rows else {},
    )


def _duplicates_of_load(told: Told, raw: dg.AssetKey) -> dg.AssetCheckResult:
    """Counted in this load, or the newest count where counting would take longer than the load."""
    env, dataset, version = told.env, told.dataset, told.loaded.raw_version
    counted = duplicates.last_count(env, dataset)
    is_news = version is not None and (counted is None or bool(told.loaded.files))
    if is_news and duplicates.is_due(told.loaded.rows_loaded, told.totals.rows_loaded):
        counted = duplicates.count(env, dataset, version)
    return duplicates_result(dataset, raw, counted, version)


def duplicates_result(
    dataset: Dataset, raw: dg.AssetKey, counted: duplicates.Duplicates | None, version: int | None
) -> dg.AssetCheckResult:
    """What stands in more than one file; `counted` may be of an older version than `version`, the newest of the raw table."""
    if counted is None:
        why = "nothing is loaded" if version is None else "the table is large and this load small: upkeep counts it every day"
        return dg.AssetCheckResult(asset_key=raw, check_name="duplicates", passed=True, description=f"not counted yet: {why}")
    noun = f"{counted.compared}s"
    stand = f"{counted.compared} stands" if counted.shared == 1 else f"{noun} stand"
    description = f"{counted.shared:,} {stand} in more than one file" if counted.shared else f"no {stand} in more than one file"
    if counted.shared and dataset.expect_duplicates:
        description += ", which the dataset expects"
    if version is not None and counted.version != version:
        description += f", as counted in version {counted.version}; upkeep counts again every day"
    metadata: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(counted.rows),
        "rows that stand in several files": dg.MetadataValue.int(counted.shared_rows),
        "rows beyond the first": dg.MetadataValue.int(counted.beyond_first),
        "raw version": dg.MetadataValue.int(counted.version),
    }
    if counted.pairs:
        pairs = [dg.TableRecord({"file": p.one, "other file": p.other, noun: p.shared}) for p in counted.pairs]
        metadata["files"] = dg.MetadataValue.table(pairs)
    if counted.samples:
        samples = [dg.TableRecord({counted.compared: s.value, "files": ", ".join(s.files)}) for s in counted.samples]
        metadata["samples"] = dg.MetadataValue.table(samples)
    return dg.AssetCheckResult(
        asset_key=raw,
        check_name="duplicates",
        passed=dataset.expect_duplicates or not counted.shared,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )
