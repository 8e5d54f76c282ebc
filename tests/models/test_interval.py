import numpy as np
import pytest

from caudal.models.backtest import Backtest
from caudal.models.interval import Interval, interval_from, measured_coverage


def backtest(spread: float = 10.0, windows: int = 6) -> Backtest:
    """Forecasts of 100 for `wide` and 10 for `short`; residuals of `wide` uniform within `spread`; few of `short`."""
    random = np.random.default_rng(3)
    shape = (windows, 14, 2)
    forecast = np.broadcast_to(np.array([100.0, 10.0]), shape)
    actual = forecast + random.uniform(-1, 1, shape) * np.array([spread, 1.0])
    actual[1:, :, 1] = np.nan
    days = np.datetime64("2024-01-01") + np.arange(windows * 14).reshape(windows, 14)
    return Backtest(("wide", "short"), days, actual, {"m": forecast}, np.ones((windows, 2)))


def test_bounds_are_the_quantiles_of_the_residuals_of_their_series():
    interval = interval_from(backtest(), "m", 0.8)
    assert set(interval.by_series) == {"wide"}
    lower, upper = interval.bounds(np.array([[100.0], [100.0]]), ("wide",))
    assert 90 < lower[0, 0] < 93
    assert 107 < upper[1, 0] < 110


def test_a_series_with_few_residuals_takes_the_bounds_of_all_together():
    interval = interval_from(backtest(), "m", 0.8)
    lower, upper = interval.bounds(np.array([[10.0, 40.0]]), ("short", "never seen"))
    np.testing.assert_allclose(upper[0] / [10, 40], 1 + interval.pooled[1])
    np.testing.assert_allclose(lower[0] / [10, 40], 1 + interval.pooled[0])


def test_bounds_hold_the_forecast_between_them_and_never_fall_below_zero():
    interval = Interval(0.8, {"a": (-2.0, 0.5)}, (-1.0, 1.0))
    forecast = np.array([[10.0], [0.0], [np.nan]])
    lower, upper = interval.bounds(forecast, ("a",))
    np.testing.assert_array_equal(lower[:, 0], [0.0, 0.0, np.nan])
    np.testing.assert_array_equal(upper[:, 0], [12.5, 0.0, np.nan])


def test_a_biased_forecast_still_lies_between_its_bounds():
    shifted = backtest()
    interval = interval_from(
        Backtest(shifted.series, shifted.days, shifted.actual + 50, shifted.forecasts, shifted.naive_error), "m", 0.8
    )
    assert interval.by_series["wide"][0] == 0.0


def test_the_measured_coverage_comes_near_the_one_asked_for():
    assert measured_coverage(backtest(), "m", 0.8) == pytest.approx(0.8, abs=0.08)


def test_the_coverage_of_a_single_window_is_not_known():
    assert np.isnan(measured_coverage(backtest(windows=1), "m", 0.8))


def test_an_interval_survives_its_json():
    interval = interval_from(backtest(), "m", 0.8)
    assert Interval.from_json(interval.to_json()) == interval


def test_without_any_residual_the_bounds_are_wide():
    none = backtest()
    unknown = Backtest(none.series, none.days, none.actual * np.nan, none.forecasts, none.naive_error)
    assert interval_from(unknown, "m", 0.8).pooled == (-1.0, 1.0)
