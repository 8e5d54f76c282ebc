"""Names of the dataset, and the path that its files have in common."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from caudal.warehouse.bigquery.storable import problem_of_name

_DATES = (
    ("day", "%Y-%m-%d", re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")),
    ("day", "%Y_%m_%d", re.compile(r"(?<!\d)\d{4}_\d{2}_\d{2}(?!\d)")),
    ("day", "%Y.%m.%d", re.compile(r"(?<!\d)\d{4}\.\d{2}\.\d{2}(?!\d)")),
    ("day", "%d.%m.%Y", re.compile(r"(?<!\d)\d{2}\.\d{2}\.\d{4}(?!\d)")),
    ("day", "%Y%m%d", re.compile(r"(?<!\d)\d{8}(?!\d)")),
)
#: Of a column's name that is made from another.
_LONGEST = 100
_HOURS = (
    ("hour", "%Y-%m-%d-%H", re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}-\d{2}(?!\d)")),
    ("hour", "%Y-%m-%dT%H", re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}T\d{2}(?!\d)")),
    ("hour", "%Y%m%d%H", re.compile(r"(?<!\d)\d{10}(?!\d)")),
)


@dataclass(frozen=True)
class FilePath:
    """Which files belong to the dataset, as its `path` says, and how they are partitioned.

    Attributes:
        partition_by: `day` or `hour`, if each name holds one.
        start: the first of them.
        notes: what is to be said beside it.

    """

    path: str
    partition_by: str = "none"
    start: str | None = None
    notes: tuple[str, ...] = ()


def plain_names(columns: Sequence[str]) -> dict[str, str]:
    """Each column's name without what neither BigQuery nor SQL without quotes has: `@id` is `id`. Blanks and letters stay.

    Such a name is none that another column has, be it in other capital letters.
    """
    taken = {name.casefold() for name in columns}
    found = {}
    for name in columns:
        found[name] = name
        if re.fullmatch(r"[\w ]+", name) and not problem_of_name(name):
            continue
        plain = re.sub(r"\W*[^\w ]\W*", "_", name).strip("_ ")[:_LONGEST] or "column"
        plain = plain if plain[0].isalpha() else f"column_{plain}"
        count = 1
        while (numbered := plain if count == 1 else f"{plain}_{count}").casefold() in taken:
            count += 1
        taken.add(numbered.casefold())
        found[name] = numbered
    return found


def file_path(names: Sequence[str]) -> FilePath:
    """The path of files of the given names."""
    for unit, template, pattern in (*_HOURS, *_DATES):
        found = [_dated(name, template, pattern) for name in names]
        if all(found):
            around = {(f[0], f[2]) for f in found if f}
            before, after = _common([a for a, _ in around]), _common([b for _, b in around])
            start = min(f[1] for f in found if f)
            written = start.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m-%dT%H:00:00")
            notes = (f"each name holds {'a' if unit == 'day' else 'an'} {unit}, read as {template}; `start` is the first seen",)
            return FilePath(f"{before}{{{unit}:{template}}}{after}", unit, written, notes)
    if len(names) > 1:
        return FilePath(_common(names), notes=(f"what {len(names)} names have in common",))
    stem, dots, suffixes = names[0].partition(".")
    varying = re.sub(r"\d+", "*", stem)
    if varying != stem and not varying.strip("*-_ "):
        return FilePath(f"*{dots}{_escaped(suffixes)}")
    if varying != stem:
        told = ("unsure: one file tells little; digits in its name are taken to vary",)
        return FilePath("*".join(map(_escaped, varying.split("*"))) + dots + _escaped(suffixes), notes=told)
    return FilePath(f"*{dots}{_escaped(suffixes)}", notes=("unsure: one file tells little; every file of this kind is taken",))


def dataset_name(names: Sequence[str]) -> str:
    """A name for the dataset, by its files' names; "" if they tell none."""
    stems = [PurePath(n).name.partition(".")[0] for n in names]
    common = _prefix(stems) if len(stems) > 1 else stems[0]
    return as_name(re.sub(r"\d+", "_", common))


def as_name(text: str) -> str:
    """Text as the platform writes names: lower-case letters, digits and single underscores, a letter first; maybe ""."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).replace("ß", "ss"))
    words = re.sub(r"[^a-z0-9]+", "_", plain.encode("ascii", "ignore").decode().lower()).strip("_")
    return re.sub(r"^[0-9_]+", "", words)


def _dated(name: str, template: str, pattern: re.Pattern[str]) -> tuple[str, dt.datetime, str] | None:
    """What stands before the date in the name, the date, and what stands after it."""
    for match in pattern.finditer(name):
        try:
            moment = dt.datetime.strptime(match[0], template)
        except ValueError:
            continue
        if 1970 <= moment.year <= 2100:
            return name[: match.start()], moment, name[match.end() :]
    return None


def _common(texts: Sequence[str]) -> str:
    """A glob of the texts: their common beginning and end."""
    if len(set(texts)) == 1:
        return _escaped(texts[0])
    before = _prefix(texts)
    after = _prefix([t[len(before) :][::-1] for t in texts])[::-1]
    return re.sub(r"\*+", "*", f"{_escaped(before)}*{_escaped(after)}")


def _prefix(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return re.sub(r"\d+$", "", first[:same]) if same < max(len(first), len(last)) else first[:same]


def _escaped(text: str) -> str:
    """Without what a glob or a template would take for its own."""
    return re.sub(r"[*?\[\]{}]+", "*", text)
