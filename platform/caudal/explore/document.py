"""A profile as one HTML file: nothing is loaded from elsewhere, no script, light and dark, narrow and wide.

Each picture has a text alternative, each table a caption. What data or people wrote is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from caudal.explore.distributions import Categories
from caudal.explore.drawing import compact
from caudal.explore.markdown import measure, share
from caudal.explore.page import compared, drift_lines, keys_told
from caudal.explore.profile import QUANTILES, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from caudal.explore.correlations import Correlation
    from caudal.explore.distributions import Histogram, TimeSeries
    from caudal.explore.findings import Findings
    from caudal.explore.profile import ColumnProfile

MOST_COLUMNS_RELATED = 20
_WIDE, _HIGH = 320, 96

STYLE = """
:root{color-scheme:light dark;--ink:#1b2733;--muted:#566573;--rule:#d5dce2;--paper:#fff;--card:#f5f7f9;--bar:#2b6cb0;
--warn:#9a4a00}
@media (prefers-color-scheme:dark){:root{--ink:#e4e9ee;--muted:#a3b1bd;--rule:#35414c;--paper:#12181e;--card:#1a222a;
--bar:#6aa9e9;--warn:#ffb366}}
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}
h3{font-size:1rem;margin:0;overflow-wrap:anywhere}p,dd,li{overflow-wrap:anywhere}.muted,small,caption{color:var(--muted)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.875rem}caption{text-align:left;padding:.25rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}.n{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}.cards{display:grid;gap:1rem;margin-top:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr))}.card{background:var(--card);border-radius:.5rem;padding:1rem;
min-width:0}dl{display:grid;grid-template-columns:auto 1fr;gap:0 .75rem;margin:.5rem 0;font-size:.875rem}dt{color:var(--muted)}
dd{margin:0}svg{width:100%;height:auto;display:block}rect,.line{fill:var(--bar)}.line{fill:none;stroke:var(--bar);stroke-width:1.5}
text{fill:var(--muted);font:11px system-ui,sans-serif}.much td{color:var(--warn);font-weight:600}
a{color:inherit}:focus-visible{outline:2px solid var(--bar)}@media print{.card{break-inside:avoid}}
"""


def html_report(found: Findings, description: str, at: str) -> str:
    """The whole report, of all columns."""
    profile = found.profile
    body = "\n".join(_body(found, description, at))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Profile of {escape(profile.relation)}</title>"
        f"<style>{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def _body(found: Findings, description: str, at: str) -> Iterator[str]:
    profile = found.profile
    yield f"<h1>Profile of {escape(profile.relation)}</h1>"
    yield f"<p>{escape(description)}</p>" if description else ""
    yield (
        f"<p><strong>{profile.rows:,} rows, {len(profile.columns):,} columns</strong>, "
        f"{profile.null_share:.2%} of all cells empty. "
        f'<span class="muted">Made {escape(at)} UTC. {escape(profile.method)}</span></p>'
    )
    yield f"<h2>Drift</h2><p>{escape(compared(found))}</p>"
    if found.drift:
        classes = ["much" if d.weight == "much" else "" for d in found.drift]
        yield _table(
            "Differences from the profile before", ("column", "drift", "before", "now"), drift_lines(found.drift), "", classes
        )
    if found.series:
        yield f"<h2>Rows over time</h2>{_series(found.series)}"
    yield "<h2>Columns</h2>"
    yield _table("All columns", ("column", "type", "null", "distinct", "remark"), map(_line, profile.columns), "..nn.")
    yield f'<div class="cards">{"".join(_card(c, found) for c in profile.columns)}</div>'
    yield f"<h2>Keys</h2><p>{escape(keys_told(found))}</p>"
    if found.correlations:
        yield f"<h2>Correlations</h2>{_matrix(found.correlations)}"
    if found.left_out:
        yield f"<p>Left out, for there was no time: {escape(', '.join(found.left_out))}.</p>"


def _line(column: ColumnProfile) -> tuple[str, ...]:
    nulls = share(column.nulls, column.rows)
    return column.name, column.type.lower(), nulls, f"{column.distinct:,}", column.remark


def _card(column: ColumnProfile, found: Findings) -> str:
    told = [("type", column.type.lower()), ("null", f"{column.nulls:,} ({share(column.nulls, column.rows)})")]
    about = "about " if found.profile.approximate else ""
    told.append(("distinct", f"{about}{column.distinct:,}"))
    if column.minimum is not None:
        told.append(("range", f"{plain(column.minimum)} to {plain(column.maximum)}"))
    if column.quantiles:
        named = zip(QUANTILES, column.quantiles, strict=False)
        told.append(("quantiles", ", ".join(f"{q:.0%}: {plain(v)}" for q, v in named)))
    if column.mean is not None:
        told.append(("mean ± deviation", f"{measure(column.mean)} ± {measure(column.std)}"))
    if column.lengths:
        told.append(("length", f"{column.lengths[0]:,} to {column.lengths[1]:,}, mean {column.lengths[2]:.1f}"))
    if column.patterns:
        told.append(("shapes", ", ".join(f"{shape} ({part:.0%})" for shape, part in column.patterns)))
    if column.non_finite:
        told.append(("NaN or infinite", f"{column.non_finite:,}"))
    if column.remark:
        told.append(("remark", column.remark))
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in told)
    drawn = found.drawn.get(column.name)
    picture = "" if drawn is None else _bars(drawn) if isinstance(drawn, Categories) else _histogram(drawn)
    return f'<section class="card"><h3>{escape(column.name)}</h3><dl>{listed}</dl>{picture}</section>'


def _bars(shown: Categories) -> str:
    rows = [*((plain(value) or "(blank)", rows) for value, rows in shown.values)]
    if shown.others > 0:
        rows.append(("all others", shown.others))
    most, step = max(n for _, n in shown.values), 18
    lengths = [*(130 * n / most for _, n in shown.values), 0.0]
    drawn = "".join(
        f'<text x="0" y="{i * step + 12}">{escape(value[:18])}</text>'
        f'<rect x="120" y="{i * step + 3}" width="{lengths[i]:.1f}" height="11"/>'
        f'<text x="{124 + lengths[i]:.1f}" y="{i * step + 12}">{share(n, shown.column.filled)}</text>'
        for i, (value, n) in enumerate(rows)
    )
    told = ", ".join(f"{value} {share(n, shown.column.filled)}" for value, n in rows)
    return _svg(drawn, f"Most frequent values: {told}", _WIDE, step * len(rows))


def _histogram(shown: Histogram) -> str:
    most, width = max(shown.counts) or 1, _WIDE / len(shown.counts)
    drawn = "".join(
        f'<rect x="{i * width:.1f}" y="{_HIGH * (1 - n / most):.1f}" '
        f'width="{0.9 * width:.1f}" height="{_HIGH * n / most:.1f}"/>'
        for i, n in enumerate(shown.counts)
    )
    of_time = shown.column.kind == "time"
    low, high = (_edge(edge, of_time) for edge in (shown.edges[0], shown.edges[-1 - shown.discrete]))
    labels = f'<text x="0" y="{_HIGH + 14}">{low}</text><text x="{_WIDE}" y="{_HIGH + 14}" text-anchor="end">{high}</text>'
    peak = shown.counts.index(max(shown.counts))
    told = f"Histogram from {low} to {high}; most rows, {most:,}, from {_edge(shown.edges[peak], of_time)} on"
    if shown.outside:
        told += f"; {shown.outside:,} rows lie beyond"
    if shown.usual:
        told += f"; {shown.usual:,} rows hold {plain(shown.column.quantiles[0])} and are not drawn"
    note = f"<small>{escape(told)}.</small>"
    return _svg(drawn + labels, told, _WIDE, _HIGH + 18) + note


def _series(series: TimeSeries) -> str:
    most, last = max(series.rows) or 1, max(len(series.rows) - 1, 1)
    points = " ".join(f"{900 * i / last:.1f},{150 * (1 - n / most) + 2:.1f}" for i, n in enumerate(series.rows))
    first, final = series.starts[0].isoformat(), series.starts[-1].isoformat()
    labels = f'<text x="0" y="170">{first}</text><text x="900" y="170" text-anchor="end">{final}</text>'
    told = (
        f"Rows each {series.unit} of {series.column} from {first} to {final}: at most {most:,}, at least {min(series.rows):,}"
    )
    if series.outside:
        told += f"; {series.outside:,} rows without a time, or far from the others, are left out"
    return _svg(f'<polyline class="line" points="{points}"/>{labels}', told, 900, 176) + f"<p class='muted'>{escape(told)}.</p>"


def _matrix(related: Sequence[Correlation]) -> str:
    names = list(dict.fromkeys(name for c in related for name in (c.first, c.second)))[:MOST_COLUMNS_RELATED]
    r = {(c.first, c.second): c.r for c in related} | {(c.second, c.first): c.r for c in related}
    rows = [(a, *("" if a == b else f"{r[a, b]:+.2f}" if (a, b) in r else "none" for b in names)) for a in names]
    return _table("Pearson's correlation of each two columns of numbers", ("", *names), rows, "." + "n" * len(names))


def _table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "", classes: Sequence[str] = ()
) -> str:
    """`align` has an `n` for each column of numbers."""
    sides = [' class="n"' if side == "n" else "" for side in align.ljust(len(header), ".")]
    head = "".join(f'<th scope="col"{side}>{escape(name)}</th>' for side, name in zip(sides, header, strict=True))
    lines = [
        (f'<tr class="{classes[i]}">' if classes and classes[i] else "<tr>")
        + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    shown = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{shown}</div>'


def _svg(drawn: str, told: str, width: int, height: int) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(told)}">{drawn}</svg>'


def _edge(value: float, of_time: bool) -> str:
    import datetime as dt

    if not of_time:
        return compact(value)
    try:
        return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=value)).strftime("%Y-%m-%d")
    except (OverflowError, ValueError):
        return compact(value)
