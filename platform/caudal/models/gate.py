"""The gate: promote a challenger or refuse it, with the figures."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """What the gate decides on: one error for each contender, measured on the same days. Lower is better.

    Attributes:
        challenger: the error of the model that wants to serve.
        baseline: the error of the seasonal-naive forecast.
        champion: the error of the recipe that serves now; None where there is no champion yet.
        margin: the challenger's error must lie below the baseline's by at least this share of it, 0 to 1.
        metric: the name of the error.
    """

    challenger: float
    baseline: float
    champion: float | None
    margin: float
    metric: str = "WAPE"


@dataclass(frozen=True)
class Verdict:
    """`promote`, and one sentence for each thing that was compared."""

    promote: bool
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return ("Promoted: " if self.promote else "Refused: ") + "; ".join(self.reasons) + "."


def decide(decision: Decision) -> Verdict:
    """Promote only a challenger that beats the baseline by the margin and is not worse than the champion.

    An error that is not a finite number refuses: nothing was measured. The champion's bound has a tolerance
    of one part in a billion, for rounding.
    """
    known = [decision.challenger, decision.baseline] + ([] if decision.champion is None else [decision.champion])
    if not all(math.isfinite(error) for error in known):
        return Verdict(False, (f"{decision.metric} could not be measured: the days of the backtest hold no values",))
    bound = decision.baseline * (1 - decision.margin)
    beats_baseline = decision.challenger <= bound
    relation = "within" if beats_baseline else "above"
    against_baseline = (
        f"{decision.metric} {decision.challenger:.1%} is {relation} the {bound:.1%} that is asked for, "
        f"{decision.margin:.0%} below the seasonal-naive {decision.baseline:.1%}"
    )
    reasons = [against_baseline]
    holds_champion = True
    if decision.champion is None:
        reasons.append("there is no champion yet")
    else:
        holds_champion = decision.challenger <= decision.champion * (1 + 1e-9)
        relation = "not worse than" if holds_champion else "worse than"
        reasons.append(f"it is {relation} the champion's {decision.champion:.1%}")
    return Verdict(beats_baseline and holds_champion, tuple(reasons))
