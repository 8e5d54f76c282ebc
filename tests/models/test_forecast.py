import json
from dataclasses import replace

import numpy as np
import pytest

from caudal.models import forecast as module
from caudal.models.baseline import seasonal_naive
from caudal.models.features import Calendar
from caudal.models.forecast import FittedForecast, Recipe, UnusableModel, closed_ahead, fit
from caudal.models.panel import HistoryTooShort, Panel, panel_from_arrow

QUICK = Recipe(rounds=60)
ANY_DAY = Calendar()


def test_a_weekly_pattern_is_learned_with_less_error_than_repeating_last_week(weekly_panel):
    panel = weekly_panel({f"series {exponent}": 2.0**exponent for exponent in range(10)}, 284)
    history = panel.until(panel.days[269])
    actual = panel.values[270:]
    error = np.abs(fit(history, 14, QUICK, ANY_DAY).predict(history, ANY_DAY) - actual).sum(axis=0)
    naive = np.abs(seasonal_naive(history, 14) - actual).sum(axis=0)
    assert error.sum() < 0.8 * naive.sum()
    assert (error < 0.2 * actual.sum(axis=0)).all()


def test_fitting_twice_gives_the_same_text(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 20}, 120)
    assert fit(panel, 14, QUICK, ANY_DAY).to_text() == fit(panel, 14, QUICK, ANY_DAY).to_text()


def test_the_number_of_threads_does_not_change_the_trees(weekly_panel, monkeypatch):
    panel = weekly_panel({"a": 10, "b": 20}, 120)
    forecasts = []
    for threads in (1, 2):
        monkeypatch.setattr(module, "_threads", lambda threads=threads: threads)
        forecasts.append(fit(panel, 14, QUICK, ANY_DAY).predict(panel, ANY_DAY))
    np.testing.assert_array_equal(*forecasts)


def test_a_model_read_from_its_text_forecasts_the_same(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 20}, 120)
    fitted = fit(panel, 14, QUICK, ANY_DAY)
    read = FittedForecast.from_text(fitted.to_text())
    assert read == fitted
    np.testing.assert_array_equal(read.predict(panel, ANY_DAY), fitted.predict(panel, ANY_DAY))


def test_the_text_of_a_model_is_json_that_says_what_it_is(weekly_panel):
    told = json.loads(fit(weekly_panel({"a": 10}, 100), 7, QUICK, ANY_DAY).to_text())
    assert (told["format"], told["horizon"], told["series"], told["trained_until"]) == (1, 7, ["a"], "2024-04-09")


def test_a_forecast_is_never_negative_where_no_value_ever_was(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 0.01}, 120, noise=1.5)
    assert (fit(panel, 14, QUICK, ANY_DAY).predict(panel, ANY_DAY) >= 0).all()


def test_a_series_of_negative_values_is_forecast_as_such(weekly_panel):
    panel = weekly_panel({"returns": -100, "sales": 1000}, 150)
    forecast = fit(panel, 14, QUICK, ANY_DAY).predict(panel, ANY_DAY)
    assert (forecast[:, 0] < -50).all()
    assert (forecast[:, 1] > 500).all()


def test_a_single_series_is_forecast(weekly_panel):
    panel = weekly_panel({"only": 100}, 150, noise=0.01)
    forecast = fit(panel, 7, QUICK, ANY_DAY).predict(panel, ANY_DAY)
    np.testing.assert_allclose(forecast[:, 0], panel.values[-7:, 0], rtol=0.1)


def test_declared_closed_days_and_weekdays_that_never_open_are_forecast_as_zero(weekly_table):
    rows = weekly_table({"a": 10, "b": 20}, 120)
    weekdays = (rows["day"].to_numpy().astype(int) + 3) % 7
    panel = panel_from_arrow(rows.filter(weekdays != 5))
    calendar = Calendar(closed_days=("2024-05-01",))
    forecast = fit(panel, 14, QUICK, calendar).predict(panel, calendar)
    ahead = [str(day) for day in panel.days[-1] + 1 + np.arange(14)]
    zero = [day for day, values in zip(ahead, forecast, strict=True) if (values == 0).all()]
    assert zero == ["2024-05-01", "2024-05-04", "2024-05-11"]
    assert closed_ahead(panel, 3, calendar).tolist() == [False, True, False]


def test_a_series_that_the_model_has_not_seen_is_forecast_from_its_own_level(weekly_panel):
    fitted = fit(weekly_panel({"a": 10, "b": 20}, 120), 14, QUICK, ANY_DAY)
    panel = weekly_panel({"a": 10, "b": 20, "new": 5000}, 134)
    forecast = fitted.predict(panel, ANY_DAY)
    assert 3000 < forecast[:, 2].mean() < 9000


def test_a_series_that_sold_nothing_lately_is_forecast_as_zero(weekly_table):
    rows = weekly_table({"a": 10, "b": 20}, 150)
    silent = (rows["series"].to_numpy(zero_copy_only=False) == "b") & (rows["day"].to_numpy() > np.datetime64("2024-03-01"))
    values = np.where(silent, 0.0, rows["value"].to_numpy())
    panel = panel_from_arrow(rows.set_column(2, "value", [values]))
    assert fit(panel, 14, QUICK, ANY_DAY).predict(panel, ANY_DAY)[:, 1].tolist() == [0.0] * 14


def test_unknown_values_do_not_spoil_the_forecast(weekly_table):
    rows = weekly_table({"a": 10, "b": 20}, 150)
    values = rows["value"].to_numpy().copy()
    values[::9] = np.nan
    panel = panel_from_arrow(rows.set_column(2, "value", [values]))
    forecast = fit(panel, 14, QUICK, ANY_DAY).predict(panel, ANY_DAY)
    assert ((forecast > 3) & (forecast < 60)).all()


def test_a_history_of_69_days_is_too_short_for_14_days_ahead(weekly_panel):
    with pytest.raises(HistoryTooShort, match="needs 70 days of history; the table covers 69"):
        fit(weekly_panel({"a": 10}, 69), 14, QUICK, ANY_DAY)
    fit(weekly_panel({"a": 10}, 70), 14, QUICK, ANY_DAY)


def test_a_model_of_another_format_is_refused(weekly_panel):
    text = fit(weekly_panel({"a": 10}, 100), 7, QUICK, ANY_DAY).to_text().replace('"format": 1', '"format": 99')
    with pytest.raises(UnusableModel, match=r"format 99; expected 1\. Train it again"):
        FittedForecast.from_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"features": ["moon"]}, r"Unknown features \['moon'\]"), ({"depth": 3}, "settings that are not known.*depth")],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change, message):
    with pytest.raises(UnusableModel, match=message):
        Recipe.from_json(json.dumps(json.loads(QUICK.to_json()) | change))


def test_a_recipe_survives_its_json():
    assert Recipe.from_json(QUICK.to_json()) == QUICK
    assert Recipe.from_json(QUICK.to_json()) != replace(QUICK, seed=8)


def test_fewer_features_may_be_asked_for(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 20}, 120)
    recipe = replace(QUICK, features=("mean_same_weekday_4", "weekday"))
    fitted = fit(panel, 7, recipe, ANY_DAY)
    assert "feature_names=mean_same_weekday_4 weekday" in fitted.booster
    assert fitted.predict(panel, ANY_DAY).shape == (7, 2)


def test_a_panel_of_other_series_only_is_forecast_without_an_error():
    values = np.full((90, 1), 5.0)
    panel = Panel(np.datetime64("2024-01-01") + np.arange(90), ("x",), values, np.ones_like(values, dtype=bool))
    other = Panel(panel.days, ("y",), values, panel.has_row)
    forecast = fit(panel, 7, QUICK, ANY_DAY).predict(other, ANY_DAY)
    np.testing.assert_allclose(forecast, 5.0, rtol=0.05)
