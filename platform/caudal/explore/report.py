"""An executed notebook as a page to read: its texts and results in Markdown, without its code and without HTML."""

from __future__ import annotations

import base64
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from caudal.explore import markdown
from caudal.explore.drawing import TooLargeToShow, fit_png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

LONGEST_OUTPUT = 4_000
#: Of a table that came as HTML.
MOST_HTML, MOST_ROWS = 200_000, 200
#: A report in a file of its own is cut only where a browser would suffer.
LARGEST_FILE = 30_000_000

_STYLE = """:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
pre{overflow-x:auto;padding:.5rem;border:1px solid #8886}img{max-width:100%;height:auto;background:#fff}
table{border-collapse:collapse;display:block;overflow-x:auto}th,td{padding:.2rem .6rem;border-bottom:1px solid #8886}"""
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


def notebook_html(notebook: NotebookNode, title: str) -> str:
    """The same as an HTML file that loads nothing. HTML in its texts is shown as text."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(notebook_report(notebook, LARGEST_FILE))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>\n{body}</main></body></html>\n"
    )


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
        elif rows := _html_table(output.data.get("text/html", "")):
            yield markdown.table(rows[0], rows[1:], ["left"] * len(rows[0]))
        elif "text/plain" in output.data:
            yield _verbatim(output.data["text/plain"])


def _html_table(html: str) -> list[list[str]]:
    """The rows of a plain table of HTML, which is how marimo hands on a data frame; none if it is not one."""
    if not html.lstrip().startswith("<table") or len(html) > MOST_HTML:
        return []
    rows: list[list[str]] = []

    class Cells(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
            if tag == "tr":
                rows.append([])
            elif tag in ("td", "th") and rows:
                rows[-1].append("")

        def handle_data(self, data: str) -> None:
            if rows and rows[-1]:
                rows[-1][-1] += data

    Cells().feed(html)
    width = max(map(len, rows), default=0)
    return [[markdown.text(cell) for cell in row] + [""] * (width - len(row)) for row in rows[:MOST_ROWS]]


def _image(png: bytes) -> str:
    try:
        return markdown.image(fit_png(png), "output")
    except TooLargeToShow as large:
        return f"*({large})*"


def _verbatim(text: str) -> str:
    cut = text if len(text) <= LONGEST_OUTPUT else text[: LONGEST_OUTPUT - 1] + "…"
    return f"~~~~text\n{cut.rstrip()}\n~~~~"
