"""All files of the catalogue by path, made when asked for; and the site in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.serving.catalogue.frame import report_path, table_path
from caudal.serving.catalogue.pages import columns_page, entries, front_page
from caudal.serving.catalogue.table_page import table_page

if TYPE_CHECKING:
    from caudal.serving.catalogue.values import Catalogue, Table

FRONT = "index.html"
#: The files that a site has, one a line: what is not made any more is removed by the next writing.
LISTED = "catalogue.txt"

_MEDIA = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


class NotOurFolder(ValueError):
    """The folder has files, and no site of ours."""


def paths(catalogue: Catalogue) -> Iterator[str]:
    """Every file of the site, relative to its root."""
    yield from (FRONT, "columns.html", "entries.js", "search.js", "style.css")
    yield from (table_path(table) for table in catalogue.tables)
    yield from (report_path(table) for table in catalogue.tables if _report(table))


def media_type(path: str) -> str:
    """What a browser must know of a file."""
    return _MEDIA[path.rpartition(".")[2]]


def content(catalogue: Catalogue, path: str) -> bytes | None:
    """One file; None if the site has none at `path`."""
    if path in ("search.js", "style.css"):
        return _ours(path)
    makers = {FRONT: front_page, "columns.html": columns_page, "entries.js": entries}
    if path in makers:
        return makers[path](catalogue).encode()
    for table in catalogue.tables:
        if table_path(table) == path:
            return table_page(catalogue, table).encode()
        if report_path(table) == path and (report := _report(table)):
            return report.read_bytes()
    return None


def _report(table: Table) -> Path | None:
    """The report of the newest profile, where it still is."""
    file = Path(table.profile.report) if table.profile and table.profile.report else None
    return file if file and file.is_file() else None


def write_site(catalogue: Catalogue, folder: Path) -> int:
    """Write the site into `folder`, over the one that is there; the number of files.

    Raises:
        NotOurFolder: it holds other files.

    """
    from caudal.store import write_atomically

    listed = folder / LISTED
    before = set(listed.read_text(encoding="utf-8").split("\n")) if listed.is_file() else set()
    if not before and folder.is_dir() and any(folder.iterdir()):
        raise NotOurFolder(
            f"{folder} has files that are no catalogue of ours; give an empty folder, or one that is not there yet"
        )
    written = list(paths(catalogue))
    # Listed before they are there: whoever is killed in between leaves nothing that the next one does not know.
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(listed) as temporary:
        temporary.write_text("\n".join(sorted({*before, *written} - {""})), encoding="utf-8")
    for path in written:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(target) as temporary:
            temporary.write_bytes(content(catalogue, path) or b"")
    for path in before - {*written, ""}:
        gone = (folder / path).resolve()
        if gone.is_relative_to(folder.resolve()):
            gone.unlink(missing_ok=True)
    with write_atomically(listed) as temporary:
        temporary.write_text("\n".join(written), encoding="utf-8")
    return len(written)


@cache
def _ours(name: str) -> bytes:
    return files("caudal.serving.catalogue").joinpath(name).read_bytes()
