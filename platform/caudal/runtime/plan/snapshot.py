"""Definitions as a frozen value that JSON can hold: what of two of them can be compared without running anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Changes whenever a snapshot of before cannot be read, or would differ from one of the same definitions.
FORMAT = "caudal.snapshot/1"


class UnreadableSnapshot(ValueError):
    """A file is no snapshot of definitions, or one of another version of the platform."""


@dataclass(frozen=True)
class DeclaredColumn:
    """A column as its contract, or the project that makes its table, declares it.

    Attributes:
        name: of a field inside another column, `outer.inner`; of the items of a list, `outer[]`.
        type: in DuckDB's words; "" where nobody says.
        required: no row is without a value.
        key: its place in the key, from 1; None outside of it.
        unit, classification: "" where nobody says.
        allowed: the only values, as text; empty for no limit.
        limits: other limits of values, by ODCS's names, as JSON text.
        reading: how text becomes a value (formats, null markers, ...), by name, as JSON text.
        renamed_from: names that it had before.

    """

    name: str
    type: str = ""
    description: str = ""
    required: bool = False
    unique: bool = False
    key: int | None = None
    unit: str = ""
    classification: str = ""
    allowed: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    reading: Mapping[str, str] = field(default_factory=dict)
    renamed_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """An asset as it is declared.

    Attributes:
        key: with slashes, such as `marts/sales/daily_sales`.
        deps: the keys of what it reads.
        code: fingerprints of what makes it, by the name of each piece: `SQL`, `macro x`, `Python code x.py`, ...
        settings: all else that is declared about it and has no place of its own, by name, as text.
        checks: by name, what of each is declared, such as `blocks`.
        relation: `schema.table` in the warehouse, "" where it is no table.
        is_delivered: its columns are agreed with those who deliver its files, and not only promised to those who read it.
        is_virtual: a view: it holds no data of its own.
        is_automated: it is refreshed by itself.

    """

    key: str
    deps: tuple[str, ...] = ()
    columns: tuple[DeclaredColumn, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    description: str = ""
    relation: str = ""
    is_delivered: bool = False
    is_virtual: bool = False
    is_automated: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The definitions of one code location at one time.

    Attributes:
        name: for people: `the working tree`, `main (1a2b3c4)`, `deployed 2026-11-21 10:00`.
        company: the code location.
        assets: by key.
        timetable: schedules and sensors by name, what of each is declared.

    """

    name: str
    company: str
    assets: Mapping[str, Asset]
    timetable: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text that `from_json` reads, the same for the same definitions."""
        document = {"format": FORMAT, "name": self.name, "company": self.company, "timetable": dict(self.timetable)}
        assets = [_without_defaults(asdict(self.assets[key])) for key in sorted(self.assets)]
        return json.dumps({**document, "assets": assets}, indent=1, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: Path | str = "the snapshot") -> Snapshot:
        """What `to_json` wrote.

        Raises:
            UnreadableSnapshot: it is no snapshot, or one in another format.

        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise UnreadableSnapshot(
                    f"{where} is in the format {document['format']}; this version of the platform reads {FORMAT}. "
                    "Let `caudal up` or `caudal prepare` write it again, or compare with a commit: --against main"
                )
            assets = [_asset(each) for each in document["assets"]]
            return cls(document["name"], document["company"], {a.key: a for a in assets}, document["timetable"])
        except (KeyError, TypeError, ValueError) as bad:
            if isinstance(bad, UnreadableSnapshot):
                raise
            raise UnreadableSnapshot(f"{where} is no snapshot of definitions: {type(bad).__name__} {bad}") from None


def _asset(given: Mapping[str, Any]) -> Asset:
    columns = tuple(_of(DeclaredColumn, column) for column in given.get("columns", ()))
    return _of(Asset, {**given, "columns": columns})


def _of(kind: type[Any], given: Mapping[str, Any]) -> Any:
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _without_defaults(given: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in given.items() if value not in ("", (), {}, None, False, [])}
    if "columns" in kept:
        kept["columns"] = [
            {name: value for name, value in column.items() if value not in ("", (), {}, None, False)}
            for column in kept["columns"]
        ]
    return kept
