"""HTML in which every text is escaped, because there is no other way to put one in.

    tag("a", "R & D", href="x.html")        <a href="x.html">R &amp; D</a>

Children that are `Markup` are taken as they are; they come from here alone. All else is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset({"br", "hr", "input", "link", "meta"})
_CODE = re.compile(r"`([^`\n]+)`")
_PARAGRAPHS = re.compile(r"\n\s*\n")
#: What a browser takes for no harm and text is better without.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class Markup(str):
    """HTML that is safe to send."""

    __slots__ = ()


def tag(element: str, /, *children: Markup | str | Iterable[Markup] | None, **attributes: str | bool | None) -> Markup:
    """An element. Attributes are escaped too; `class_` is `class`, and an underscore inside a name is a hyphen."""
    opened = [element]
    for attribute, value in attributes.items():
        if value is None or value is False:
            continue
        named = attribute.rstrip("_").replace("_", "-")
        opened.append(named if value is True else f'{named}="{escape(_clean(str(value)), quote=True)}"')
    start = f"<{' '.join(opened)}>"
    return Markup(start) if element in _VOID else Markup(f"{start}{together(*children)}</{element}>")


def together(*children: Markup | str | Iterable[Markup] | None) -> Markup:
    """The children one after another."""
    return Markup("".join(_child(child) for child in children if child is not None))


def prose(text: str) -> Markup:
    """A description: its paragraphs, and `code` between backticks. Nothing else of Markdown."""
    parts = [part.strip() for part in _PARAGRAPHS.split(text) if part.strip()]
    return together(tag("p", inline(part)) for part in parts)


def inline(text: str) -> Markup:
    """One line of a description."""
    pieces = _CODE.split(text)
    return together(*(tag("code", piece) if i % 2 else piece for i, piece in enumerate(pieces)))


def table(header: Iterable[Markup | str], rows: Iterable[Iterable[Markup | str]], caption: str, **attributes: str) -> Markup:
    """A table in a box that can be scrolled sideways, also with the keyboard."""
    heads = tag("tr", *(tag("th", head, scope="col") for head in header))
    lines = (tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    whole = tag("table", tag("caption", caption), tag("thead", heads), tag("tbody", lines), **attributes)
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)


def _child(child: Markup | str | Iterable[Markup]) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(_clean(child), quote=True)
    return "".join(_child(each) for each in child)


def _clean(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
