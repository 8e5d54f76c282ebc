import numpy as np

from caudal.models.baseline import seasonal_naive
from caudal.models.panel import Panel, panel_from_arrow


def test_last_week_is_repeated(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 3}, 40)
    forecast = seasonal_naive(panel, 14)
    np.testing.assert_array_equal(forecast, np.concatenate([panel.values[-7:]] * 2))


def test_a_closed_day_is_taken_from_the_week_before(weekly_table):
    rows = weekly_table({"a": 10, "b": 3}, 40)
    closed = rows["day"].to_numpy() == np.datetime64("2024-02-07")
    panel = panel_from_arrow(rows.filter(~closed))
    forecast = seasonal_naive(panel, 7)
    np.testing.assert_array_equal(forecast[4], panel.values[-10])
    np.testing.assert_array_equal(forecast[5], panel.values[-2])


def test_a_weekday_that_was_never_open_gets_the_mean_of_the_others():
    values = np.full((70, 1), 6.0)
    values[np.arange(70) % 7 == 5] = np.nan
    panel = Panel(np.datetime64("2024-01-01") + np.arange(70), ("a",), values, ~np.isnan(values))
    assert seasonal_naive(panel, 7)[:, 0].tolist() == [6.0] * 7


def test_a_series_that_ended_is_not_forecast(weekly_table):
    rows = weekly_table({"a": 10, "ended": 3}, 60)
    old = rows["day"].to_numpy() < np.datetime64("2024-01-20")
    panel = panel_from_arrow(rows.filter(old | (rows["series"].to_numpy(zero_copy_only=False) == "a")))
    assert np.isnan(seasonal_naive(panel, 14)).all(axis=0).tolist() == [False, True]
