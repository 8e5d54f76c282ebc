"""Freshness: pushed upstream to what feeds a mart, and blamed on the source that makes it late."""

from datetime import timedelta

import dagster as dg
import pytest

from caudal.runtime.alerts.conditions import late_assets
from caudal.runtime.freshness import Asked, asked_of, blame, with_freshness
from caudal.runtime.lateness import tell_late
from caudal.warehouse.quality.component import Promise

#: sales <- stg_sales (a view) <- raw/sales <- lake/sales; sales <- products <- raw/products <- lake/products
PARENTS = {
    "sales": {"stg_sales", "products"},
    "stg_sales": {"raw/sales"},
    "raw/sales": {"lake/sales"},
    "products": {"raw/products"},
    "raw/products": {"lake/products"},
    "yearly": {"products"},
}
VIEWS = {"stg_sales"}
HOUR = 3600.0


def test_what_feeds_a_mart_is_asked_for_what_is_promised_of_it():
    asked = asked_of({"sales": Promise(26)}, PARENTS)
    assert asked["lake/sales"] == Asked(Promise(26), "sales")
    assert asked["products"].promise.within_hours == 26
    assert "yearly" not in asked


def test_the_tightest_promise_downstream_is_the_one_that_is_asked():
    asked = asked_of({"sales": Promise(26), "yearly": Promise(2)}, PARENTS)
    assert asked["raw/products"] == Asked(Promise(2), "yearly")
    assert asked["raw/sales"] == Asked(Promise(26), "sales")
    turned = asked_of({"yearly": Promise(2), "sales": Promise(26)}, PARENTS)
    assert turned == asked


def test_what_is_promised_of_a_source_itself_stands_there_and_above_it():
    asked = asked_of({"sales": Promise(26), "raw/products": Promise(200)}, PARENTS)
    assert asked["raw/products"] == Asked(Promise(200), "raw/products")
    assert asked["lake/products"] == Asked(Promise(200), "raw/products")
    assert asked["products"].by == "sales"


def test_a_late_mart_is_blamed_on_the_oldest_source_through_views():
    made = {"sales": 0.0, "raw/sales": -2.0, "lake/sales": -3.0, "products": -1.0, "raw/products": -1.0, "lake/products": -1.0}
    late = {"sales", "raw/sales", "lake/sales", "products", "raw/products", "lake/products"}
    found = blame("sales", PARENTS, made, late, VIEWS)
    assert found.chain == ("sales", "raw/sales", "lake/sales")
    assert found.told == "Late because of lake/sales: nothing new since 1969-12-31 23:59 UTC."


def test_a_source_that_is_in_time_is_not_blamed():
    made = {"sales": 0.0, "raw/sales": 50 * HOUR, "lake/sales": 50 * HOUR, "products": 0.0, "raw/products": 0.0}
    found = blame("sales", PARENTS, made, {"sales", "products", "raw/products"}, VIEWS)
    assert found.cause == "raw/products"


def test_a_mart_that_was_not_refreshed_though_all_is_new_is_to_blame_itself():
    made = {"sales": 0.0, "raw/sales": 50 * HOUR, "products": 50 * HOUR}
    found = blame("sales", PARENTS, made, {"sales"}, VIEWS)
    assert (found.chain, found.has_newer) == (("sales",), True)
    assert "not refreshed since 1970-01-01 00:00 UTC, though what it is made of is newer" in found.told


def test_a_model_in_between_that_failed_is_to_blame_not_its_source():
    made = {"sales": HOUR, "products": 0.0, "raw/products": 50 * HOUR, "raw/sales": HOUR}
    found = blame("sales", PARENTS, made, {"sales", "products"}, VIEWS)
    assert (found.chain, found.has_newer) == (("sales", "products"), True)


def test_a_ring_ends():
    assert blame("a", {"a": {"b"}, "b": {"a"}}, {"a": 1.0, "b": 0.0}, {"a", "b"}).chain == ("a", "b")


def _definitions() -> dg.Definitions:
    days = dg.StaticPartitionsDefinition(["2026-01-01", "2026-01-02"])
    view = dg.AssetSpec("stg_sales", deps=["raw_sales"], is_virtual=True)

    @dg.asset(partitions_def=days)
    def raw_sales() -> None: ...

    @dg.multi_asset(specs=[view, dg.AssetSpec("sales", deps=["stg_sales"])], can_subset=True)
    def dbt():
        yield None

    return dg.Definitions(assets=[raw_sales, dbt])


@pytest.fixture
def graph():
    promised = with_freshness(_definitions(), {("sales",): Promise(26, 13)})
    return promised.resolve_asset_graph()


def test_the_policy_is_on_the_mart_and_on_the_partitioned_table_behind_its_view(graph):
    policy = dg.FreshnessPolicy.time_window(*_windows(26, 13))
    assert graph.get(dg.AssetKey("sales")).freshness_policy_or_from_metadata == policy
    assert graph.get(dg.AssetKey("raw_sales")).freshness_policy_or_from_metadata == policy
    assert graph.get(dg.AssetKey("stg_sales")).freshness_policy_or_from_metadata is None
    told = graph.get(dg.AssetKey("raw_sales")).metadata["freshness"]
    assert getattr(told, "text", told) == "at least every 26 hours, asked for by sales"


@pytest.mark.parametrize(
    ("key", "promise", "said"),
    [
        ("stg_sales", Promise(26), "is a view"),
        ("nothing", Promise(26), "is not there"),
        ("sales", Promise(2, 3), "warn_hours < within_hours"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(key, promise, said):
    with pytest.raises(ValueError, match=said):
        with_freshness(_definitions(), {(key,): promise})


def test_the_page_of_a_late_mart_says_which_source_makes_it_late_once(env, graph):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_sales", partition="2026-01-01"))
        instance.report_runless_asset_event(dg.AssetMaterialization("sales"))
        made = instance.get_latest_materialization_event(dg.AssetKey("sales"))
        assert made is not None
        assert late_assets(instance, graph, made.timestamp + 25 * HOUR) == []
        late = late_assets(instance, graph, made.timestamp + 27 * HOUR)
        assert {p.subject for p in late} == {"raw_sales", "sales"}
        assert tell_late(env, instance, late) == [p.subject for p in late]
        assert tell_late(env, instance, late) == []
        (record,) = instance.fetch_observations(dg.AssetKey("sales"), limit=5).records
        assert record.asset_observation is not None
        assert "Late because of raw_sales: nothing new since" in (record.asset_observation.description or "")
        assert tell_late(env, instance, []) == []
        assert len(tell_late(env, instance, late)) == 2


def _windows(fail: float, warn: float) -> tuple[timedelta, timedelta]:
    return timedelta(hours=fail), timedelta(hours=warn)
