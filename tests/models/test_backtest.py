import numpy as np
import pytest

from caudal.models.backtest import Backtest, history_needed_days, run_backtest, windows_possible
from caudal.models.panel import HistoryTooShort

TWO_DAYS = np.array([["2024-01-08", "2024-01-09"]], dtype="datetime64[D]")


def by_hand() -> Backtest:
    return Backtest(
        series=("a", "b"),
        days=TWO_DAYS,
        actual=np.array([[[10.0, 0.0], [20.0, np.nan]]]),
        forecasts={"model": np.array([[[13.0, 1.0], [16.0, 5.0]]]), "other": np.array([[[10.0, 0.0], [20.0, 5.0]]])},
        naive_error=np.array([[2.0, 0.0]]),
    )


def test_the_errors_are_those_computed_by_hand():
    errors = by_hand().errors("model")
    assert errors.days == 3
    assert errors.mae == pytest.approx((3 + 1 + 4) / 3)
    assert errors.rmse == pytest.approx(np.sqrt((9 + 1 + 16) / 3))
    assert errors.wape == pytest.approx(8 / 30)
    assert errors.mase == pytest.approx((3 / 2 + 4 / 2) / 2)
    assert by_hand().errors("other").wape == 0.0


def test_errors_of_one_series_leave_out_the_others():
    assert by_hand().errors("model", series="a").wape == pytest.approx(7 / 30)
    alone = by_hand().errors("model", series="b")
    assert (alone.days, alone.mae) == (1, 1.0)
    assert np.isnan(alone.wape)
    assert np.isnan(alone.mase)


def test_errors_of_nothing_are_not_known():
    errors = by_hand().errors("model", series="c")
    assert errors.days == 0
    assert np.isnan([errors.mae, errors.rmse, errors.wape, errors.mase]).all()


def test_all_methods_are_compared_on_the_days_that_every_one_of_them_forecasts():
    forecasts = {"model": np.array([[[13.0, 1.0], [16.0, 5.0]]]), "other": np.array([[[np.nan, 0.0], [20.0, 5.0]]])}
    backtest = Backtest(("a", "b"), TWO_DAYS, by_hand().actual, forecasts, by_hand().naive_error)
    assert backtest.errors("model").days == backtest.errors("other").days == 2


def test_windows_follow_each_other_to_the_end_and_methods_see_nothing_after_their_origin(weekly_panel):
    panel = weekly_panel({"a": 10, "b": 20}, 100)
    seen = []

    def method(known):
        seen.append(known)
        return np.tile(known.values[-1], (10, 1))

    backtest = run_backtest(panel, 10, 3, {"last value": method})
    np.testing.assert_array_equal(backtest.days.ravel(), panel.days[-30:])
    np.testing.assert_array_equal(backtest.actual.reshape(30, 2), panel.values[-30:])
    assert [str(known.days[-1]) for known in seen] == ["2024-03-10", "2024-03-20", "2024-03-30"]
    assert [len(known.values) for known in seen] == [70, 80, 90]
    np.testing.assert_array_equal(backtest.forecasts["last value"][1, 9], panel.values[79])


def test_the_naive_error_is_that_of_repeating_the_week_before_in_the_history(weekly_panel):
    panel = weekly_panel({"a": 10}, 100)
    backtest = run_backtest(panel, 10, 1, {"zero": lambda known: np.zeros((10, 1))})
    values = panel.values[:90, 0]
    assert backtest.naive_error[0, 0] == pytest.approx(np.abs(values[7:] - values[:-7]).mean())


def test_a_history_too_short_for_the_windows_is_refused_with_both_figures(weekly_panel):
    assert history_needed_days(14, 6) == 154
    with pytest.raises(HistoryTooShort, match="6 windows of 14 days needs 154 days of history; the table covers 153"):
        run_backtest(weekly_panel({"a": 1}, 153), 14, 6, {})


@pytest.mark.parametrize(("days", "windows"), [(60, 1), (84, 1), (97, 1), (98, 2), (153, 5), (154, 6), (400, 6)])
def test_as_many_of_the_declared_windows_are_possible_as_the_history_is_long(weekly_panel, days, windows):
    assert windows_possible(weekly_panel({"a": 1}, days), 14, 6) == windows


def test_the_table_holds_each_scored_day_once_for_each_method():
    rows = by_hand().to_arrow().to_pylist()
    assert len(rows) == 6
    first = rows[0]
    assert (first["window"], first["step_days"], first["series"], first["method"]) == (1, 1, "a", "model")
    assert (str(first["origin"]), str(first["date"])) == ("2024-01-07", "2024-01-08")
    assert (first["actual"], first["forecast"]) == (10.0, 13.0)
    assert sum(row["actual"] for row in rows if row["method"] == "other") == 30.0
