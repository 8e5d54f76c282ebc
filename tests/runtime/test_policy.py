"""The automation policy on real runs, with what is below the mart: a few rows of the table in `test_policy_table.py`."""

import dagster as dg
import pytest

from caudal.lake.watch import WHOLE_TAG
from caudal.runtime.policy import refresh_policy

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")
RAW, OTHER, STAGING, MART, BELOW = (dg.AssetKey(k) for k in ("raw", "other", "staging", "mart", "below"))


class World:
    """raw (daily partitions) and other -> staging (a view) -> mart -> below, on a real instance."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.policy = refresh_policy(dg.AssetSelection.keys(RAW), over_views=True)
        self.fail: set[str] = set()
        self.bad: set[str] = set()
        self.defs = self._defs()
        self.cursor = None

    def _defs(self) -> dg.Definitions:
        world = self

        @dg.asset(key=RAW, partitions_def=DAYS)
        def raw() -> None: ...

        @dg.asset(key=OTHER, check_specs=[dg.AssetCheckSpec("good", asset=OTHER, blocking=True)])
        def other() -> dg.MaterializeResult:
            passed = "other" not in world.bad
            return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passed)])

        staging = dg.AssetSpec(STAGING, deps=[RAW, OTHER], is_virtual=True, automation_condition=self.policy)

        @dg.multi_asset(specs=[staging])
        def views() -> dg.MaterializeResult:
            return dg.MaterializeResult(STAGING)

        @dg.asset(key=MART, deps=[STAGING], automation_condition=self.policy)
        def mart() -> None:
            if "mart" in world.fail:
                raise RuntimeError("no")

        @dg.asset(key=BELOW, deps=[MART], automation_condition=self.policy)
        def below() -> None: ...

        return dg.Definitions(assets=[raw, other, views, mart, below], executor=dg.in_process_executor)

    def run(self, *keys: dg.AssetKey, partition: str | None = None) -> bool:
        job = self.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance, asset_selection=list(keys), partition_key=partition, raise_on_error=False
        )
        return result.success

    def tick(self) -> set[dg.AssetKey]:
        result = dg.evaluate_automation_conditions(defs=self.defs, instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return {k for k in (STAGING, MART, BELOW) if result.get_num_requested(k)}


@pytest.fixture
def world():
    """Everything materialized once, except the last two days, and the first evaluation behind us."""
    world = World()
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        world.run(RAW, partition=day)
    world.run(OTHER)
    world.run(STAGING)
    world.run(MART)
    world.run(BELOW)
    assert world.tick() == set()
    return world


def test_an_update_refreshes_what_is_below_it_once(world):
    world.run(OTHER)
    asked = world.tick()
    assert {MART, BELOW} <= asked
    world.run(*asked)
    assert world.tick() == set()


def test_an_update_between_a_request_and_the_next_tick_is_not_lost(world):
    world.run(OTHER)
    world.run(*world.tick())
    world.run(RAW, partition="2024-01-04")
    asked = world.tick()
    assert MART in asked
    world.run(*asked)
    assert world.tick() == set()
    assert world.tick() == set()


def test_a_failed_blocking_check_holds_everything_below_until_it_passes(world):
    world.bad.add("other")
    world.run(OTHER)
    assert world.tick() == set()
    world.bad.clear()
    world.run(OTHER)
    assert MART in world.tick()


def test_a_run_that_failed_is_not_asked_for_again_by_this_mechanism(world):
    world.fail.add("mart")
    world.run(OTHER)
    world.run(*world.tick())
    assert MART not in world.tick()
    world.run(OTHER)
    assert MART in world.tick()


def test_a_run_that_refreshed_the_mart_itself_is_not_followed_by_another(world):
    world.run(OTHER, STAGING, MART, BELOW)
    assert world.tick() == set()


@pytest.mark.parametrize("tags", [{WHOLE_TAG: "true"}, {}], ids=["whole", "not whole"])
def test_a_run_of_many_partitions_is_followed_by_another_only_if_it_left_something_out(world, tags):
    @dg.multi_asset(specs=[dg.AssetSpec(RAW, partitions_def=DAYS)])
    def load(context):
        for day in ("2024-01-02", "2024-01-04", "2024-01-05"):
            context.log_event(dg.AssetMaterialization(RAW, partition=day))
        return dg.MaterializeResult(RAW)

    others = [a for a in world.defs.assets if RAW not in a.keys]
    loading = dg.Definitions(assets=[load, *others], executor=dg.in_process_executor)
    keys = [RAW, STAGING, MART, BELOW] if tags else [RAW]
    job = loading.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=world.instance, asset_selection=keys, tags=tags).success
    assert (MART in world.tick()) is not bool(tags)
