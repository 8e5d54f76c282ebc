"""Forecast against actual, as a PNG for the evaluation's page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from caudal.models.backtest import Backtest
    from caudal.models.panel import Panel

HISTORY_DAYS = 28
LARGEST_SERIES = 6
LATEST_WINDOWS = 3
MOST_DATES = 12
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOUR = {"challenger": "#d9480f", "baseline": "#adb5bd", "champion": "#1c7ed6"}
LABEL = {"challenger": "forecast", "baseline": "last week repeated", "champion": "champion's recipe"}


def plot_backtest(panel: Panel, backtest: Backtest, title: str, unit: str = "") -> bytes:
    """Draw the backtest: the sum of all series above, the largest series in the latest windows below, each
    with its error.

    Every window begins at a vertical line and was forecast from the day before. A method that is not the
    challenger, baseline or champion is not drawn.
    """
    from matplotlib.figure import Figure

    methods = [name for name in ("baseline", "champion", "challenger") if name in backtest.forecasts]
    figure = Figure(figsize=(11, 7.6), dpi=110, layout="constrained", facecolor="white")
    rows = figure.add_gridspec(3, 3, height_ratios=[1.5, 1, 1])
    above = figure.add_subplot(rows[0, :])
    _draw(above, panel, backtest, methods, None, 0)
    above.set_ylabel(unit, fontsize=9, color=MUTED)
    above.set_title(f"{title}: all series", loc="left", fontsize=12, fontweight="bold", color=INK)
    errors = "   ".join(f"{LABEL[name]} {backtest.errors(name).wape:.1%}" for name in reversed(methods))
    above.set_title(f"WAPE over {backtest.windows} windows:   {errors}", loc="right", fontsize=9, color=MUTED)
    handles, labels = above.get_legend_handles_labels()
    above.legend(handles[::-1], labels[::-1], loc="upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    low, high = above.get_ylim()
    above.set_ylim(low, high + 0.12 * (high - low))
    for place, name in enumerate(largest_series(backtest)):
        small = figure.add_subplot(rows[1 + place // 3, place % 3])
        _draw(small, panel, backtest, methods, name, max(0, backtest.windows - LATEST_WINDOWS))
        small.set_title(name, loc="left", fontsize=9.5, fontweight="bold", color=INK)
        wapes = " | ".join(f"{backtest.errors(method, series=name).wape:.1%}" for method in reversed(methods))
        small.set_title(f"WAPE {wapes}", loc="right", fontsize=8.5, color=MUTED)
    return _small_png(figure)


def largest_series(backtest: Backtest) -> tuple[str, ...]:
    """The names of the series with the largest absolute actual values in the backtest, largest first."""
    import numpy as np

    size = np.where(backtest.scored, np.abs(backtest.actual), 0.0).sum(axis=(0, 1))
    order = np.argsort(-size, kind="stable")[:LARGEST_SERIES]
    return tuple(backtest.series[column] for column in order if size[column] > 0)


def _draw(axes: Any, panel: Panel, backtest: Backtest, methods: list[str], series: str | None, first_window: int) -> None:
    import numpy as np

    columns = np.array([series in (None, name) for name in backtest.series])
    ahead = backtest.days[first_window:]
    before = panel.days < ahead[0, 0]
    history_days = HISTORY_DAYS if series is None else HISTORY_DAYS // 2
    days = np.concatenate([panel.days[before][-history_days:], ahead.ravel()])
    history = _total(panel.values[before][-history_days:, columns])
    scored = backtest.scored[first_window:, :, columns]
    actual = _total(np.where(scored, backtest.actual[first_window:, :, columns], np.nan)).ravel()
    for name in methods:
        forecast = np.where(scored, backtest.forecasts[name][first_window:, :, columns], np.nan)
        style = {"linewidth": 1.0, "linestyle": (0, (4, 2))} if name == "baseline" else {"linewidth": 1.6}
        axes.plot(ahead.ravel(), _total(forecast).ravel(), color=COLOUR[name], label=LABEL[name], **style)
    axes.plot(days, np.concatenate([history, actual]), color=INK, linewidth=1.1, label="actual", zorder=1.9)
    for begin in ahead[:, 0]:
        axes.axvline(begin - np.timedelta64(12, "h"), color=GRID, linewidth=1, zorder=0)
    _dress(axes, ahead[:, 0], days)
    axes.set_ylim(bottom=0 if np.nanmin(panel.values) >= 0 else None)


def _dress(axes: Any, begins: np.ndarray, days: np.ndarray) -> None:
    """Quiet axes, with a date where each window begins."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(days[0], days[-1] + np.timedelta64(1, "D"))
    step = max(1, -(-len(begins) // MOST_DATES))
    shown = begins[::step]
    axes.set_xticks(shown, [f"{day.astype(object):%d %b}".lstrip("0") for day in shown])
    axes.yaxis.set_major_formatter(_thousands)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _total(values: np.ndarray) -> np.ndarray:
    """The sum over series; NaN where none is known."""
    import numpy as np

    return np.where((~np.isnan(values)).any(axis=-1), np.nansum(values, axis=-1), np.nan)


def _thousands(value: float, _position: int | None = None) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:g}"


def _small_png(figure: Any) -> bytes:
    """The figure with a palette of 64 colours, a quarter of the size: it is stored with every
    materialization.
    """
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()
