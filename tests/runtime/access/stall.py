"""The small code location that the tests of roles are made on."""

import dagster as dg

stands = dg.DynamicPartitionsDefinition(name="stands")


@dg.asset
def fruit() -> None:
    """An asset."""


@dg.asset_check(asset=fruit)
def fresh() -> dg.AssetCheckResult:
    """A check."""
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["north", "south"]))
def baskets() -> None:
    """A partitioned asset."""


@dg.asset(partitions_def=stands)
def offers() -> None:
    """An asset with dynamic partitions."""


@dg.op(config_schema={"price": dg.Field(int, default_value=1)})
def weigh() -> None:
    """An op that can be configured."""


@dg.job
def sell() -> None:
    """A job."""
    weigh()


@dg.sensor(job=sell, name="watch")
def watch(context: dg.SensorEvaluationContext):
    """A sensor."""
    yield dg.SkipReason("nothing")


@dg.schedule(job=sell, cron_schedule="0 0 1 1 *", name="yearly")
def yearly():
    """A schedule."""
    yield dg.SkipReason("nothing")


baskets_job = dg.define_asset_job("baskets_job", selection=[baskets])
defs = dg.Definitions(
    assets=[fruit, baskets, offers], asset_checks=[fresh], jobs=[sell, baskets_job], sensors=[watch], schedules=[yearly]
)
