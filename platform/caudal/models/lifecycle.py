"""Evaluate, promote, predict: the steps that a model goes through, each of which may be run again.

What one step tells the next goes through the registry, not through the orchestrator: an evaluation is
recorded with its verdict, and promotion trains the recipe of the latest recorded evaluation only where that
verdict says so. So nobody can promote a refused model by running the promotion alone.

A champion has seen the days that the windows lie in, so its stored model cannot be compared on them; its
*recipe* is, fitted anew for each window like the challenger's. Where both recipes are the same, so are their
errors, and what decides is the baseline.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from caudal.models import registry
from caudal.models.backtest import Backtest, Method, run_backtest, windows_possible
from caudal.models.baseline import seasonal_naive
from caudal.models.features import Calendar
from caudal.models.forecast import FittedForecast, Recipe, UnusableModel, days_ahead, fit
from caudal.models.gate import Decision, Verdict, decide
from caudal.models.interval import Interval, interval_from, measured_coverage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.models.panel import Panel


class NotEvaluated(LookupError):
    """The model has no finished evaluation."""


class NoChampion(LookupError):
    """No version of the model was ever promoted."""


@dataclass(frozen=True)
class ForecastDeclaration:
    """A forecast as its owner declares it.

    Attributes:
        name: of the model in the registry.
        horizon_days: days ahead.
        windows: of the backtest, each `horizon_days` long.
        margin: how far below the baseline's error the challenger's must be, as a share of it.
        coverage: the share of days that should fall between the lower and the upper bound.
    """

    name: str
    horizon_days: int = 14
    windows: int = 6
    margin: float = 0.05
    coverage: float = 0.8
    calendar: Calendar = field(default_factory=Calendar)
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Evaluation:
    """What was found out about a challenger, and what a later promotion and prediction need of it."""

    verdict: Verdict
    recipe: Recipe
    horizon_days: int
    interval: Interval
    data_until: str

    def to_json(self) -> str:
        return json.dumps(
            {
                "verdict": asdict(self.verdict),
                "recipe": json.loads(self.recipe.to_json()),
                "horizon_days": self.horizon_days,
                "interval": json.loads(self.interval.to_json()),
                "data_until": self.data_until,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Raises `UnusableModel` where the recipe asks for features that are no longer built."""
        given = json.loads(text)
        return cls(
            verdict=Verdict(given["verdict"]["promote"], tuple(given["verdict"]["reasons"])),
            recipe=Recipe.from_json(json.dumps(given["recipe"])),
            horizon_days=given["horizon_days"],
            interval=Interval.from_json(json.dumps(given["interval"])),
            data_until=given["data_until"],
        )


@dataclass(frozen=True)
class Evaluated:
    """A recorded evaluation, with the backtest behind it.

    Attributes:
        champion_version: the version that it was compared with; None where there is none.
        coverage: the share of days inside bounds that were made from the other windows.
    """

    run_id: str
    evaluation: Evaluation
    backtest: Backtest
    decision: Decision
    champion_version: int | None
    coverage: float


@dataclass(frozen=True)
class Promotion:
    """The champion after the gate: newly promoted, or as it was before."""

    champion: registry.Champion
    promoted: bool
    verdict: Verdict


def evaluate(env: Environment, declared: ForecastDeclaration, panel: Panel) -> Evaluated:
    """Backtest the declared recipe against the baseline and the champion's recipe, decide, and record both.

    Where the history is too short for the declared windows, the latest ones that fit decide, and the verdict says so.

    Raises:
        HistoryTooShort: not even one window fits; with the days needed and found.
    """
    champion = registry.champion(env, declared.name)
    champion_recipe, *notes = _recipe_of(champion)
    methods = {
        "challenger": _method(declared, declared.recipe),
        "baseline": lambda known: seasonal_naive(known, horizon),
    }
    horizon = declared.horizon_days
    if champion_recipe is not None and champion_recipe != declared.recipe:
        methods["champion"] = _method(declared, champion_recipe)
    windows = windows_possible(panel, horizon, declared.windows)
    if windows < declared.windows:
        notes.append(f"only {windows} of {declared.windows} windows fit into the {len(panel.days)} days of history")
    backtest = run_backtest(panel, horizon, windows, methods)
    wape = {name: backtest.errors(name).wape for name in methods}
    if champion_recipe == declared.recipe:
        wape["champion"] = wape["challenger"]
    decision = Decision(wape["challenger"], wape["baseline"], wape.get("champion"), declared.margin)
    verdict = decide(decision)
    verdict = replace(verdict, reasons=(*verdict.reasons, *filter(None, notes)))
    interval = interval_from(backtest, "challenger", declared.coverage)
    evaluation = Evaluation(verdict, declared.recipe, horizon, interval, str(panel.last_day))
    recorded = registry.record_evaluation(
        env,
        declared.name,
        evaluation.to_json(),
        parameters=_parameters(declared, panel),
        metrics={
            f"{metric}_{name}": value
            for name in methods
            for metric, value in asdict(backtest.errors(name)).items()
            if metric != "days"
        },
        verdict=verdict.sentence,
    )
    version = champion.version if champion else None
    coverage = measured_coverage(backtest, "challenger", declared.coverage)
    return Evaluated(recorded.run_id, evaluation, backtest, decision, version, coverage)


def promote(env: Environment, declared: ForecastDeclaration, panel: Panel) -> Promotion:
    """Train the latest evaluated recipe on the whole panel and make it the champion, if the gate let it; else
    keep the champion.

    An evaluation that has already become the champion is not trained again.

    Raises:
        NotEvaluated: there is no evaluation to go by.
        NoChampion: the gate refused, and there is no champion to keep.
    """
    recorded = registry.latest_evaluation(env, declared.name)
    if recorded is None:
        raise NotEvaluated(f"Model {declared.name} has no finished evaluation; materialize its evaluation first.")
    evaluation = Evaluation.from_json(recorded.text)
    champion = registry.champion(env, declared.name)
    if champion is not None and champion.run_id == recorded.run_id:
        return Promotion(champion, False, evaluation.verdict)
    if evaluation.verdict.promote:
        fitted = fit(panel, evaluation.horizon_days, evaluation.recipe, declared.calendar)
        return Promotion(registry.promote(env, declared.name, recorded, fitted.to_text()), True, evaluation.verdict)
    if champion is None:
        raise NoChampion(
            f"Model {declared.name} has no champion yet, and its challenger was not let in. {evaluation.verdict.sentence}"
        )
    return Promotion(champion, False, evaluation.verdict)


def predict(env: Environment, declared: ForecastDeclaration, panel: Panel) -> pa.Table:
    """Forecast the days after the panel's end with the champion.

    Returns:
        a table ordered by series and date: `series` (string), `date` (date32), `value`, `lower`, `upper`
        (float64, in the unit of the table), `model_version` (string, `<name>/<number>`), `made_at`
        (timestamp, UTC). A series that is not forecast has no rows; `Panel.left_out` tells why.

    Raises:
        NoChampion: no version was ever promoted.
        UnusableModel: the champion was made by a version of the platform that this one cannot follow.
    """
    import numpy as np
    import pyarrow as pa

    champion = registry.champion(env, declared.name)
    if champion is None:
        raise NoChampion(f"Model {declared.name} has no champion; materialize its evaluation and its model first.")
    fitted = FittedForecast.from_text(champion.model)
    forecast = fitted.predict(panel, declared.calendar)
    lower, upper = Evaluation.from_json(champion.evaluation).interval.bounds(forecast, panel.series)
    column, step = np.nonzero(~np.isnan(forecast.T))
    made_at = dt.datetime.now(dt.UTC)
    return pa.table(
        {
            "series": pa.array(np.array(panel.series, dtype=object)[column], pa.string()),
            "date": pa.array(days_ahead(panel, fitted.horizon)[step]),
            "value": pa.array(forecast[step, column]),
            "lower": pa.array(lower[step, column]),
            "upper": pa.array(upper[step, column]),
            "model_version": pa.array([f"{declared.name}/{champion.version}"] * len(step), pa.string()),
            "made_at": pa.array([made_at] * len(step), pa.timestamp("us", "UTC")),
        }
    )


def _method(declared: ForecastDeclaration, recipe: Recipe) -> Method:
    def forecast(known: Panel) -> np.ndarray:
        return fit(known, declared.horizon_days, recipe, declared.calendar).predict(known, declared.calendar)

    return forecast


def _recipe_of(champion: registry.Champion | None) -> tuple[Recipe | None, str]:
    """The champion's recipe, or None and why it takes no part."""
    if champion is None:
        return None, ""
    try:
        return Evaluation.from_json(champion.evaluation).recipe, ""
    except UnusableModel as cause:
        return None, f"champion {champion.version} takes no part, for it cannot be fitted any more: {cause}"


def _parameters(declared: ForecastDeclaration, panel: Panel) -> dict[str, object]:
    return {
        "horizon_days": declared.horizon_days,
        "windows": declared.windows,
        "margin": declared.margin,
        "rounds": declared.recipe.rounds,
        "stride_days": declared.recipe.stride_days,
        "features": ",".join(declared.recipe.features),
        **declared.recipe.parameters,
        "series": len(panel.series),
        "data_from": str(panel.days[0]),
        "data_until": str(panel.last_day),
    }
