"""What may be known at a forecast's origin, as numbers.

A forecast is direct: one row for each origin, step ahead and series, and every feature of that row is known
on the evening of the origin. The lag of a step is counted in whole weeks back to the last day that the origin
knows, so a step of 3 days looks 7 days back and a step of 10 days looks 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np

    from caudal.models.panel import Panel

WEEK_DAYS = 7
WEEKS_BACK = 8
HOLIDAY_BEFORE_DAYS = 4
HOLIDAY_AFTER_DAYS = 2
LEVEL_DAYS = (7, 28, 56)

LAGS = tuple(f"same_weekday_{week}" for week in range(1, 5))
FEATURES = (
    *LAGS,
    "mean_same_weekday_4",
    "mean_same_weekday_8",
    "level_7",
    "level_28",
    "log_level",
    "step",
    "weekday",
    "day_of_month",
    "holiday_offset",
    "series",
)
"""Every feature that can be built. Those of values are divided by the scale of their row; `series` is a
category.
"""


@dataclass(frozen=True)
class Calendar:
    """What people know of days to come.

    Attributes:
        holidays: days around which customers behave unusually, as `YYYY-MM-DD`, or `MM-DD` for every year.
        closed_days: days without business, written the same way; their forecast is 0.
    """

    holidays: tuple[str, ...] = ()
    closed_days: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*self.holidays, *self.closed_days):
            _dates(text, (2000,))

    def offset_days(self, days: np.ndarray) -> np.ndarray:
        """Days from the nearest holiday to each of `days`, negative before it; NaN where none is near."""
        import numpy as np

        holidays = _expand(self.holidays, days)
        if not len(holidays):
            return np.full(len(days), np.nan)
        apart = (days[:, None] - holidays[None, :]).astype(float)
        near = (apart >= -HOLIDAY_BEFORE_DAYS) & (apart <= HOLIDAY_AFTER_DAYS)
        nearest = np.where(near, np.abs(apart), np.inf).argmin(axis=1)
        return np.where(near.any(axis=1), apart[np.arange(len(days)), nearest], np.nan)

    def is_closed(self, days: np.ndarray) -> np.ndarray:
        """Bool for each of `days`: declared as closed."""
        import numpy as np

        return np.isin(days, _expand(self.closed_days, days))


@dataclass(frozen=True)
class Rows:
    """Features by origin, step and series.

    Attributes:
        features: float32, shape (O, horizon, S, F), in the order of the names asked for.
        scale: float64, shape (O, S): what the values were divided by, and a forecast must be multiplied with;
            NaN where the series is not known at the origin, 0 where it sold nothing.
    """

    features: np.ndarray
    scale: np.ndarray


def rows_at(
    panel: Panel,
    origins: np.ndarray,
    horizon: int,
    names: tuple[str, ...],
    calendar: Calendar,
    codes: np.ndarray,
) -> Rows:
    """Build the features `names` for each step 1..`horizon` after each origin.

    Args:
        panel: the history; only its rows up to an origin are used for that origin.
        origins: indices into `panel.days`.
        codes: for each series of the panel its category, NaN for one that the model does not know.
    """
    import numpy as np

    values = panel.values
    levels = {window: _trailing_mean(values, window)[origins] for window in LEVEL_DAYS}
    scale = _trailing_mean(np.abs(values), LEVEL_DAYS[-1])[origins]
    divisor = np.where(scale > 0, scale, np.nan)
    shape = (len(origins), len(panel.series))
    out = np.empty((len(origins), horizon, shape[1], len(names)), dtype=np.float32)
    for step in range(1, horizon + 1):
        lags = _same_weekdays(values, origins, step)
        days = panel.days[origins] + np.timedelta64(step, "D")
        known = {
            **{name: lags[week] / divisor for week, name in enumerate(LAGS)},
            "mean_same_weekday_4": _mean(lags[:4]) / divisor,
            "mean_same_weekday_8": _mean(lags) / divisor,
            "level_7": levels[7] / divisor,
            "level_28": levels[28] / divisor,
            "log_level": np.log1p(scale),
            "step": np.full(shape, step),
            "weekday": np.broadcast_to(weekday(days)[:, None], shape),
            "day_of_month": np.broadcast_to(_day_of_month(days)[:, None], shape),
            "holiday_offset": np.broadcast_to(calendar.offset_days(days)[:, None], shape),
            "series": np.broadcast_to(codes[None, :], shape),
        }
        for position, name in enumerate(names):
            out[:, step - 1, :, position] = known[name]
    return Rows(out, scale)


def weekday(days: np.ndarray) -> np.ndarray:
    """Monday 0 to Sunday 6, for `datetime64[D]`, which counts from a Thursday."""
    return (days.astype("datetime64[D]").astype(int) + 3) % WEEK_DAYS


def _day_of_month(days: np.ndarray) -> np.ndarray:
    return (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(int) + 1


def _same_weekdays(values: np.ndarray, origins: np.ndarray, step: int) -> np.ndarray:
    """The last `WEEKS_BACK` values on the weekday of `step` that each origin knows, shape (WEEKS_BACK, O, S),
    latest first.
    """
    import numpy as np

    out = np.full((WEEKS_BACK, len(origins), values.shape[1]), np.nan)
    latest = origins + step - WEEK_DAYS * -(-step // WEEK_DAYS)
    for week in range(WEEKS_BACK):
        row = latest - WEEK_DAYS * week
        exists = row >= 0
        out[week, exists] = values[row[exists]]
    return out


def _trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the known values among the last `window` rows, for each row; NaN where none is known."""
    import numpy as np

    known = ~np.isnan(values)
    totals = np.cumsum(np.where(known, values, 0.0), axis=0)
    counts = np.cumsum(known, axis=0)
    totals[window:] = totals[window:] - totals[:-window]
    counts[window:] = counts[window:] - counts[:-window]
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    import numpy as np

    known = (~np.isnan(values)).sum(axis=0)
    return np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)


def _expand(texts: tuple[str, ...], days: np.ndarray) -> np.ndarray:
    """The dates that `texts` mean in the years of `days`, those before and those after."""
    import numpy as np

    if not len(days):
        return np.array([], dtype="datetime64[D]")
    first, last = (int(day.astype("datetime64[Y]").astype(int)) + 1970 for day in (days.min(), days.max()))
    dates = {date for text in texts for date in _dates(text, range(first - 1, last + 2))}
    return np.array(sorted(dates), dtype="datetime64[D]")


def _dates(text: str, years: range | tuple[int, ...]) -> list[dt.date]:
    import datetime as dt

    try:
        if len(text) > len("MM-DD"):
            return [dt.date.fromisoformat(text)]
        month, day = (int(part) for part in text.split("-"))
        return [dt.date(year, month, day) for year in years if _exists(year, month, day)]
    except ValueError as cause:
        raise ValueError(f"{text!r} is not a day; expected YYYY-MM-DD, or MM-DD for every year.") from cause


def _exists(year: int, month: int, day: int) -> bool:
    """Whether the year has that day: 29 February comes only in some. Any other impossible day raises
    ValueError.
    """
    import calendar
    import datetime as dt

    if (month, day) == (2, 29):
        return calendar.isleap(year)
    dt.date(year, month, day)
    return True
