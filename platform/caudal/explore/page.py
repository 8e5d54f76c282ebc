"""The page of a profile: drift first, then figures, and pictures of the main columns and of the rows over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.explore import markdown
from caudal.explore.plots import distribution_grid, series_plot
from caudal.explore.profile import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from caudal.explore.drift import Drift
    from caudal.explore.findings import Findings

MOST_DRIFTS, MOST_CORRELATIONS, MOST_PATTERNS = 30, 12, 40
#: A weaker correlation is not told.
WEAKEST = 0.1


def table_page(found: Findings, report: str = "") -> str:
    """Markdown with pictures, below `markdown.MAX_BYTES`. `report` is the path of the whole report."""
    pictures = []
    if distributions := [found.drawn[name] for name in found.main if name in found.drawn]:
        pictures.append(markdown.image(distribution_grid(distributions), f"{found.profile.relation}: distributions"))
    if found.series:
        pictures.append(markdown.image(series_plot(found.series), f"{found.profile.relation}: rows over time"))
    page = "\n\n".join(_parts(found, report))
    for picture in pictures:
        if len(page.encode()) + len(picture) < markdown.MAX_BYTES:
            page += f"\n\n{picture}"
    return page


def drift_lines(drift: Iterable[Drift]) -> list[tuple[str, str, str, str]]:
    """For each difference the column, what of it, before and now, as plain text."""
    return [
        (
            d.column or "(table)",
            d.what + (f", PSI {d.psi:.2f}" if d.psi is not None else "") + (" (much)" if d.weight == "much" else ""),
            d.before,
            d.now,
        )
        for d in drift
    ]


def compared(found: Findings) -> str:
    """With what the profile was compared, and with what result, in a sentence."""
    if not found.before:
        return "The first profile of this table: there is nothing to compare it with yet."
    since = f"the profile of {found.before.at} UTC (version {found.before.version}, {found.before.rows:,} rows)"
    if not found.drift:
        return f"No drift since {since}."
    much = sum(d.weight == "much" for d in found.drift)
    return f"{len(found.drift):,} differences from {since}, {much:,} of them large."


def keys_told(found: Findings) -> str:
    """The candidates for keys in a sentence."""
    if not found.keys:
        return "No column, and no pair of them, was found to tell the rows apart."
    named = [" + ".join(k.columns) + ("" if k.verified else " (in the sample)") for k in found.keys]
    return "Rows are told apart by: " + "; ".join(named) + "."


def _parts(found: Findings, report: str) -> Iterator[str]:
    yield f"**{markdown.text(compared(found), 300)}**"
    if found.drift:
        lines = [[markdown.text(cell, 120) for cell in line] for line in drift_lines(found.drift[:MOST_DRIFTS])]
        yield markdown.table(("column", "drift", "before", "now"), lines, ("left",) * 4)
    yield found.profile.to_markdown()
    yield markdown.text(keys_told(found), 500)
    if strong := [c for c in found.correlations if abs(c.r) >= WEAKEST][:MOST_CORRELATIONS]:
        lines = [(markdown.text(c.first), markdown.text(c.second), f"{c.r:+.3f}", f"{c.rows:,}") for c in strong]
        yield "Correlations (Pearson), the strongest first:"
        yield markdown.table(("column", "with", "r", "rows"), lines, ("left", "left", "right", "right"))
    if texts := [c for c in found.profile.columns if c.lengths][:MOST_PATTERNS]:
        lines = [
            (
                markdown.text(c.name),
                *(f"{n:,}" for n in c.lengths[:2]),
                f"{c.lengths[2]:.1f}",
                markdown.text(", ".join(f"{plain(shape)} ({share:.0%})" for shape, share in c.patterns), 120),
            )
            for c in texts
            if c.lengths
        ]
        yield "Lengths and shapes of texts (`x` letters, `9` a digit):"
        yield markdown.table(("column", "shortest", "longest", "mean", "shapes"), lines, ("left", *("right",) * 3, "left"))
    if found.left_out:
        yield f"Left out, for there was no time: {', '.join(found.left_out)}."
    if report:
        yield f"The whole report, to open in a browser: `{report}`"
