"""The whole life cycle of the shop on a sample: files land, the sensor sees them, and everything below is refreshed."""

import json

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.runtime.location import load_definitions
from caudal.runtime.observation import NOT_AWAITED
from caudal.warehouse.published import read_arrow

pytest.importorskip("openpyxl", reason="the extra `quickstart` is not installed")

TRANSACTIONS = dg.AssetKey(["raw", "pos", "transactions"])


class Company:
    """The shop on a temporary instance."""

    def __init__(self, env, defs, instance):
        self.env, self.defs, self.instance = env, defs, instance
        self.cursor = None

    def extract(self):
        keys = [s.key for s in self.defs.resolve_all_asset_specs() if s.key.path[:2] == ["lake", "product_db"]]
        return self.run(keys)

    def run(self, keys):
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, asset_selection=list(keys), raise_on_error=False)

    def sense(self):
        """One tick of the lake sensor: what it asks for."""
        repository = self.defs.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository, sensor_name="lake"
        )
        result = repository.get_sensor_def("lake")(context)
        if isinstance(result, dg.SkipReason):
            return None
        self.cursor = result.cursor
        (request,) = result.run_requests
        return request

    def query(self, sql):
        return read_arrow(self.env, sql).to_pylist()


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    from shop.quickstart import land

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUDAL_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setattr("caudal.runtime.location.HOLD_S", 0.0)
        env = Environment.current("shop")
        land(env.home, sample=True)
        with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
            company = Company(env, load_definitions("shop"), instance)
            company.extraction = company.extract()
            company.first = company.sense()
            company.result = company.run(company.first.asset_selection)
            yield company


def test_one_request_takes_everything_that_landed(company):
    assert company.extraction.success
    asked = {k.to_user_string() for k in company.first.asset_selection}
    assert {
        "raw/pos/transactions",
        "raw/finance/weekly_close",
        "marts/sales/daily_sales",
        "predictions/sales/sales_forecast",
    } <= asked


def test_every_stage_succeeds(company):
    failed = [e.step_key for e in company.result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert failed == []


def test_rows_read_are_rows_loaded(company):
    ledger = Ledger(company.env.state / "ledger.db")
    for dataset in ledger.dataset_ids():
        totals = ledger.totals(dataset)
        assert totals.rows_read == totals.rows_loaded > 0, dataset


def test_the_warehouse_agrees_with_the_close_of_finance(company):
    (row,) = company.query(
        "SELECT count(*) AS weeks, count(*) FILTER (sales_difference <> 0 OR NOT is_reconciled) AS off FROM marts.weekly_reconciliation"
    )
    assert row["weeks"] > 0
    assert row["off"] == 0


def test_every_asset_that_can_be_made_was_made(company):
    made = {e.asset_key for r in (company.result, company.extraction) for e in r.get_asset_materialization_events()}
    specs = [s for a in company.defs.resolve_asset_graph().assets_defs if a.is_executable for s in a.specs]
    awaited = [s for s in specs if s.key.path[0] not in NOT_AWAITED]
    assert {s.key.to_user_string() for s in awaited} - {k.to_user_string() for k in made} == set()


def test_nothing_new_asks_for_nothing(company):
    assert company.sense() is None


def test_a_new_file_refreshes_exactly_what_depends_on_it(company):
    lake = company.env.lake / "pos" / "redemptions"
    row = json.loads(min(lake.glob("*.jsonl")).read_text().splitlines()[0])
    (lake / "2018-06.jsonl").write_text(json.dumps(row | {"redemption_date": "2018-06-01"}) + "\n")
    request = company.sense()
    asked = {k.to_user_string() for k in request.asset_selection}
    graph = company.defs.resolve_asset_graph()
    redemptions = dg.AssetKey(["raw", "pos", "redemptions"])
    below = dg.AssetSelection.keys(redemptions).downstream().resolve(graph)
    loaded = {"lake/pos/redemptions", "quarantine/pos/redemptions"}
    assert asked == loaded | {k.to_user_string() for k in below}
    assert "raw/pos/transactions" not in asked
    assert "marts/marketing/coupon_redemptions" in asked
    before = company.instance.get_latest_materialization_event(dg.AssetKey(["raw", "pos", "transactions"])).run_id
    assert company.run(request.asset_selection).success
    (count,) = company.query("SELECT count(*) AS n FROM raw.pos__redemptions WHERE _file LIKE '%2018-06%'")
    assert count["n"] > 0
    after = company.instance.get_latest_materialization_event(dg.AssetKey(["raw", "pos", "transactions"])).run_id
    assert before == after
    (lake / "2018-06.jsonl").unlink()
    company.sense()


def test_a_bad_row_and_a_bad_file_do_not_stop_the_rest_and_are_shown(company):
    lake = company.env.lake / "pos" / "redemptions"
    good = json.dumps({"household_id": 1, "coupon_upc": 10000085207, "campaign_id": 26, "redemption_date": "2017-02-01"})
    bad = json.dumps({"household_id": "one", "coupon_upc": 10000085207, "campaign_id": 26, "redemption_date": "2017-02-01"})
    (lake / "2018-07.jsonl").write_text(f"{good}\n{bad}\n")
    (lake / "2018-08.jsonl").write_bytes(b"PK\x03\x04" + bytes(100))
    company.run([k for k in company.sense().asset_selection if k.path[0] in ("lake", "raw", "quarantine")])
    event = company.instance.get_latest_materialization_event(dg.AssetKey(["quarantine", "pos", "redemptions"]))
    metadata = event.asset_materialization.metadata
    assert metadata["dagster/row_count"].value == 1
    assert metadata["files quarantined"].value == 1
    shown = [dict(r.data) for r in metadata["rejects"].records]
    (row,) = [r for r in shown if r["file"].endswith("2018-07.jsonl")]
    # What identifies a household is masked here; the quarantine has it whole.
    assert (row["row"], row["column"], row["value"]) == (2, "household_id", "xxx")
    assert all(r["reason"] for r in shown)
    assert {r["file"].rsplit("/", 1)[1] for r in shown} == {"2018-07.jsonl", "2018-08.jsonl"}
    for name in ("2018-07.jsonl", "2018-08.jsonl"):
        (lake / name).unlink()
