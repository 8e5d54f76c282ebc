from dataclasses import replace

import numpy as np
import pytest

from caudal.models.features import Calendar
from caudal.models.forecast import Recipe, UnusableModel
from caudal.models.gate import Verdict
from caudal.models.interval import Interval
from caudal.models.lifecycle import (
    Evaluation,
    ForecastDeclaration,
    NoChampion,
    NotEvaluated,
    evaluate,
    predict,
    promote,
)
from caudal.models.panel import HistoryTooShort
from caudal.models.registry import champion, latest_evaluation, record_evaluation
from caudal.models.registry import promote as register

GOOD = ForecastDeclaration("m", horizon_days=7, windows=3, recipe=Recipe(rounds=60))
WORSE = replace(GOOD, recipe=Recipe(rounds=1))
LEVELS = {"a": 100.0, "b": 40.0, "c": 10.0}


@pytest.fixture
def panel(weekly_panel):
    return weekly_panel(LEVELS, 200)


def test_the_first_challenger_is_compared_with_the_baseline_alone(env, panel):
    done = evaluate(env, GOOD, panel)
    assert done.decision.champion is None
    assert done.champion_version is None
    assert set(done.backtest.forecasts) == {"challenger", "baseline"}
    assert done.evaluation.verdict.promote
    assert "there is no champion yet" in done.evaluation.verdict.sentence


def test_a_promoted_recipe_is_trained_on_all_data_and_predicts_the_days_after_it(env, panel):
    evaluate(env, GOOD, panel)
    done = promote(env, GOOD, panel)
    assert (done.promoted, done.champion.version) == (True, 1)
    rows = predict(env, GOOD, panel).to_pylist()
    assert len(rows) == 3 * 7
    assert [row["series"] for row in rows[::7]] == ["a", "b", "c"]
    assert [str(row["date"]) for row in rows[:7]] == [str(day) for day in panel.days[-1] + 1 + np.arange(7)]
    assert {row["model_version"] for row in rows} == {"m/1"}
    assert all(0 <= row["lower"] <= row["value"] <= row["upper"] for row in rows)
    expected = np.repeat(list(LEVELS.values()), 7) * 8.5 / 7
    assert sum(row["value"] for row in rows) == pytest.approx(expected.sum(), rel=0.1)


def test_the_same_recipe_on_newer_data_becomes_the_champion(env, panel):
    earlier = panel.until(panel.days[-8])
    evaluate(env, GOOD, earlier)
    promote(env, GOOD, earlier)
    done = evaluate(env, GOOD, panel)
    assert done.decision.champion == done.decision.challenger
    assert done.champion_version == 1
    assert promote(env, GOOD, panel).champion.version == 2


def test_a_worse_recipe_is_refused_and_the_champion_goes_on_predicting_from_new_data(env, panel):
    earlier = panel.until(panel.days[-8])
    evaluate(env, GOOD, earlier)
    promote(env, GOOD, earlier)
    done = evaluate(env, WORSE, panel)
    assert done.decision.champion < done.decision.challenger
    assert set(done.backtest.forecasts) == {"challenger", "baseline", "champion"}
    assert not done.evaluation.verdict.promote
    kept = promote(env, WORSE, panel)
    assert (kept.promoted, kept.champion.version) == (False, 1)
    rows = predict(env, WORSE, panel).to_pylist()
    assert {row["model_version"] for row in rows} == {"m/1"}
    assert min(row["date"] for row in rows) == (panel.days[-1] + 1).astype(object)


def test_promoting_without_a_new_evaluation_changes_nothing(env, panel):
    evaluate(env, GOOD, panel)
    first = promote(env, GOOD, panel)
    again = promote(env, GOOD, panel)
    assert (again.promoted, again.champion) == (False, first.champion)


def test_promotion_trains_the_recipe_that_was_evaluated_whatever_is_declared_by_then(env, panel):
    evaluate(env, GOOD, panel)
    promote(env, WORSE, panel)
    assert Evaluation.from_json(champion(env, "m").evaluation).recipe == GOOD.recipe
    assert '"rounds": 60' in champion(env, "m").model


def test_a_refused_first_challenger_leaves_nobody_to_predict(env, panel):
    impossible = replace(GOOD, margin=0.999)
    assert not evaluate(env, impossible, panel).evaluation.verdict.promote
    with pytest.raises(NoChampion, match=r"Model m has no champion yet, and its challenger was not let in. Refused: WAPE"):
        promote(env, impossible, panel)
    with pytest.raises(NoChampion, match="materialize its evaluation and its model first"):
        predict(env, impossible, panel)


def test_nothing_is_promoted_without_an_evaluation(env, panel):
    with pytest.raises(NotEvaluated, match="Model m has no finished evaluation"):
        promote(env, GOOD, panel)


def test_a_short_history_is_evaluated_on_the_windows_that_fit_and_the_verdict_says_so(env, panel):
    done = evaluate(env, GOOD, panel.until(panel.days[71]))
    assert done.backtest.windows == 1
    assert done.evaluation.verdict.reasons[-1] == "only 1 of 3 windows fit into the 72 days of history"
    assert np.isnan(done.coverage)


def test_a_history_without_room_for_one_window_is_refused(env, panel):
    with pytest.raises(HistoryTooShort, match="1 windows of 7 days needs 70 days of history; the table covers 69"):
        evaluate(env, GOOD, panel.until(panel.days[68]))
    assert latest_evaluation(env, "m") is None


def test_a_champion_that_cannot_be_fitted_any_more_takes_no_part_and_the_verdict_says_so(env, panel):
    evaluation = Evaluation(Verdict(True, ()), Recipe(), 7, Interval(0.8, {}, (-1.0, 1.0)), "2024-01-01")
    text = evaluation.to_json().replace('"weekday"', '"moon"')
    register(env, "m", record_evaluation(env, "m", text, {}, {}, ""), '{"format": 0}')
    done = evaluate(env, GOOD, panel)
    assert done.decision.champion is None
    assert done.evaluation.verdict.promote
    assert "champion 1 takes no part" in done.evaluation.verdict.sentence
    with pytest.raises(UnusableModel, match="format 0; expected 1"):
        predict(env, GOOD, panel)
    assert promote(env, GOOD, panel).champion.version == 2


def test_a_series_that_ended_has_no_predictions(env, weekly_table):
    from caudal.models.panel import panel_from_arrow

    rows = weekly_table(LEVELS, 200)
    ended = (rows["series"].to_numpy(zero_copy_only=False) == "c") & (rows["day"].to_numpy() > np.datetime64("2024-05-01"))
    panel = panel_from_arrow(rows.filter(~ended))
    evaluate(env, GOOD, panel)
    promote(env, GOOD, panel)
    assert set(predict(env, GOOD, panel)["series"].to_pylist()) == {"a", "b"}
    assert list(panel.left_out()) == ["c"]


def test_an_evaluation_survives_its_json():
    evaluation = Evaluation(
        Verdict(False, ("worse",)), Recipe(rounds=9), 14, Interval(0.8, {"a": (-0.5, 0.25)}, (-1.0, 1.0)), "2024-01-01"
    )
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_holidays_that_are_declared_later_do_not_make_another_recipe(env, panel):
    evaluate(env, GOOD, panel)
    promote(env, GOOD, panel)
    done = evaluate(env, replace(GOOD, calendar=Calendar(("12-25",))), panel)
    assert set(done.backtest.forecasts) == {"challenger", "baseline"}
