"""Notices when the files that definitions are made of have changed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml", ".sql", ".ipynb")
#: Folders that hold what was generated, not written.
GENERATED = frozenset({"target", "logs", "dbt_packages", "__pycache__"})


def package_folder(module: str) -> Path | None:
    """The folder of the top-level package of `module`, without importing it; None if it cannot be found."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]).resolve() if places else None


@dataclass
class Watch:
    """Tells, each time it is asked, whether a file below `folders` was changed, added or removed since the last time."""

    folders: tuple[Path, ...]
    _before: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        self._before = self._now()

    def changed(self) -> bool:
        """Whether anything changed; the change is then forgotten."""
        now = self._now()
        before, self._before = self._before, now
        return now != before

    def _now(self) -> frozenset[tuple[str, int]]:
        return frozenset((path, modified) for folder in self.folders for path, modified in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        entries: Iterable[os.DirEntry[str]] = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in GENERATED:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.name.endswith(SUFFIXES):
                yield entry.path, entry.stat().st_mtime_ns
        except OSError:  # removed meanwhile
            continue
