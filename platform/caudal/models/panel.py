"""Daily values of many series on one calendar: what is known, what is zero, what is closed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    import pyarrow as pa

STALE_DAYS = 28
"""A series without a row for this many days before the panel's end has ended: it is not forecast."""

LEVEL_DAYS = 56
"""The level of a series is its mean absolute value over this many days."""

KNOWN_DAYS_NEEDED = 14
"""A series with fewer known values among its last `LEVEL_DAYS` is too new to be forecast."""


class NoHistory(ValueError):
    """The table has no row that a forecast could learn from."""


class HistoryTooShort(ValueError):
    """The table covers fewer days than the declared backtest needs."""


@dataclass(frozen=True)
class Panel:
    """Values by day and series, on a calendar without holes.

    Attributes:
        days: `datetime64[D]`, shape (T,), consecutive.
        series: names, sorted, S of them.
        given: float64, shape (T, S): the values as they came; NaN where there was no row or the row had no
            value.
        has_row: bool, shape (T, S): whether there was a row.
    """

    days: np.ndarray
    series: tuple[str, ...]
    given: np.ndarray
    has_row: np.ndarray

    @cached_property
    def closed(self) -> np.ndarray:
        """Bool, shape (T,): days on which no series at all has a row, such as a public holiday of the whole
        company.
        """
        import numpy as np

        return np.logical_not(self.has_row.any(axis=1))

    @cached_property
    def values(self) -> np.ndarray:
        """Float64, shape (T, S): a day without a row counts as 0 between the first and the last row of its
        series.

        NaN says that nothing is known: before the first row, after the last one, on a closed day, or where a
        row had no (or no finite) value.
        """
        import numpy as np

        began = np.logical_or.accumulate(self.has_row, axis=0)
        goes_on = np.logical_or.accumulate(self.has_row[::-1], axis=0)[::-1]
        silent = began & goes_on & ~self.has_row & ~self.closed[:, None]
        return np.where(silent, 0.0, self.given)

    @cached_property
    def level(self) -> np.ndarray:
        """Float64, shape (S,): mean absolute value over the last `LEVEL_DAYS` days; NaN where none is known."""
        import numpy as np

        recent = np.abs(self.values[-LEVEL_DAYS:])
        known = (~np.isnan(recent)).sum(axis=0)
        return np.where(known > 0, np.nansum(recent, axis=0) / np.maximum(known, 1), np.nan)

    @property
    def last_day(self) -> dt.date:
        return self.days[-1].astype(object)

    def until(self, day: np.datetime64) -> Panel:
        """The panel as it was known on the evening of `day`: nothing later leaks into it, not even by filled
        gaps.
        """
        rows = int((day - self.days[0]).astype(int)) + 1
        return Panel(self.days[:rows], self.series, self.given[:rows], self.has_row[:rows])

    def left_out(self) -> dict[str, str]:
        """Series that are not forecast from the panel's end, each with the reason in words."""
        import numpy as np

        reasons = {}
        known = (~np.isnan(self.values[-LEVEL_DAYS:])).sum(axis=0)
        for column, name in enumerate(self.series):
            rows = np.flatnonzero(self.has_row[:, column])
            if rows.size == 0:
                reasons[name] = f"no row until {self.days[-1]}"
            elif (silent_days := len(self.days) - 1 - int(rows[-1])) >= STALE_DAYS:
                reasons[name] = f"ended: last row on {self.days[rows[-1]]}, {silent_days} days before {self.days[-1]}"
            elif known[column] < KNOWN_DAYS_NEEDED:
                reasons[name] = f"too new: {known[column]} known days, {KNOWN_DAYS_NEEDED} are needed"
        return reasons

    def require_days(self, needed: int, purpose: str) -> None:
        """Raise `HistoryTooShort` unless the panel covers `needed` days."""
        if len(self.days) < needed:
            raise HistoryTooShort(
                f"{purpose} needs {needed} days of history; the table covers {len(self.days)}, from {self.days[0]} to "
                f"{self.days[-1]}. Wait for more data, or declare fewer windows or a shorter horizon."
            )


def panel_from_arrow(table: pa.Table, incomplete_days: int = 0) -> Panel:
    """The panel of a table with the columns `day` (date), `series` (string) and `value` (float64, may be
    null).

    Args:
        table: at most one row for each day and series; rows without a day or series are refused.
        incomplete_days: this many days at the end of the table are still filling and are left out.

    Raises:
        NoHistory: the table is empty, or has no value.
        ValueError: a null day or series, or two rows for one day and series.
    """
    import numpy as np

    if table.num_rows == 0:
        raise NoHistory("The table has no rows; materialize what it depends on first.")
    for name in ("day", "series"):
        if table[name].null_count:
            raise ValueError(f"{table[name].null_count} rows have no {name}; leave them out before forecasting.")
    day = table["day"].to_numpy().astype("datetime64[D]")
    series, column = np.unique(np.asarray(table["series"].to_pylist(), dtype=str), return_inverse=True)
    first, last = day.min(), day.max() - np.timedelta64(incomplete_days, "D")
    row = (day - first).astype(int)
    cells, counts = np.unique(row * len(series) + column, return_counts=True)
    if (counts > 1).any():
        twice_row, twice_column = divmod(int(cells[counts > 1][0]), len(series))
        raise ValueError(
            f"{first + twice_row} has several rows for series {str(series[twice_column])!r}; expected one. Aggregate the table."
        )
    length = int((day.max() - first).astype(int)) + 1
    given = np.full((length, len(series)), np.nan)
    value = table["value"].to_numpy().astype(float)
    given[row, column] = np.where(np.isfinite(value), value, np.nan)
    has_row = np.zeros(given.shape, dtype=bool)
    has_row[row, column] = True
    kept = length - incomplete_days
    if kept <= 0 or np.isnan(given[:kept]).all():
        raise NoHistory(
            f"The table has no value up to {last}; expected numbers. It covers {first} to {day.max()}, of which "
            f"{incomplete_days} days at the end are declared incomplete."
        )
    days = first + np.arange(kept)
    return Panel(days, tuple(str(name) for name in series), given[:kept], has_row[:kept])
