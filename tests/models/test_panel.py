import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.models.panel import HistoryTooShort, NoHistory, panel_from_arrow


def test_a_day_without_a_row_counts_as_zero_between_the_first_and_the_last_row_of_its_series(table):
    panel = panel_from_arrow(table([("2024-01-01", "a", 5), ("2024-01-03", "a", 7), ("2024-01-02", "b", 1)]))
    assert panel.series == ("a", "b")
    np.testing.assert_array_equal(panel.values, [[5, np.nan], [0, 1], [7, np.nan]])


def test_a_day_on_which_no_series_has_a_row_is_closed_and_its_values_are_not_known(table):
    panel = panel_from_arrow(table([(f"2017-12-{day}", s, 4) for day in (24, 26) for s in ("a", "b")]))
    assert [str(day) for day in panel.days[panel.closed]] == ["2017-12-25"]
    np.testing.assert_array_equal(panel.values, [[4, 4], [np.nan, np.nan], [4, 4]])


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_row_without_a_finite_value_is_not_known_rather_than_zero(table, value):
    panel = panel_from_arrow(table([("2024-01-01", "a", 5), ("2024-01-02", "a", value), ("2024-01-03", "a", 7)]))
    np.testing.assert_array_equal(panel.values[:, 0], [5, np.nan, 7])


def test_days_that_are_declared_incomplete_are_left_out(table):
    rows = table([("2024-01-01", "a", 5), ("2024-01-02", "a", 6), ("2024-01-03", "a", 1)])
    panel = panel_from_arrow(rows, incomplete_days=1)
    assert panel.last_day == dt.date(2024, 1, 2)
    np.testing.assert_array_equal(panel.values[:, 0], [5, 6])


def test_the_level_is_the_mean_absolute_value_of_the_last_eight_weeks(weekly_panel):
    panel = weekly_panel({"a": 10, "b": -10}, 70, noise=0)
    np.testing.assert_allclose(panel.level, [10 * 8.5 / 7] * 2)


def test_an_empty_table_is_refused_with_what_to_do(table):
    with pytest.raises(NoHistory, match="no rows; materialize what it depends on"):
        panel_from_arrow(table([]))


def test_a_table_of_incomplete_days_only_is_refused_with_its_days(table):
    with pytest.raises(NoHistory, match="2024-01-01 to 2024-01-01, of which 1 days"):
        panel_from_arrow(table([("2024-01-01", "a", 5)]), incomplete_days=1)


def test_two_rows_of_one_day_and_series_are_refused_by_name(table):
    with pytest.raises(ValueError, match="2024-01-02 has several rows for series 'b'"):
        panel_from_arrow(table([("2024-01-01", "a", 1), ("2024-01-02", "b", 1), ("2024-01-02", "b", 1)]))


def test_a_row_without_a_series_is_refused():
    rows = pa.table({"day": [dt.date(2024, 1, 1)], "series": pa.array([None], pa.string()), "value": [1.0]})
    with pytest.raises(ValueError, match="1 rows have no series"):
        panel_from_arrow(rows)


def test_too_short_a_history_tells_the_days_needed_and_found(weekly_panel):
    with pytest.raises(HistoryTooShort, match="needs 84 days of history; the table covers 30, from 2024-01-01 to 2024-01-30"):
        weekly_panel({"a": 1}, 30).require_days(84, "A backtest")


def test_series_that_ended_or_only_began_are_left_out_with_the_reason(table):
    days = [dt.date(2024, 1, 1) + dt.timedelta(days) for days in range(60)]
    rows = [(day.isoformat(), "goes on", 1) for day in days]
    rows += [(day.isoformat(), "ended", 1) for day in days[:31]]
    rows += [(day.isoformat(), "new", 1) for day in days[-5:]]
    rows += [(day.isoformat(), "paused", 1) for day in days[:33]]
    assert panel_from_arrow(table(rows)).left_out() == {
        "ended": "ended: last row on 2024-01-31, 29 days before 2024-02-29",
        "new": "too new: 5 known days, 14 are needed",
    }


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 20), st.sampled_from("abc")),
        st.one_of(st.none(), st.floats(-9, 9)),
        min_size=1,
    ),
    st.integers(0, 20),
)
def test_the_panel_until_a_day_is_the_panel_of_the_rows_until_that_day(cells, cut):
    first = min(day for day, _ in cells)
    cut = max(cut, first)

    def panel(kept):
        return panel_from_arrow(
            pa.table(
                {
                    "day": pa.array([dt.date(2024, 1, 1) + dt.timedelta(day) for day, _ in kept], pa.date32()),
                    "series": [series for _, series in kept],
                    "value": pa.array(list(kept.values()), pa.float64()),
                }
            )
        )

    early = {key: value for key, value in cells.items() if key[0] <= cut}
    if all(value is None for value in early.values()):
        return
    whole = panel(cells)
    seen = whole.until(min(whole.days[-1], np.datetime64("2024-01-01") + cut))
    expected = panel(early)
    for column, name in enumerate(whole.series):
        known = seen.values[:, column]
        if name not in expected.series:
            assert np.isnan(known).all()
            continue
        then = expected.values[:, expected.series.index(name)]
        np.testing.assert_array_equal(known[: len(then)], then)
        assert np.isnan(known[len(then) :]).all()
