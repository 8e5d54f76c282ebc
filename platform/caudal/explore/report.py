"""An executed notebook as a page to read: its texts and results in Markdown, without its code and without HTML."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from caudal.explore import markdown
from caudal.explore.drawing import TooLargeToShow, fit_png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

LONGEST_OUTPUT = 4_000
_LEFT_OUT = "*(the page is full: the rest is in the executed notebook)*"


def notebook_report(notebook: NotebookNode, max_bytes: int = markdown.MAX_BYTES) -> str:
    """The texts, printed lines, values and images of a notebook, in order, cut where `max_bytes` would be exceeded."""
    parts: list[str] = []
    room = max_bytes - len(_LEFT_OUT)
    for part in _parts(notebook):
        room -= len(part.encode()) + 2
        if room < 0:
            parts.append(_LEFT_OUT)
            break
        parts.append(part)
    return "\n\n".join(parts)


def _parts(notebook: NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.strip():
            yield cell.source
        if cell.cell_type == "code":
            for output in cell.outputs:
                yield from _output(output)


def _output(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "stream" and output.name == "stdout":
        yield _verbatim(output.text)
    if output.output_type in ("display_data", "execute_result"):
        if "image/png" in output.data:
            yield _image(base64.b64decode(output.data["image/png"]))
        elif "text/markdown" in output.data:
            yield output.data["text/markdown"]
        elif "text/plain" in output.data:
            yield _verbatim(output.data["text/plain"])


def _image(png: bytes) -> str:
    try:
        return markdown.image(fit_png(png), "output")
    except TooLargeToShow as large:
        return f"*({large})*"


def _verbatim(text: str) -> str:
    cut = text if len(text) <= LONGEST_OUTPUT else text[: LONGEST_OUTPUT - 1] + "…"
    return f"~~~~text\n{cut.rstrip()}\n~~~~"
