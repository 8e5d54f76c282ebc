"""The shop's notebook: committed without outputs, and true of a table whose rhythm is known."""

import datetime as dt
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest

from caudal.explore.notebook import run_notebook
from caudal.warehouse.candidate import publish_tables

NOTEBOOK = Path(__file__).resolve().parents[2] / "platform" / "shop" / "defs" / "explore" / "weekday_rhythm.ipynb"


def test_it_is_committed_without_outputs_and_says_what_it_asks():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.cells[0].source.startswith("# Weekday rhythm")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_it_finds_the_busiest_hour_by_the_clock_of_the_shops(env, pictures):
    # Four weeks from Monday 2017-01-02: one basket an evening, five on Saturdays, at 23:15 UTC, 18:15 in New York.
    days = [dt.datetime(2017, 1, 2, 23, 15, tzinfo=dt.UTC) + dt.timedelta(days=i) for i in range(28)]
    paid = [day for day in days for _ in range(5 if day.weekday() == 5 else 1)]
    lines = pa.table(
        {
            "transacted_at": pa.array(paid * 2, pa.timestamp("us")),
            "department": ["GROCERY"] * len(paid) + ["FUEL"] * len(paid),
            "sales": pa.array([3.0] * len(paid) + [1.0] * len(paid)).cast(pa.decimal128(10, 2)),
        }
    )
    publish_tables(
        env,
        {"marts.fct_baskets": pa.table({"transacted_at": pa.array(paid, pa.timestamp("us"))}), "marts.fct_basket_lines": lines},
    )
    variables = {
        "CAUDAL_ENV": env.name,
        "CAUDAL_COMPANY": env.company,
        "CAUDAL_ROOT": str(env.root),
        "CAUDAL_DATA": str(env.data),
    }
    run = run_notebook(NOTEBOOK, env.reports / "weekday_rhythm.ipynb", {}, variables)
    assert "The busiest hour is **Saturday, 18:00 to 19:00**, with 5 baskets." in run.report
    assert "A Saturday has 5 baskets, a Monday 1." in run.report
    assert len(pictures(run.report)) == 2


@pytest.mark.parametrize("name", ["company", "time_zone", "departments"])
def test_it_can_be_given_another(name):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (tagged,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    assert f"{name} = " in tagged.source
