"""Definitions to make again: by day, by file, in one step, and without partitions."""

import dagster as dg

DAYS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-11")


@dg.multi_asset(
    specs=[
        dg.AssetSpec(["lake", "till", "sales"], partitions_def=DAYS),
        dg.AssetSpec(["raw", "till", "sales"], partitions_def=DAYS, deps=[["lake", "till", "sales"]]),
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def load(context: dg.AssetExecutionContext):
    for key in sorted(context.selected_asset_keys, key=lambda key: key.path):
        yield dg.MaterializeResult(key)


@dg.asset(key=["raw", "till", "notes"], partitions_def=dg.DynamicPartitionsDefinition(name="files/till/notes"))
def notes() -> None: ...


@dg.asset(key=["raw", "till", "counts"], partitions_def=DAYS)
def counts() -> None: ...


@dg.asset(key=["marts", "sales", "daily"], deps=[["raw", "till", "sales"]])
def daily() -> None: ...


@dg.asset(key=["marts", "sales", "yearly"], deps=[daily])
def yearly() -> None: ...


defs = dg.Definitions(
    assets=[load, notes, counts, daily, yearly, dg.AssetSpec(["partner", "list"])],
    executor=dg.in_process_executor,
)
