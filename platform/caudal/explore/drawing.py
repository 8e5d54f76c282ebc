"""How the platform's pictures look, and PNG bytes of bounded size. Figures are objects of their own, never pyplot's."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1b2733", "#66788a", "#dfe5ea", "#ffffff"
BLUE, LIGHT_BLUE, ORANGE, TEAL = "#2b6cb0", "#a9c7e6", "#d9822b", "#2a9d8f"

WIDTH_INCHES = 9.6
#: Embedded as text a PNG grows by a third, and a page shows two of them beside its tables.
MAX_PNG_BYTES = 90_000

#: What a page's dialog shows on a laptop without cutting it off.
MAX_PIXELS_WIDE = 1000
DOTS_PER_INCH = 104


class TooLargeToShow(ValueError):
    """A picture does not fit into the bytes that a page has for it."""


def new_figure(height_inches: float, width_inches: float = WIDTH_INCHES) -> Figure:
    """An empty figure on paper white; its plots are laid out so that their labels never overlap."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.11, wspace=0.02, hspace=0.03)
    return Figure(figsize=(width_inches, height_inches), facecolor=PAPER, layout=layout)


def to_png(figure: Figure, max_bytes: int = MAX_PNG_BYTES) -> bytes:
    """The figure as PNG of at most `max_bytes`.

    Raises:
        TooLargeToShow: see `fit_png`.

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    FigureCanvasAgg(figure).print_png(drawn)
    return fit_png(drawn.getvalue(), max_bytes)


def fit_png(png: bytes, max_bytes: int = MAX_PNG_BYTES) -> bytes:
    """The picture with 128 colours, at most `MAX_PIXELS_WIDE`, made smaller until it takes at most `max_bytes`.

    Raises:
        TooLargeToShow: it would have to be less than an eighth as wide.

    """
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        flat = Image.new("RGB", picture.size, PAPER)
        flat.paste(picture, mask=picture.convert("RGBA").getchannel("A"))
    whole = min(1, MAX_PIXELS_WIDE / flat.width)
    for part in (whole, 0.75 * whole, 0.5 * whole, 0.25 * whole, 0.125 * whole):
        width, height = (max(1, round(side * part)) for side in flat.size)
        packed = io.BytesIO()
        smaller = flat if part == 1 else flat.resize((width, height), Image.Resampling.LANCZOS)
        smaller.quantize(128, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= max_bytes:
            return packed.getvalue()
    raise TooLargeToShow(
        f"a picture of {flat.width} x {flat.height} pixels takes more than {max_bytes:,} bytes however small it is drawn"
    )


def title(axes: Axes, text: str, remark: str = "") -> None:
    """A heading at the left with a remark below it. Neither is taken for mathematical notation."""
    axes.set_title(" ", fontsize=9, pad=14)
    for words, offset, size, colour, weight in (
        (text, 15, 9.5, INK, "bold"),
        (remark, 4, 7.5, MUTED, "normal"),
    ):
        axes.annotate(
            words,
            (0, 1),
            xytext=(0, offset),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            color=colour,
            fontweight=weight,
            parse_math=False,
            annotation_clip=False,
        )


def quiet(axes: Axes, grid: str = "y") -> None:
    """Leave of the frame only the base line, of the ticks only their labels, and a faint grid along `grid`."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.spines["bottom"].set_linewidth(0.6)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=MUTED, pad=3)
    axes.set_axisbelow(True)
    if grid in ("x", "y", "both"):
        axes.grid(axis=grid, color=RULE, linewidth=0.7)


def compact(number: float, _position: object = None) -> str:
    """`12,300` as `12.3k`; serves as a tick formatter."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


def shortened(text: str, longest: int) -> str:
    """One line of at most `longest` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
