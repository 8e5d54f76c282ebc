"""Markdown for the pages of assets, whose viewer strips raw HTML but shows tables and embedded images."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Literal

#: Above this a page of metadata gets slow; every image and report stays below it.
MAX_BYTES = 280_000

Side = Literal["left", "right"]

_RULES = {"left": ":--", "right": "--:"}
_ACTIVE = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~!$&"})


def text(value: str, longest: int = 48) -> str:
    """`value` on one line as plain text, at most `longest` characters, nothing in it taken for markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    return line.translate(_ACTIVE)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: Sequence[Side]) -> str:
    """A table. The cells are Markdown already: pass what people or data wrote through `text`."""
    lines = [header, [_RULES[side] for side in align], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def image(png: bytes, alternative: str) -> str:
    """A PNG, embedded.

    Raises:
        ValueError: it would take more than `MAX_BYTES`.

    """
    encoded = base64.b64encode(png).decode("ascii")
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"the image {alternative!r} takes {len(encoded):,} bytes embedded; at most {MAX_BYTES:,} are shown")
    return f"![{text(alternative, 120)}](data:image/png;base64,{encoded})"


def share(part: int, whole: int) -> str:
    """A percentage that is `0 %` or `100 %` only when it is exactly that."""
    if part == 0 or whole == 0:
        return "0 %"
    if part == whole:
        return "100 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def measure(number: float | None) -> str:
    """A rounded measurement, such as a mean; nothing for None."""
    if number is None:
        return ""
    if number != 0 and not 1e-4 <= abs(number) < 1e15:
        return f"{number:.4g}"
    return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.4g}"
