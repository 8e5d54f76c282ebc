import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.models.features import FEATURES, Calendar, rows_at, weekday
from caudal.models.panel import Panel

NO_HOLIDAYS = Calendar()


def days(first: str, count: int) -> np.ndarray:
    return np.datetime64(first) + np.arange(count)


def panel_of(values: np.ndarray) -> Panel:
    names = tuple(f"s{column}" for column in range(values.shape[1]))
    return Panel(days("2024-01-01", len(values)), names, values, ~np.isnan(values))


def features(panel: Panel, origin: int, names=FEATURES, horizon=14, calendar=NO_HOLIDAYS) -> np.ndarray:
    codes = np.arange(len(panel.series), dtype=float)
    return rows_at(panel, np.array([origin]), horizon, names, calendar, codes).features[0]


def test_weekdays_begin_with_monday():
    assert weekday(days("2017-01-01", 2)).tolist() == [6, 0]


def test_a_lag_is_the_latest_value_on_the_weekday_that_the_origin_knows():
    values = np.arange(60.0)[:, None]
    panel = panel_of(values)
    scale = values[:50][-56:].mean()
    lags = features(panel, 49, ("same_weekday_1", "same_weekday_2"))[:, 0] * scale
    expected = [49 + step - (7 if step <= 7 else 14) for step in range(1, 15)]
    np.testing.assert_allclose(lags[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(lags[:, 1], np.array(expected) - 7, rtol=1e-5)


def test_means_skip_what_is_not_known():
    values = np.full((60, 1), 2.0)
    values[52] = np.nan
    panel = Panel(days("2024-01-01", 60), ("a",), values, np.ones_like(values, dtype=bool))
    assert features(panel, 59, ("level_7", "mean_same_weekday_4"))[0, 0].tolist() == [1.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 70), st.integers(0, 2**32 - 1))
def test_no_feature_changes_with_what_comes_after_the_origin(origin, seed):
    random = np.random.default_rng(seed)
    before = random.uniform(0, 9, (90, 2))
    after = before.copy()
    after[origin + 1 :] = random.uniform(50, 99, (89 - origin, 2))
    calendar = Calendar(("02-01",))
    np.testing.assert_array_equal(
        features(panel_of(before), origin, calendar=calendar), features(panel_of(after), origin, calendar=calendar)
    )


def test_the_offset_counts_days_from_the_nearest_holiday_and_is_unknown_far_from_any():
    offsets = Calendar(("12-25", "2018-01-01")).offset_days(days("2017-12-20", 16))
    expected = [np.nan, -4, -3, -2, -1, 0, 1, 2, -4, -3, -2, -1, 0, 1, 2, np.nan]
    np.testing.assert_array_equal(offsets, expected)


def test_a_holiday_without_a_year_comes_every_year_and_29_february_only_in_some():
    closed = Calendar(closed_days=("02-29", "01-01")).is_closed(
        np.array(["2023-03-01", "2024-02-29", "2025-01-01", "2023-01-01"], dtype="datetime64[D]")
    )
    assert closed.tolist() == [False, True, True, True]


@pytest.mark.parametrize("text", ["2017-02-30", "13-01", "xmas", "02-30", "2017/01/01"])
def test_a_day_that_does_not_exist_is_refused_with_the_form_expected(text):
    with pytest.raises(ValueError, match=f"'{text}' is not a day; expected YYYY-MM-DD, or MM-DD"):
        Calendar(holidays=(text,))
