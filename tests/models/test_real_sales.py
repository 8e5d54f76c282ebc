"""The forecast on a real year of daily sales by department."""

import datetime as dt

import pytest

from caudal.models.features import Calendar
from caudal.models.lifecycle import ForecastDeclaration, evaluate
from caudal.models.panel import panel_from_arrow

HOLIDAYS = ("01-01", "2017-04-16", "2017-05-29", "07-04", "2017-09-04", "2017-11-23", "12-25")


def test_the_panel_knows_the_closed_day_and_the_departments_that_ended(real_sales):
    panel = panel_from_arrow(real_sales, incomplete_days=1)
    assert (str(panel.days[0]), panel.last_day) == ("2017-01-01", dt.date(2017, 12, 31))
    assert [str(day) for day in panel.days[panel.closed]] == ["2017-12-25"]
    assert len(panel.series) == 31
    assert set(panel.left_out()) == {"ELECT &PLUMBING", "POSTAL CENTER", "PROD-WHS SALES", "TOYS"}


def test_the_model_is_a_fifth_better_than_repeating_last_week_over_the_last_twelve_weeks(env, real_sales):
    declared = ForecastDeclaration("sales", calendar=Calendar(HOLIDAYS, ("12-25",)))
    done = evaluate(env, declared, panel_from_arrow(real_sales, incomplete_days=1))
    baseline, model = done.backtest.errors("baseline"), done.backtest.errors("challenger")
    assert baseline.wape == pytest.approx(0.2143, abs=0.0005)
    assert model.wape < 0.8 * baseline.wape
    assert model.mase < 0.8 * baseline.mase
    assert done.evaluation.verdict.promote
    assert done.coverage == pytest.approx(0.8, abs=0.05)
    for window in range(6):
        assert done.backtest.errors("challenger", window=window).wape < done.backtest.errors("baseline", window=window).wape
