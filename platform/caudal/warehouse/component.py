"""Raw tables as assets: what was loaded, from which files, what was rejected and why."""

from collections.abc import Iterator, Sequence

import dagster as dg

from caudal.contracts import LINEAGE_COLUMNS, Contract
from caudal.environment import Environment
from caudal.lake.component import lake_key, lake_spec, partitions_of
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile, Outcome, Totals
from caudal.warehouse.loading import Loaded, load_pending

#: Files and rejected rows shown on an asset's page; the ledger and the quarantine table hold all.
SHOWN = 50

_LINEAGE_DESCRIPTIONS = {
    "_file": "The lake file that the row came from.",
    "_version": "The version of that file.",
    "_row": "Where in the file the row stands.",
    "_loaded_at": "When it was loaded (UTC).",
}


def raw_key(dataset: Dataset) -> dg.AssetKey:
    """`raw/<source>/<dataset>`."""
    return dg.AssetKey(["raw", dataset.source, dataset.name])


def table_schema(contract: Contract) -> dg.TableSchema:
    """The raw table's columns, as Dagster shows them."""
    declared = [
        dg.TableColumn(
            c.name,
            c.duckdb_type,
            description=_described(c.description, c.unit),
            constraints=dg.TableColumnConstraints(nullable=not c.required, unique=c.unique),
            tags={"classification": c.classification} if c.classification else None,
        )
        for c in contract.columns
    ]
    added = [dg.TableColumn(n, t, description=_LINEAGE_DESCRIPTIONS[n]) for n, t in LINEAGE_COLUMNS.items()]
    return dg.TableSchema([*declared, *added])


def raw_asset(env: Environment, dataset: Dataset, *, dropped: bool) -> dg.AssetsDefinition:
    """The raw table of one dataset.

    A run without partitions, as the lake sensor asks for, loads what is pending. A run of certain partitions loads the files
    of those again, changed or not.

    Args:
        dropped: others drop the files, so that this step, which looks at them, materializes the lake asset too; else an
            extractor does.

    """
    key = raw_key(dataset)
    spec = dg.AssetSpec(
        key,
        deps=[lake_key(dataset)],
        description=f"{dataset.contract.description}\n\nDelta Lake table `raw.{dataset.table}`, one commit a load.",
        group_name="warehouse",
        kinds={"deltalake"},
        owners=list(dataset.owners),
        tags={"source": dataset.source},
        partitions_def=partitions_of(dataset),
        metadata={
            "dagster/column_schema": table_schema(dataset.contract),
            "dagster/relation_identifier": f"raw.{dataset.table}",
            "contract": f"{dataset.contract.id} {dataset.contract.version}",
        },
        skippable=False,
    )
    checks = [
        dg.AssetCheckSpec(
            "conservation", asset=key, blocking=True, description="For each file, rows read = rows loaded + rows rejected."
        ),
        dg.AssetCheckSpec(
            "rejected_share",
            asset=key,
            description=f"At most {dataset.max_rejected_share:.2%} of the rows of the live files are rejected.",
        ),
        dg.AssetCheckSpec("files_readable", asset=key, description="No live file is in quarantine as a whole."),
    ]

    single_run = dg.BackfillPolicy.single_run() if dataset.partition_by != "none" else None

    specs = [lake_spec(dataset), spec] if dropped else [spec]

    @dg.multi_asset(name=f"load_{dataset.table}", specs=specs, check_specs=checks, backfill_policy=single_run)
    def load(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        ledger = Ledger(env.state / "ledger.db")
        if context.has_partition_key or context.has_partition_key_range:
            ledger.ask_again(dataset, list(context.partition_keys))
        loaded = load_pending(env, dataset, context.run_id)
        _report_files(context, dataset, loaded, dropped)
        totals = ledger.totals(dataset.id)
        if dropped:
            yield dg.MaterializeResult(lake_key(dataset), metadata=_lake_metadata(loaded, totals))
        yield dg.MaterializeResult(key, metadata=_metadata(env, dataset, loaded, totals))
        yield from _checks(dataset, loaded, totals, ledger)

    return load


def _report_files(context: dg.AssetExecutionContext, dataset: Dataset, loaded: Loaded, dropped: bool) -> None:
    """One materialization for each lake file, on the lake asset and, where partitioned, on the raw asset."""
    if dataset.partition_by == "file":
        keys = {f.partition for f, _ in loaded.files if f.partition}
        gone = {f.partition for f, _ in loaded.files if f.gone and f.partition and dataset.on_delete == "remove"}
        name = f"files/{dataset.id}"
        context.instance.add_dynamic_partitions(name, sorted(keys - gone))
        for partition in sorted(gone):
            context.instance.delete_dynamic_partition(name, partition)
        keys -= gone
    targets = set(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else set()
    for file, outcome in loaded.files:
        if file.gone:
            continue
        metadata = _file_metadata(file, outcome)
        tags = {"dagster/data_version": file.version}
        if not file.partition or file.partition in targets:
            continue
        if dropped:
            context.log_event(
                dg.AssetMaterialization(lake_key(dataset), partition=file.partition, metadata=metadata, tags=tags)
            )
        if outcome.unreadable is None:
            context.log_event(dg.AssetMaterialization(raw_key(dataset), partition=file.partition, metadata=metadata))


def _lake_metadata(loaded: Loaded, totals: Totals) -> dict[str, dg.MetadataValue]:
    """What the lake holds. Its rows are those read, whatever became of them."""
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(totals.rows_read),
        **{f"files {state}": dg.MetadataValue.int(count) for state, count in sorted(totals.files.items())},
    }
    if loaded.files:
        metadata["files"] = _files_table(loaded.files)
    return metadata


def _file_metadata(file: LedgerFile, outcome: Outcome) -> dict[str, dg.MetadataValue]:
    metadata = {
        "path": dg.MetadataValue.text(file.path),
        "version": dg.MetadataValue.text(file.version),
        "bytes": dg.MetadataValue.int(file.size_bytes),
        "rows read": dg.MetadataValue.int(outcome.rows_read),
        "dagster/row_count": dg.MetadataValue.int(outcome.rows_loaded),
        "rows rejected": dg.MetadataValue.int(outcome.rows_rejected),
    }
    if outcome.unreadable is not None:
        metadata["quarantined because"] = dg.MetadataValue.text(outcome.unreadable)
    return metadata


def _metadata(env: Environment, dataset: Dataset, loaded: Loaded, totals: Totals) -> dict[str, dg.MetadataValue]:
    metadata = {
        "dagster/row_count": dg.MetadataValue.int(totals.rows_loaded),
        "files live": dg.MetadataValue.int(totals.files.get("loaded", 0)),
        "files in this load": dg.MetadataValue.int(len(loaded.files)),
        "rows in this load": dg.MetadataValue.int(loaded.rows_loaded),
        "rows rejected": dg.MetadataValue.int(totals.rows_rejected),
        "files quarantined": dg.MetadataValue.int(totals.files.get("quarantined", 0)),
    }
    if loaded.raw_version is not None:
        metadata["delta version"] = dg.MetadataValue.int(loaded.raw_version)
    if loaded.files:
        metadata["files"] = _files_table(loaded.files)
    if loaded.undeclared:
        metadata["ignored columns"] = dg.MetadataValue.text(", ".join(sorted(loaded.undeclared)))
    if loaded.unstable:
        metadata["changed while read"] = dg.MetadataValue.text(", ".join(sorted(loaded.unstable)[:SHOWN]))
    rejects = rejected_rows(env, dataset) if totals.rows_rejected or totals.files.get("quarantined") else []
    if rejects:
        metadata["rejects"] = dg.MetadataValue.table([dg.TableRecord(r) for r in rejects])
    return metadata


def rejected_rows(env: Environment, dataset: Dataset, limit: int = SHOWN) -> list[dict[str, str | int]]:
    """Up to `limit` of the dataset's rejects: file, row, column, value, reason."""
    from caudal.warehouse import delta

    rows = delta.read_rows(env.quarantine / dataset.table, ["_file", "_row", "column", "value", "reason"], limit)
    return [{k.removeprefix("_"): v if isinstance(v, int) else str(v or "") for k, v in row.items()} for row in rows]


def _files_table(files: Sequence[tuple[LedgerFile, Outcome]]) -> dg.TableMetadataValue:
    shown = [
        dg.TableRecord(
            {
                "file": file.path,
                "became": "deleted" if file.gone else "quarantined" if outcome.unreadable else "loaded",
                "rows read": outcome.rows_read,
                "rows loaded": outcome.rows_loaded,
                "rows rejected": outcome.rows_rejected,
                "reason": outcome.unreadable or "",
            }
        )
        for file, outcome in sorted(files, key=lambda fo: not (fo[1].unreadable or fo[1].rows_rejected))[:SHOWN]
    ]
    return dg.MetadataValue.table(shown)


def _checks(dataset: Dataset, loaded: Loaded, totals: Totals, ledger: Ledger) -> Iterator[dg.AssetCheckResult]:
    key = raw_key(dataset)
    lost = [o.path for _, o in loaded.files if o.rows_read != o.rows_loaded + o.rows_rejected]
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="conservation",
        passed=not lost and totals.rows_read == totals.rows_loaded + totals.rows_rejected,
        metadata={"rows read": totals.rows_read, "rows loaded": totals.rows_loaded, "files that differ": ", ".join(lost)},
    )
    share = totals.rows_rejected / totals.rows_read if totals.rows_read else 0.0
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="rejected_share",
        passed=share <= dataset.max_rejected_share,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share": share, "rows rejected": totals.rows_rejected, "table": f"quarantine.{dataset.table}"},
    )
    quarantined = ledger.files(dataset.id, "quarantined")
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="files_readable",
        passed=not quarantined,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "files quarantined": len(quarantined),
            "files": dg.MetadataValue.md("\n".join(f"- `{f.path}`: {f.reason}" for f in quarantined[:SHOWN]) or "none"),
        },
    )


def _described(description: str, unit: str | None) -> str:
    return f"{description} Unit: {unit}." if unit else description
