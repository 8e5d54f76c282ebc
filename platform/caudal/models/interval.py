"""How far a forecast usually misses: lower and upper bounds from the residuals of the backtest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from caudal.models.backtest import Backtest

RESIDUALS_NEEDED = 28
"""A series with fewer residuals takes the bounds of all series together."""


@dataclass(frozen=True)
class Interval:
    """Central intervals around a forecast.

    Attributes:
        coverage: the share of days that should fall between the bounds, 0 to 1.
        by_series: for each series (lower, upper) as shares of its mean forecast; lower <= 0 <= upper.
        pooled: the same for a series that is not among them.
    """

    coverage: float
    by_series: Mapping[str, tuple[float, float]]
    pooled: tuple[float, float]

    def bounds(self, forecast: np.ndarray, series: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of each value of `forecast`, shape (H, S); not below 0 where no forecast is."""
        import numpy as np

        shares = np.array([self.by_series.get(name, self.pooled) for name in series]).reshape(-1, 2)
        level = _mean_forecast(forecast[None])
        lower, upper = forecast + shares[:, 0] * level, forecast + shares[:, 1] * level
        known = ~np.isnan(forecast)
        if (forecast[known] >= 0).all():
            lower = np.maximum(lower, 0.0)
        closed = forecast == 0
        return np.where(closed, forecast, lower), np.where(closed, forecast, upper)

    def to_json(self) -> str:
        return json.dumps({"coverage": self.coverage, "by_series": dict(self.by_series), "pooled": self.pooled})

    @classmethod
    def from_json(cls, text: str) -> Interval:
        given = json.loads(text)
        lower, upper = given["pooled"]
        by_series = {name: (low, high) for name, (low, high) in given["by_series"].items()}
        return cls(given["coverage"], by_series, (lower, upper))


def interval_from(backtest: Backtest, method: str, coverage: float) -> Interval:
    """The quantiles of the method's residuals, as shares of the mean forecast of their series."""
    import numpy as np

    forecast = backtest.forecasts[method]
    residual = np.where(backtest.scored, backtest.actual - forecast, np.nan)
    level = _mean_forecast(forecast)
    share = residual / np.where(level > 0, level, np.nan)
    tails = ((1 - coverage) / 2, (1 + coverage) / 2)
    by_series, pool = {}, []
    for column, name in enumerate(backtest.series):
        known = share[:, :, column][~np.isnan(share[:, :, column])]
        pool.append(known)
        if len(known) >= RESIDUALS_NEEDED:
            by_series[name] = _quantiles(known, tails)
    together = np.concatenate(pool)
    return Interval(coverage, by_series, _quantiles(together, tails) if len(together) else (-1.0, 1.0))


def measured_coverage(backtest: Backtest, method: str, coverage: float) -> float:
    """The share of days inside bounds that were made from the other windows; NaN with a single window."""
    import numpy as np

    if backtest.windows < 2:
        return float("nan")
    inside = total = 0
    for window in range(backtest.windows):
        others = np.arange(backtest.windows) != window
        interval = interval_from(_without(backtest, others), method, coverage)
        lower, upper = interval.bounds(backtest.forecasts[method][window], backtest.series)
        actual, scored = backtest.actual[window], backtest.scored[window]
        inside += int(((actual >= lower) & (actual <= upper))[scored].sum())
        total += int(scored.sum())
    return inside / total if total else float("nan")


def _without(backtest: Backtest, kept: np.ndarray) -> Backtest:
    from dataclasses import replace

    return replace(
        backtest,
        days=backtest.days[kept],
        actual=backtest.actual[kept],
        forecasts={name: forecast[kept] for name, forecast in backtest.forecasts.items()},
        naive_error=backtest.naive_error[kept],
    )


def _mean_forecast(forecast: np.ndarray) -> np.ndarray:
    """Shape (S,): the mean absolute forecast of each series over windows and steps; NaN where there is none."""
    import numpy as np

    known = (~np.isnan(forecast)).sum(axis=(0, 1))
    return np.where(known > 0, np.nansum(np.abs(forecast), axis=(0, 1)) / np.maximum(known, 1), np.nan)


def _quantiles(shares: np.ndarray, tails: tuple[float, float]) -> tuple[float, float]:
    import numpy as np

    lower, upper = np.quantile(shares, tails)
    return min(float(lower), 0.0), max(float(upper), 0.0)
