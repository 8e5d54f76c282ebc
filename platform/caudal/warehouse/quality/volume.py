"""How many rows a day, or a file, should have, by those before it.

Each period is compared with the level of its weekday: the median of the same weekdays before it, or of all periods where there
are fewer than four of them. What is usual is how far the periods before it were from their own levels, as factors, since rows
vary by shares: 1.4826 times the median absolute deviation of the logarithms (a standard deviation where they are normal, and
unmoved by a few bad days). Bounds are the level times or divided by e to the power of `spreads` deviations, and never narrower
than `tolerance`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from caudal.contracts.rules import VolumeSettings

_LEAST_OF_WEEKDAY = 4
#: Of the same weekdays in the history, so many must have rows for a day without any to be judged.
_USUALLY_THERE = 0.8
_DEVIATIONS = 1.4826


@dataclass(frozen=True)
class Period:
    """A day or a lake file, and its rows; `day` is None where files have no day."""

    label: str
    rows: int
    day: date | None = None


@dataclass(frozen=True)
class Judged:
    """A period, what was expected of it, and the bounds; `expected` is None if there was too little history to say."""

    period: Period
    low: float = 0.0
    expected: float | None = None
    high: float = math.inf

    @property
    def passed(self) -> bool:
        return self.expected is None or self.low <= self.period.rows <= self.high


def judge(periods: Sequence[Period], settings: VolumeSettings) -> list[Judged]:
    """The newest periods, oldest first, each judged by those before it.

    Args:
        periods: oldest first. Days between them that have no rows are judged as days of none.

    """
    known = with_gaps(periods)
    if settings.leave_out:
        known = known[: -settings.leave_out]
    first = max(len(known) - settings.judged, 0)
    return [_judged(known[i], known[max(i - settings.history, 0) : i], settings) for i in range(first, len(known))]


def with_gaps(periods: Sequence[Period]) -> list[Period]:
    """The periods, and a period of no rows for each day that is missing between the first and the last."""
    days = {p.day: p for p in periods if p.day is not None}
    if len(days) < len(periods) or not days:
        return list(periods)
    span = (max(days) - min(days)).days + 1
    if span > 50 * len(days):  # A stray date far from the others: nobody's days.
        return list(periods)
    every = (min(days) + timedelta(n) for n in range(span))
    return [days.get(day) or Period(day.isoformat(), 0, day) for day in every]


def _judged(period: Period, before: Sequence[Period], settings: VolumeSettings) -> Judged:
    if len(before) < settings.least_history:
        return Judged(period)
    level = _level(period, before, settings)
    if period.rows == 0 and not _is_usually_there(period, before, settings):
        return Judged(period)
    if level == 0:
        return Judged(period)
    apart = [math.log((p.rows + 1) / (_level(p, before, settings) + 1)) for p in before if p.rows]
    deviation = _DEVIATIONS * statistics.median(abs(a - statistics.median(apart)) for a in apart) if apart else 0.0
    width = max(settings.spreads * deviation, math.log1p(settings.tolerance))
    # However much they vary, no rows at all are too few.
    return Judged(period, max(level * math.exp(-width), 1.0), level, level * math.exp(width))


def _level(period: Period, before: Sequence[Period], settings: VolumeSettings) -> float:
    same = _same_weekday(period, before) if settings.weekdays else []
    rows = [p.rows for p in same] if len(same) >= _LEAST_OF_WEEKDAY else [p.rows for p in before if p.rows or p.day is None]
    return float(statistics.median(rows)) if rows else 0.0


def _is_usually_there(period: Period, before: Sequence[Period], settings: VolumeSettings) -> bool:
    same = _same_weekday(period, before) if settings.weekdays else []
    compared = same if len(same) >= _LEAST_OF_WEEKDAY else list(before)
    return sum(p.rows > 0 for p in compared) >= _USUALLY_THERE * len(compared)


def _same_weekday(period: Period, before: Sequence[Period]) -> list[Period]:
    if period.day is None:
        return []
    return [p for p in before if p.day is not None and p.day.weekday() == period.day.weekday()]
