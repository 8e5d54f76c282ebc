"""The daily forecast: one LightGBM model over all series, direct for every step ahead.

Values are divided by the level of their series, so that large and small series teach each other; rows weigh
as much as their level, so that the sum of absolute errors is what gets small. Fitting is deterministic: the
same panel, recipe and library give the same text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from caudal.models.features import FEATURES, WEEK_DAYS, Calendar, Rows, rows_at
from caudal.models.openmp import import_lightgbm
from caudal.models.panel import LEVEL_DAYS

if TYPE_CHECKING:
    import numpy as np

    from caudal.models.panel import Panel

FORMAT = 1
MAX_THREADS = 8
CLOSED_WEEKS = 8
"""A weekday on which nothing was open for this many weeks is taken to be closed."""

PARAMETERS: dict[str, float | int | str] = {
    "objective": "l2",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 63,
}


class UnusableModel(ValueError):
    """A stored model cannot be used by this version of the platform."""


@dataclass(frozen=True)
class Recipe:
    """How to make a model from a panel; two models with one recipe differ only in the data that they saw.

    Attributes:
        features: names out of `caudal.models.features.FEATURES`.
        parameters: LightGBM's.
        rounds: trees.
        stride_days: every so many days one origin to learn from, counted back from the end.
        max_origins: at most this many origins, the latest.
        seed: of LightGBM's samples.
    """

    features: tuple[str, ...] = FEATURES
    parameters: Mapping[str, float | int | str] = field(default_factory=lambda: dict(PARAMETERS))
    rounds: int = 150
    stride_days: int = 3
    max_origins: int = 250
    seed: int = 7

    def __post_init__(self) -> None:
        unknown = sorted(set(self.features) - set(FEATURES))
        if unknown or not self.features:
            raise UnusableModel(f"Unknown features {unknown}; expected some of: {', '.join(FEATURES)}.")

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Raises `UnusableModel` where this version of the platform does not know a setting or feature."""
        given: dict[str, Any] = json.loads(text)
        given["features"] = tuple(given["features"])
        try:
            return cls(**given)
        except TypeError as cause:
            raise UnusableModel(f"The recipe has settings that are not known: {cause}.") from cause


@dataclass(frozen=True)
class FittedForecast:
    """A fitted model, as plain values that can be written as text.

    Attributes:
        series: the series it learned, in the order of their categories.
        trained_until: the last day it saw, ISO.
        booster: LightGBM's own text format.
    """

    recipe: Recipe
    horizon: int
    series: tuple[str, ...]
    trained_until: str
    booster: str

    def to_text(self) -> str:
        """JSON; no pickle, so that reading a model never runs code."""
        return json.dumps(
            {
                "format": FORMAT,
                "recipe": json.loads(self.recipe.to_json()),
                "horizon": self.horizon,
                "series": list(self.series),
                "trained_until": self.trained_until,
                "booster": self.booster,
            },
            indent=1,
        )

    @classmethod
    def from_text(cls, text: str) -> FittedForecast:
        """Raises `UnusableModel` where the text is of another format or asks for features that are no longer
        built.
        """
        given = json.loads(text)
        if given.get("format") != FORMAT:
            raise UnusableModel(f"The model is of format {given.get('format')!r}; expected {FORMAT}. Train it again.")
        recipe = Recipe.from_json(json.dumps(given["recipe"]))
        return cls(recipe, given["horizon"], tuple(given["series"]), given["trained_until"], given["booster"])

    def predict(self, panel: Panel, calendar: Calendar) -> np.ndarray:
        """Forecast the days after the panel's end.

        Returns:
            float64, shape (horizon, S); NaN for series that `Panel.left_out` leaves out, 0 on closed days.
            Never below 0 where the history of the panel never was.
        """
        import numpy as np

        lgb = _lightgbm()
        origin = np.array([len(panel.days) - 1])
        rows = rows_at(panel, origin, self.horizon, self.recipe.features, calendar, _codes(panel, self.series))
        flat = rows.features.reshape(-1, len(self.recipe.features))
        booster = lgb.Booster(model_str=self.booster)
        relative = np.asarray(booster.predict(flat, num_threads=_threads())).reshape(self.horizon, len(panel.series))
        forecast = relative * rows.scale[0]
        if np.nanmin(panel.values) >= 0:
            forecast = np.maximum(forecast, 0.0)
        forecast[closed_ahead(panel, self.horizon, calendar)] = 0.0
        left_out = panel.left_out()
        forecast[:, [name in left_out for name in panel.series]] = np.nan
        return forecast


def days_ahead(panel: Panel, horizon: int) -> np.ndarray:
    """The `horizon` days after the panel's end, `datetime64[D]`."""
    import numpy as np

    return panel.days[-1] + 1 + np.arange(horizon)


def closed_ahead(panel: Panel, horizon: int, calendar: Calendar) -> np.ndarray:
    """Bool for each day ahead: declared as closed, or a weekday on which nothing was open for `CLOSED_WEEKS`
    weeks.
    """
    import numpy as np

    closed = calendar.is_closed(days_ahead(panel, horizon))
    if len(panel.days) >= WEEK_DAYS * CLOSED_WEEKS:
        weekdays = panel.closed[-WEEK_DAYS * CLOSED_WEEKS :].reshape(CLOSED_WEEKS, WEEK_DAYS).all(axis=0)
        closed = closed | np.tile(weekdays, -(-horizon // WEEK_DAYS))[:horizon]
    return closed


def days_needed(horizon: int) -> int:
    """Days of history without which nothing can be fitted: one level, and one horizon to learn from."""
    return LEVEL_DAYS + horizon


def fit(panel: Panel, horizon: int, recipe: Recipe, calendar: Calendar) -> FittedForecast:
    """Fit the recipe on the whole panel.

    Raises:
        HistoryTooShort: the panel covers fewer than `days_needed(horizon)` days.
    """
    panel.require_days(days_needed(horizon), f"A forecast of {horizon} days")
    lgb = _lightgbm()
    features, target, weight = _learnable(panel, horizon, recipe, calendar)
    parameters = {
        **recipe.parameters,
        "seed": recipe.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": _threads(),
        "verbose": -1,
    }
    data = lgb.Dataset(
        features,
        target,
        weight=weight,
        feature_name=list(recipe.features),
        categorical_feature=[name for name in ("series",) if name in recipe.features],
        params={"verbose": -1},
    )
    booster = lgb.train(parameters, data, recipe.rounds)
    return FittedForecast(recipe, horizon, panel.series, str(panel.days[-1]), booster.model_to_string())


def _learnable(panel: Panel, horizon: int, recipe: Recipe, calendar: Calendar) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, F), targets (N,) as shares of their level, and weights (N,) that give the levels back."""
    import numpy as np

    last = len(panel.days) - 1 - horizon
    first = min(LEVEL_DAYS - 1, last)
    origins = np.arange(last, first - 1, -recipe.stride_days)[: recipe.max_origins]
    rows: Rows = rows_at(panel, origins, horizon, recipe.features, calendar, _codes(panel, panel.series))
    actual = panel.values[origins[:, None] + 1 + np.arange(horizon)[None, :]]
    scale = np.broadcast_to(rows.scale[:, None, :], actual.shape)
    usable = ~np.isnan(actual) & (np.nan_to_num(scale) > 0)
    return rows.features[usable], actual[usable] / scale[usable], scale[usable]


def _codes(panel: Panel, known: tuple[str, ...]) -> np.ndarray:
    import numpy as np

    position = {name: float(code) for code, name in enumerate(known)}
    return np.array([position.get(name, np.nan) for name in panel.series])


def _threads() -> int:
    import os

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MAX_THREADS)


def _lightgbm() -> Any:
    """The module, with OpenMP told to sleep while it waits: spinning threads halve the speed of a busy
    machine.
    """
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return import_lightgbm()
