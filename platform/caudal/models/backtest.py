"""Rolling-origin windows: what each method would have forecast, against what came.

Origins lie one horizon apart and end with the history, so that each of the last `windows * horizon` days is
forecast once, by a model that saw nothing after its origin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.models.baseline import SEASON_DAYS
from caudal.models.forecast import days_needed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from caudal.models.panel import Panel

Method = Callable[["Panel"], "np.ndarray"]


@dataclass(frozen=True)
class Errors:
    """Errors over some days of some series. NaN where they cannot be measured.

    Attributes:
        days: forecast values compared, one for each day and series.
        mae: mean absolute error, in the unit of the values.
        rmse: root of the mean squared error, in the unit of the values.
        wape: sum of absolute errors over the sum of absolute actual values.
        mase: mean of the absolute errors, each over the mean absolute error that repeating the week before
            had made in the history of its series up to the origin (Hyndman and Koehler 2006). Below 1 is
            better than that.
    """

    days: int
    mae: float
    rmse: float
    wape: float
    mase: float


@dataclass(frozen=True)
class Backtest:
    """Forecasts of several methods for the same days.

    Attributes:
        series: S names.
        days: `datetime64[D]`, shape (W, H): the days of each window.
        actual: float64, shape (W, H, S); NaN where nothing is known.
        forecasts: by method, float64, shape (W, H, S).
        naive_error: float64, shape (W, S): what MASE divides by.
    """

    series: tuple[str, ...]
    days: np.ndarray
    actual: np.ndarray
    forecasts: Mapping[str, np.ndarray]
    naive_error: np.ndarray

    @property
    def windows(self) -> int:
        return len(self.days)

    @cached_property
    def scored(self) -> np.ndarray:
        """Bool, shape (W, H, S): known, and forecast by every method, so that all are compared on the same
        days.
        """
        import numpy as np

        known = ~np.isnan(self.actual)
        for forecast in self.forecasts.values():
            known = known & ~np.isnan(forecast)
        return known

    def errors(self, method: str, window: int | None = None, series: str | None = None) -> Errors:
        """The errors of a method, overall or of one window (from 0), of all series or of one."""
        import numpy as np

        cells = self.scored.copy()
        if window is not None:
            cells[np.arange(self.windows) != window] = False
        if series is not None:
            cells[:, :, np.array(self.series) != series] = False
        count = int(cells.sum())
        if not count:
            return Errors(0, np.nan, np.nan, np.nan, np.nan)
        error = np.abs(self.forecasts[method] - self.actual)
        naive = np.broadcast_to(self.naive_error[:, None, :], error.shape)[cells]
        total = float(np.abs(self.actual[cells]).sum())
        measurable = np.nan_to_num(naive) > 0
        return Errors(
            days=count,
            mae=float(error[cells].mean()),
            rmse=float(np.sqrt(np.square(error[cells]).mean())),
            wape=float(error[cells].sum() / total) if total else np.nan,
            mase=float((error[cells][measurable] / naive[measurable]).mean()) if measurable.any() else np.nan,
        )

    def to_arrow(self) -> pa.Table:
        """One row for each window, day, series and method: `window` (from 1), `origin`, `date`, `step_days`,
        `series`, `method`, `actual`, `forecast`. Only days that are scored.
        """
        import numpy as np
        import pyarrow as pa

        window, step, column = np.nonzero(self.scored)
        methods = list(self.forecasts)
        count = len(window)
        repeated = {
            "window": pa.array(window + 1, pa.int32()),
            "origin": pa.array(self.days[window, 0] - 1),
            "date": pa.array(self.days[window, step]),
            "step_days": pa.array(step + 1, pa.int32()),
            "series": pa.array(np.array(self.series, dtype=object)[column], pa.string()),
        }
        parts = [
            pa.table(
                {
                    **repeated,
                    "method": pa.array([method] * count, pa.string()),
                    "actual": pa.array(self.actual[window, step, column]),
                    "forecast": pa.array(self.forecasts[method][window, step, column]),
                }
            )
            for method in methods
        ]
        return pa.concat_tables(parts)


def history_needed_days(horizon: int, windows: int) -> int:
    """Days of history without which the first window has nothing to learn from."""
    return days_needed(horizon) + horizon * windows


def windows_possible(panel: Panel, horizon: int, declared: int) -> int:
    """How many of the declared windows the history is long enough for: at least one, or `run_backtest` will refuse."""
    spare_days = len(panel.days) - days_needed(horizon)
    return max(1, min(declared, spare_days // horizon))


def run_backtest(panel: Panel, horizon: int, windows: int, methods: Mapping[str, Method]) -> Backtest:
    """Let each method forecast each window from the panel as it was at the origin.

    Args:
        methods: by name, a function from the panel at the origin to forecasts, shape (horizon, S).

    Raises:
        HistoryTooShort: the panel covers fewer than `history_needed_days(horizon, windows)` days.
    """
    import numpy as np

    panel.require_days(history_needed_days(horizon, windows), f"A backtest of {windows} windows of {horizon} days")
    origins = [len(panel.days) - 1 - horizon * back for back in range(windows, 0, -1)]
    seen = [panel.until(panel.days[origin]) for origin in origins]
    ahead = np.array(origins)[:, None] + 1 + np.arange(horizon)[None, :]
    return Backtest(
        series=panel.series,
        days=panel.days[ahead],
        actual=panel.values[ahead],
        forecasts={name: np.stack([method(known) for known in seen]) for name, method in methods.items()},
        naive_error=np.stack([_naive_error(known) for known in seen]),
    )


def _naive_error(panel: Panel) -> np.ndarray:
    """Shape (S,): the mean absolute difference to the same weekday of the week before; NaN where never known."""
    import numpy as np

    change = np.abs(panel.values[SEASON_DAYS:] - panel.values[:-SEASON_DAYS])
    known = (~np.isnan(change)).sum(axis=0)
    return np.where(known > 0, np.nansum(change, axis=0) / np.maximum(known, 1), np.nan)
