"""Raw tables as assets: what was loaded, from which files, what was rejected and why."""

from collections.abc import Iterator, Sequence

import dagster as dg

from caudal.environment import Environment
from caudal.lake.component import lake_key, lake_spec, partitions_of
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile, Outcome
from caudal.lake.watch import DATASETS_TAG
from caudal.precedence import precedence
from caudal.warehouse.assets import (
    REJECTS_SCHEMA,
    Told,
    file_metadata,
    lake_metadata,
    raw_metadata,
    rejects_metadata,
    table_schema,
)
from caudal.warehouse.loading import Loaded, load_pending
from caudal.warehouse.pipes import pipes_spread
from caudal.warehouse.quality.assets import not_tried, rule_results, rule_spec
from caudal.warehouse.quality.raw import try_rules
from caudal.warehouse.raw_checks import check_results, check_specs
from caudal.warehouse.raw_tables import raw_tables

#: A table that breaks a rule breaks it when the run is tried again.
_NO_RETRY = {"dagster/retry_on_asset_or_op_failure": "false"}


def raw_key(dataset: Dataset) -> dg.AssetKey:
    """`raw/<source>/<dataset>`."""
    return dg.AssetKey(["raw", dataset.source, dataset.name])


def rejects_key(dataset: Dataset) -> dg.AssetKey:
    """`quarantine/<source>/<dataset>`."""
    return dg.AssetKey(["quarantine", dataset.source, dataset.name])


def raw_asset(env: Environment, dataset: Dataset, *, dropped: bool) -> dg.AssetsDefinition:
    """The raw table of one dataset, and its rejects.

    A run without partitions, as the lake sensor asks for, loads what is pending. A run of certain partitions loads the files
    of those again, changed or not.

    Args:
        dropped: others drop the files, so that this step, which looks at them, materializes the lake asset too; else an
            extractor does.

    """
    key, tables = raw_key(dataset), raw_tables(env)
    spec = dg.AssetSpec(
        key,
        deps=[lake_key(dataset)],
        description=f"{dataset.contract.description}\n\n{tables.name} table `raw.{dataset.table}`, one commit a load.",
        group_name="warehouse",
        kinds={tables.kind},
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
    rejects = dg.AssetSpec(
        rejects_key(dataset),
        deps=[lake_key(dataset)],
        description=(
            f"Rows and files of `{dataset.prefix}` that could not be loaded, each with the reason: table "
            f"`quarantine.{dataset.table}`. Repaired rows are loaded with `caudal lake release {dataset.id}`."
        ),
        group_name="quarantine",
        kinds={tables.kind},
        owners=list(dataset.owners),
        tags={"source": dataset.source},
        partitions_def=partitions_of(dataset),
        metadata={
            "dagster/column_schema": REJECTS_SCHEMA,
            "dagster/relation_identifier": f"quarantine.{dataset.table}",
        },
        skippable=False,
    )
    single_run = dg.BackfillPolicy.single_run() if dataset.partition_by != "none" else None

    specs = [lake_spec(dataset), spec, rejects] if dropped else [spec, rejects]
    checks = check_specs(dataset, key, rejects.key) + [rule_spec(rule, key) for rule in dataset.contract.rules]

    @dg.multi_asset(
        name=f"load_{dataset.table}",
        specs=specs,
        check_specs=checks,
        backfill_policy=single_run,
        op_tags={**precedence("warehouse"), **({"caudal/timeout_s": str(dataset.timeout_s)} if dataset.timeout_s else {})},
    )
    def load(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        ledger = Ledger(env.state / "ledger.db")
        if context.has_partition_key or context.has_partition_key_range:
            ledger.ask_again(dataset.id, partitions=list(context.partition_keys), announce=False)
        loaded = load_pending(
            env,
            dataset,
            context.run_id,
            look_first=not (dropped and DATASETS_TAG in context.run.tags),
            spread=pipes_spread(context, env) if dataset.workers > 1 else None,
        )
        _report_files(context, dataset, _to_report(context.instance, dataset, ledger, loaded), dropped)
        told = Told(env, dataset, ledger, loaded, ledger.totals(dataset.id))
        if dropped:
            yield dg.MaterializeResult(lake_key(dataset), metadata=lake_metadata(told))
        yield dg.MaterializeResult(key, metadata=raw_metadata(told))
        yield dg.MaterializeResult(rejects.key, metadata=rejects_metadata(told))
        yield from check_results(told, key, rejects.key)
        tried = try_rules(env, dataset, loaded.raw_version, ledger.files(dataset.id) if dataset.contract.rules else [])
        if any(one.blocks for one in tried):
            context.instance.add_run_tags(context.run_id, _NO_RETRY)
        yield from rule_results(tried, key) if tried else not_tried(dataset.contract.rules, key)

    return load


def _to_report(
    instance: dg.DagsterInstance, dataset: Dataset, ledger: Ledger, loaded: Loaded
) -> list[tuple[LedgerFile, Outcome]]:
    """What this load finished; and all that was loaded before, if Dagster was never told of it."""
    if dataset.partition_by == "none" or instance.get_latest_materialization_event(raw_key(dataset)) is not None:
        return loaded.files
    done = {file.path for file, _ in loaded.files}
    before = [file for file in ledger.files(dataset.id, "loaded") if file.path not in done]
    return [*loaded.files, *((f, Outcome(f.path, f.rows_read, f.rows_loaded, f.rows_rejected, note=f.note)) for f in before)]


def _report_files(
    context: dg.AssetExecutionContext, dataset: Dataset, files: Sequence[tuple[LedgerFile, Outcome]], dropped: bool
) -> None:
    """One materialization for each lake file, on the lake asset and, where partitioned, on the raw asset."""
    if dataset.partition_by == "file":
        keys = {f.partition for f, _ in files if f.partition}
        gone = {f.partition for f, _ in files if f.gone and f.partition and dataset.on_delete == "remove"}
        name = f"files/{dataset.id}"
        context.instance.add_dynamic_partitions(name, sorted(keys - gone))
        for partition in sorted(gone):
            context.instance.delete_dynamic_partition(name, partition)
        keys -= gone
    targets = set(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else set()
    for file, outcome in files:
        if file.gone:
            continue
        metadata = file_metadata(file, outcome)
        tags = {"dagster/data_version": file.version}
        if not file.partition or file.partition in targets:
            continue
        if dropped:
            context.log_event(
                dg.AssetMaterialization(lake_key(dataset), partition=file.partition, metadata=metadata, tags=tags)
            )
        if outcome.unreadable is None:
            context.log_event(dg.AssetMaterialization(raw_key(dataset), partition=file.partition, metadata=metadata))
