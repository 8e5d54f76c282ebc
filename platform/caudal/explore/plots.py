"""Pictures of a profiled table: the distributions of its main columns, and its rows over time."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING

from caudal.explore.distributions import Categories, Histogram, TimeSeries
from caudal.explore.drawing import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    TEAL,
    compact,
    new_figure,
    quiet,
    shortened,
    title,
    to_png,
)
from caudal.explore.markdown import share

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from matplotlib.axes import Axes

    from caudal.explore.profile import ColumnProfile

ACROSS = 3
#: Matplotlib's dates are days since 1970-01-01.
SECONDS_A_DAY = 86_400
#: A day without its week says little: from this many days on, a mean over seven is drawn over them.
FEWEST_DAYS_TO_SMOOTH = 28
MOST_POINTS_TO_MARK = 60
NAMED = 8


def distribution_grid(distributions: Sequence[Categories | Histogram]) -> bytes:
    """A PNG with one small plot for each distribution, three in a row.

    Raises:
        ValueError: there is nothing to draw.

    """
    if not distributions:
        raise ValueError("no distributions: draw the grid only for a table that has some")
    down = -(-len(distributions) // ACROSS)
    figure = new_figure(0.25 + 2.05 * down)
    grid = figure.subplots(down, ACROSS, squeeze=False).flat
    for axes, shown in itertools.zip_longest(grid, distributions):
        if shown is None:
            axes.set_axis_off()
        elif isinstance(shown, Categories):
            _draw_categories(axes, shown)
        else:
            _draw_histogram(axes, shown)
    return to_png(figure)


def series_plot(series: TimeSeries) -> bytes:
    """A PNG with the rows, and below them the sum of the measure, over time."""
    panels = [("rows", series.rows, TEAL)]
    if series.measure:
        panels.append((series.measure, series.sums, BLUE))
    figure = new_figure(0.3 + 1.75 * len(panels))
    for axes, (name, values, colour) in zip(
        figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat, panels, strict=True
    ):
        _draw_series(axes, series, name, values, colour)
    return to_png(figure)


def network_plot(network: pa.Table, node: str) -> bytes:
    """A PNG of a result of `network_in_common`: degree against betweenness, PageRank as size, the highest ones named."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter

    degree, rank, between = (network[name].to_numpy() for name in ("degree", "pagerank", "betweenness"))
    figure = new_figure(4.2)
    axes = figure.subplots()
    size = 170 * rank / rank.max()
    axes.scatter(degree, between, s=size, color=BLUE, alpha=0.45, linewidth=0)
    named = np.union1d(np.argsort(-rank, kind="stable")[:NAMED], np.argsort(-between, kind="stable")[: NAMED // 2])
    axes.scatter(degree[named], between[named], s=size[named], color=ORANGE, alpha=0.9, linewidth=0)
    for i in named:
        axes.annotate(
            shortened(str(network[node][i].as_py()), 20),
            (degree[i], between[i]),
            xytext=(0, 3 + (size[i] / np.pi) ** 0.5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=INK,
            parse_math=False,
        )
    quiet(axes, grid="both")
    axes.margins(x=0.03)
    axes.set_ylim(-0.03 * between.max(), 1.12 * between.max() or 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1%}"))
    axes.set_xlabel("degree: linked nodes", fontsize=8, color=MUTED)
    axes.set_ylabel("betweenness: share of shortest paths", fontsize=8, color=MUTED)
    title(axes, f"{len(degree):,} nodes by {node}", "size: PageRank; named are the highest in it or in betweenness")
    return to_png(figure)


def _draw_categories(axes: Axes, shown: Categories) -> None:
    widest = max(rows for _, rows in shown.values)
    filled = shown.column.filled
    lines = [(shortened(value, 20) or "(blank)", rows, rows) for value, rows in shown.values]
    if shown.others:
        rest = shown.column.distinct - len(shown.values)
        lines.append((f"{rest:,} others" if rest > 1 else "1 other", shown.others, 0))
    for place, (label, rows, length) in enumerate(lines):
        axes.barh(place, length, color=BLUE, height=0.68)
        axes.annotate(
            label, (0, place), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=7.5,
            color=INK if length else MUTED, parse_math=False,
        )  # fmt: skip
        axes.annotate(
            share(rows, filled), (length, place), (4, 0), textcoords="offset points", va="center", fontsize=7,
            color=MUTED,
        )  # fmt: skip
    quiet(axes, grid="")
    axes.spines["bottom"].set_visible(False)
    axes.set(xlim=(0, widest * 1.25), ylim=(max(len(lines), 4) - 0.4, -0.6), xticks=[], yticks=[])
    _title(axes, shown.column, f"{shown.column.distinct:,} values")


def _draw_histogram(axes: Axes, shown: Histogram) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    column, of_time = shown.column, shown.column.kind == "time"
    unit = SECONDS_A_DAY if of_time else 1
    edges, width = [edge / unit for edge in shown.edges[:-1]], (shown.edges[1] - shown.edges[0]) / unit
    align, filled = ("center", 0.8) if shown.discrete else ("edge", 0.9)
    axes.bar(edges, shown.counts, width=width * filled, align=align, color=BLUE, linewidth=0)
    quiet(axes)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(compact))
    if of_time:
        _date_axis(axes, 4)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=shown.discrete))
        axes.xaxis.set_major_formatter(FuncFormatter(compact))
    remarks = []
    if shown.usual:
        remarks.append(f"without the {share(shown.usual, column.filled)} that are {shortened(str(column.quantiles[0]), 20)}")
    elif not of_time and isinstance(median := column.quantiles[len(column.quantiles) // 2], int | float | Decimal):
        remarks.append(f"median {compact(float(median))}")
    if shown.outside:
        remarks.append(f"{share(shown.outside, column.filled)} beyond")
    _title(axes, column, *remarks)


def _title(axes: Axes, column: ColumnProfile, *remarks: str) -> None:
    nulls = [f"{share(column.nulls, column.rows)} null"] if column.nulls else []
    title(axes, shortened(column.name, 30), " · ".join([*remarks, *nulls]))


def _draw_series(axes: Axes, series: TimeSeries, name: str, values: Sequence[float], colour: str) -> None:
    from matplotlib.dates import date2num
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    days = [float(date2num(start)) for start in series.starts]
    smooth = series.unit == "day" and len(values) >= FEWEST_DAYS_TO_SMOOTH
    axes.plot(days, values, color=colour, linewidth=0.8 if smooth else 1.4, alpha=0.4 if smooth else 1)
    if smooth:
        means = [sum(values[i - 3 : i + 4]) / 7 for i in range(3, len(values) - 3)]
        axes.plot(days[3:-3], means, color=colour, linewidth=1.8)
    axes.set_ylim(min(0, *values), max(values) * 1.06 or 1)
    axes.margins(x=0.01)
    quiet(axes)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=name != series.measure))
    axes.yaxis.set_major_formatter(FuncFormatter(compact))
    _date_axis(axes, 10)
    remark = f"{'sum ' if name == series.measure else ''}each {series.unit}"
    if series.column != series.unit:
        remark += f" of {shortened(series.column, 40)}"
    if smooth:
        remark += "; the strong line is the mean of seven days"
    if series.outside:
        remark += f"; {series.outside:,} rows without a time, or far from the others, are left out"
    title(axes, shortened(name, 60), remark)


def _date_axis(axes: Axes, most_ticks: int) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=most_ticks)
    axes.xaxis_date()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(fontsize=7, color=MUTED)
