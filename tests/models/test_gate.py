import pytest

from caudal.models.gate import Decision, decide


@pytest.mark.parametrize(
    ("challenger", "baseline", "champion", "promote"),
    [
        (0.156, 0.214, None, True),
        (0.19, 0.20, None, True),
        (0.1901, 0.20, None, False),
        (0.25, 0.20, None, False),
        (0.15, 0.20, 0.15, True),
        (0.15, 0.20, 0.16, True),
        (0.1501, 0.20, 0.15, False),
        (0.199, 0.20, 0.30, False),
        (0.0, 0.20, 0.0, True),
        (float("nan"), 0.20, None, False),
        (0.1, float("nan"), None, False),
        (0.1, 0.2, float("nan"), False),
    ],
)
def test_only_a_challenger_below_the_margin_and_not_above_the_champion_is_promoted(challenger, baseline, champion, promote):
    assert decide(Decision(challenger, baseline, champion, margin=0.05)).promote is promote


def test_the_sentence_gives_the_figures_of_a_promotion():
    assert decide(Decision(0.156, 0.214, None, 0.05)).sentence == (
        "Promoted: WAPE 15.6% is within the 20.3% that is asked for, 5% below the seasonal-naive 21.4%; "
        "there is no champion yet."
    )


def test_the_sentence_gives_the_figures_of_a_refusal():
    assert decide(Decision(0.187, 0.214, 0.156, 0.05)).sentence == (
        "Refused: WAPE 18.7% is within the 20.3% that is asked for, 5% below the seasonal-naive 21.4%; "
        "it is worse than the champion's 15.6%."
    )


def test_what_could_not_be_measured_is_refused_in_words():
    verdict = decide(Decision(float("nan"), 0.2, None, 0.05))
    assert verdict.sentence == "Refused: WAPE could not be measured: the days of the backtest hold no values."
