"""A second company beside `shop`: YAML, contracts and SQL alone, and its totals are the published ones."""

import datetime as dt
import shutil
import sys
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse.published import read_arrow

COMPANIES = Path(__file__).parent / "companies"
SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "online_retail"

NET_BY_MONTH = {
    "2010-12": "748957.02", "2011-01": "560000.26", "2011-02": "498062.65", "2011-03": "683267.08", "2011-04": "493207.12",
    "2011-05": "723333.51", "2011-06": "691123.12", "2011-07": "681300.11", "2011-08": "682680.51",
}  # fmt: skip

needs_data = pytest.mark.skipif(not SOURCE.is_dir(), reason="shared/data/online_retail is not beside the checkout")


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The environment of `retail` and its definitions."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUDAL_ROOT", str(COMPANIES))
        patch.setenv("CAUDAL_DATA", str(data))
        patch.syspath_prepend(str(COMPANIES))
        from caudal.runtime.location import load_definitions

        yield Environment.current("retail"), load_definitions("retail")
    for name in [n for n in sys.modules if n.partition(".")[0] == "retail"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def refreshed(company, tmp_path_factory):
    """Everything materialized once on a real instance, from all files."""
    env, defs = company
    shutil.copytree(
        SOURCE, env.lake / "web" / "order_lines", ignore=lambda _, names: [n for n in names if not n.endswith("csv")]
    )
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree

    (dataset,) = declared_datasets(component_tree(env))
    look(env, Ledger(env.state / "ledger.db"), [dataset])
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
        yield env, dataset, instance, result


def query(env, sql):
    return read_arrow(env, sql).to_pylist()


@needs_data
def test_the_whole_graph_succeeds(refreshed):
    assert refreshed[3].success


@needs_data
def test_every_row_is_loaded_and_none_is_rejected(refreshed):
    env, dataset, *_ = refreshed
    totals = Ledger(env.state / "ledger.db").totals(dataset.id)
    assert (totals.files, totals.rows_loaded, totals.rows_rejected) == ({"loaded": 219}, 320_705, 0)


@needs_data
def test_the_sums_are_the_published_ones(refreshed):
    env = refreshed[0]
    (raw,) = query(
        env,
        """SELECT sum(Quantity * UnitPrice) AS total, count(*) FILTER (InvoiceNo LIKE 'C%') AS cancelled,
             count(*) FILTER (Quantity < 0) AS negative, count(*) FILTER (UnitPrice <= 0) AS free,
             count(*) FILTER (CustomerID IS NULL) AS guests, count(*) FILTER (Description IS NULL) AS undescribed
           FROM raw.web__order_lines""",
    )
    assert raw == {
        "total": Decimal("5761931.382"), "cancelled": 5_847, "negative": 6_772, "free": 1_799, "guests": 88_652,
        "undescribed": 1_161,
    }  # fmt: skip
    (valid,) = query(
        env,
        """SELECT count(*) AS n, sum(amount) AS total, count(DISTINCT invoice_no) AS invoices,
             count(DISTINCT customer_id) AS customers FROM marts.valid_sales""",
    )
    assert valid == {"n": 313_059, "total": Decimal("6304826.062"), "invoices": 12_495, "customers": 3_317}


@needs_data
def test_the_net_of_each_month_is_the_published_one(refreshed):
    months = query(refreshed[0], "SELECT * FROM marts.net_by_month ORDER BY month")
    assert {f"{m['month']:%Y-%m}": str(round(m["net_amount"], 2)) for m in months} == NET_BY_MONTH


@needs_data
def test_the_partition_grid_shows_exactly_the_days_that_have_a_file(refreshed):
    instance = refreshed[2]
    days = instance.get_materialized_partitions(dg.AssetKey(["raw", "web", "order_lines"]))
    assert len(days) == 219
    assert not [d for d in days if dt.date.fromisoformat(d).weekday() == 5]


def test_its_definitions_name_no_asset_of_the_first_company(company):
    keys = {spec.key.to_user_string() for spec in company[1].resolve_all_asset_specs()}
    assert {"lake/web/order_lines", "raw/web/order_lines", "marts/sales/net_by_month"} <= keys
    assert not [k for k in keys if "transactions" in k]
