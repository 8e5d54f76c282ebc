"""What was found of the columns of a project's tables, as it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caudal.store import write_atomically
from caudal.transform.columns.values import Column, Ref, Relation


@dataclass(frozen=True)
class StoredTable:
    """A table.

    Attributes:
        columns: by lower-case name.
        influences: columns of other tables that decide which rows it has.
        across: which rows it has depends on rows that are not among those that they are made of.
        rest: the table whose other columns it passes on, or itself if nobody declares all its columns.
        unknown: why nothing is known of what its columns are made of.
        is_declared: somebody says what they are made of; nothing was read.
        fingerprint, reads: what all this was found from: of its SQL, and of the tables that it reads.

    """

    columns: Mapping[str, Column]
    influences: frozenset[Ref] = frozenset()
    across: bool = False
    is_open: bool = False
    rest: str | None = None
    unknown: str | None = None
    is_declared: bool = False
    fingerprint: str = ""
    reads: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """All tables, by asset key joined by `/`."""

    tables: Mapping[str, StoredTable]

    def column_name(self, key: str, column: str) -> str:
        """The column as it is written, which is `column` in lower case."""
        found = self.tables[key].columns.get(column) if key in self.tables else None
        return found.name if found else column

    @classmethod
    def read(cls, path: Path) -> Stored:
        """What is kept at `path`; nothing if there is nothing, or what another release wrote."""
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
            return cls({key: _table(value) for key, value in written["tables"].items()})
        except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
            return cls({})

    def write(self, path: Path) -> None:
        """Keep it."""
        tables = {key: _written(table) for key, table in self.tables.items()}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps({"tables": tables}, separators=(",", ":")), encoding="utf-8")


def known(columns: Iterable[str], *, is_open: bool) -> StoredTable:
    """A table that others make."""
    return StoredTable(_plain(columns), is_open=is_open)


def seed(columns: Iterable[str]) -> StoredTable:
    """A table that is a file of the project."""
    names = _plain(columns)
    return StoredTable(names, is_open=not names)


def declared(said: Mapping[str, Iterable[str]]) -> StoredTable:
    """A table of whose columns the project says what they are made of: `asset/key.column`, by column."""
    columns = {}
    for name, origins in said.items():
        refs = [tuple(origin.rsplit(".", 1)) for origin in origins]
        columns[name.lower()] = Column(name, {(ref[0], ref[-1].lower()): False for ref in refs})
    return StoredTable(columns, is_declared=True)


def unknown(
    reason: str, columns: Iterable[str], *, is_open: bool, fingerprint: str = "", reads: Mapping[str, Any] | None = None
) -> StoredTable:
    """A table that could not be read, with the columns that the project says it has."""
    return StoredTable(_plain(columns), is_open=is_open, unknown=reason, fingerprint=fingerprint, reads=reads or {})


def of_relation(relation: Relation, fingerprint: str, reads: Mapping[str, Any]) -> StoredTable:
    """A table that was read."""
    return StoredTable(
        relation.columns,
        relation.influences,
        relation.across,
        is_open=relation.is_open,
        rest=relation.rest,
        fingerprint=fingerprint,
        reads=reads,
    )


def _plain(names: Iterable[str]) -> dict[str, Column]:
    return {name.lower(): Column(name) for name in names}


def _written(table: StoredTable) -> dict[str, Any]:
    columns = [
        [c.name, [[*ref, int(copy)] for ref, copy in c.origins.items()], sorted(c.influences), int(c.across)]
        for c in table.columns.values()
    ]
    written = {"columns": columns, "influences": sorted(table.influences)}
    for name in ("across", "is_open", "rest", "unknown", "is_declared", "fingerprint", "reads"):
        value = getattr(table, name)
        if value:
            written[name] = value
    return written


def _table(written: dict[str, Any]) -> StoredTable:
    columns = {
        name.lower(): Column(
            name, {(table, column): bool(copy) for table, column, copy in origins}, _refs(influences), bool(across)
        )
        for name, origins, influences, across in written.pop("columns")
    }
    return StoredTable(columns, _refs(written.pop("influences")), **written)


def _refs(written: Iterable[Iterable[str]]) -> frozenset[Ref]:
    return frozenset((table, column) for table, column in written)
