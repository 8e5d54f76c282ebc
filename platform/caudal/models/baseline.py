"""The seasonal-naive forecast: last week, repeated. Every model has to beat it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from caudal.models.panel import Panel

SEASON_DAYS = 7
SEASONS_BACK = 8
"""A day that is not known (closed, or before the series began) is taken from the week before it, up to this
many weeks.
"""


def seasonal_naive(panel: Panel, horizon: int) -> np.ndarray:
    """Repeat the last known value of the same weekday over the `horizon` days after the panel's end.

    Returns:
        float64, shape (horizon, S); NaN for series that `Panel.left_out` leaves out. A weekday that was not
        known in the last `SEASONS_BACK` weeks gets the mean of the days that were.
    """
    import numpy as np

    values = panel.values
    recent = values[-SEASON_DAYS * SEASONS_BACK :]
    known = (~np.isnan(recent)).sum(axis=0)
    mean = np.where(known > 0, np.nansum(recent, axis=0) / np.maximum(known, 1), np.nan)
    forecast = np.full((horizon, len(panel.series)), np.nan)
    for step in range(horizon):
        for back in range(1, SEASONS_BACK + 1):
            row = len(values) - SEASON_DAYS * back + step % SEASON_DAYS
            if row >= 0:
                forecast[step] = np.where(np.isnan(forecast[step]), values[row], forecast[step])
    forecast = np.where(np.isnan(forecast), mean, forecast)
    left_out = panel.left_out()
    forecast[:, [name in left_out for name in panel.series]] = np.nan
    return forecast
