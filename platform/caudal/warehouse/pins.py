"""Which versions of raw tables somebody still reads.

A candidate writes down the versions that its raw views pin, beside its DuckDB file and before it makes the views; what is
published keeps the record. Upkeep removes nothing that a recorded version needs. It asks here and never opens the DuckDB file,
which would stop whoever builds in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically
from caudal.warehouse.quality import judged

if TYPE_CHECKING:
    from caudal.environment import Environment

#: Beside `warehouse.duckdb`.
RECORD = "pins.json"

#: Table, relative to the warehouse, such as `raw/stall__sales`, and its version.
Pins = Mapping[str, int]


class UnknownPins(RuntimeError):
    """A version of the warehouse does not say which versions of raw tables it reads."""


def record(folder: Path, pins: Pins) -> None:
    """Write down what the version of the warehouse in `folder` reads."""
    with write_atomically(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(dict(sorted(pins.items())), indent=1))


def recorded(folder: Path) -> dict[str, int]:
    """What the version of the warehouse in `folder` reads; nothing if there is no such version.

    Raises:
        UnknownPins: it does not say.

    """
    try:
        return json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        if not any(folder.glob("*.duckdb")):
            return {}
    raise UnknownPins(
        f"{folder} has no {RECORD}, so nobody knows which raw versions it reads. If it is being removed now, try again; "
        "if it is older than such records, it goes when newer versions have been published"
    )


def pinned(env: Environment) -> dict[str, dict[int, list[str]]]:
    """By table and version, who reads it: the published versions that are kept, the candidate, and the next one.

    Raises:
        UnknownPins: one of them does not say.

    """
    readers: dict[str, dict[int, list[str]]] = {}
    for name, folder in _versions(env):
        for table, version in recorded(folder).items():
            readers.setdefault(table, {}).setdefault(version, []).append(name)
    for table, version in judged.pinned(env).items():
        readers.setdefault(table, {}).setdefault(version, []).append(
            "the next candidate, until a newer version passes its rules"
        )
    return readers


def _versions(env: Environment) -> Iterator[tuple[str, Path]]:
    """Candidates first: one that is published meanwhile is then among the versions."""
    for what, home in (("candidate", env.candidates), ("published", env.versions)):
        folders = sorted(home.iterdir()) if home.is_dir() else []
        yield from ((f"{what} {folder.name}", folder) for folder in folders)
