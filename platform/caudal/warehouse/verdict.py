"""What would become of a file: for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

#: Of a value that is shown beside the reason why it is refused.
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Reject:
    """One problem of one row: what stands in the file, and why the contract refuses it."""

    file: str
    row: int | None
    column: str | None
    value: str | None
    reason: str


class Table(NamedTuple):
    """The rows of one file, or of one member of it: `read == loaded + rejected`."""

    name: str
    read: int
    loaded: int
    rejected: int


@dataclass(frozen=True)
class Verdict:
    """What would become of one file in one dataset.

    Attributes:
        path: where in the lake it would lie.
        dialect: how it is read, in words.
        misplaced: why the dataset would not take a file of that name; None if it would.
        unreadable: the file or members of it that cannot be read, each with the reason.
        tables: the rows of the file, or of each of its members.
        undeclared: columns that it has and the contract does not.
        without_value: columns of the contract that no row of it has a value in, or that it does not have.
        rejects: the first problems of rejected rows.
        problems: how many there are.

    """

    dataset: str
    path: str
    dialect: str
    misplaced: str | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    undeclared: tuple[str, ...] = ()
    without_value: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    problems: int = 0

    @property
    def read(self) -> int:
        return sum(t.read for t in self.tables)

    @property
    def loaded(self) -> int:
        return sum(t.loaded for t in self.tables)

    @property
    def rejected(self) -> int:
        return sum(t.rejected for t in self.tables)

    @property
    def exit_code(self) -> int:
        """0: all fits; 1: some rows would be rejected; 2: it cannot be read, or would not be taken."""
        return 2 if self.misplaced or self.unreadable else 1 if self.rejected else 0

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        counts = {"rows_read": self.read, "rows_loaded": self.loaded, "rows_rejected": self.rejected}
        return asdict(self) | counts | {"exit_code": self.exit_code, "tables": [t._asdict() for t in self.tables]}


def printed(verdicts: Sequence[Sequence[Verdict]], output: str) -> str:
    """The verdicts as `text` for people or as `json`."""
    flat = [verdict for of_file in verdicts for verdict in of_file]
    if output == "json":
        return json.dumps([v.as_dict() for v in flat], indent=2, ensure_ascii=False)
    return "\n".join(line for verdict in flat for line in told(verdict))


def told(verdict: Verdict) -> Iterator[str]:
    """The verdict for people, line by line."""
    yield f"{verdict.path}"
    yield f"  dataset   {verdict.dataset}"
    yield f"  read as   {verdict.dialect}"
    if verdict.misplaced:
        yield f"  refused   {verdict.misplaced}"
    for name, reason in verdict.unreadable:
        yield f"  cannot be read: {name}"
        yield f"    {reason}"
    if verdict.undeclared:
        yield f"  drift     not in the contract: {_names(verdict.undeclared)}"
    if verdict.without_value:
        yield f"  no value  in {_names(verdict.without_value)}"
    if verdict.tables:
        yield f"  rows      {verdict.read:,} read, {verdict.loaded:,} would be loaded, {verdict.rejected:,} rejected"
    if len(verdict.tables) > 1:
        for table in verdict.tables:
            yield f"            {table.read:,} read, {table.loaded:,} loaded, {table.rejected:,} rejected: {table.name}"
    for reject in verdict.rejects:
        place = f"row {reject.row}" if len(verdict.tables) == 1 else f"{reject.file}, row {reject.row}"
        column = f", {reject.column}" if reject.column else ""
        found = f": {_shown(reject.value)}" if reject.value is not None else ""
        yield f"  {place}{column}{found}: {reject.reason}"
    if verdict.problems > len(verdict.rejects):
        yield f"  ... and {verdict.problems - len(verdict.rejects):,} more; --all shows them"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _shown(value: str) -> str:
    line = " ".join(value.split()) if "\n" in value or "\r" in value else value
    return f"`{line[:_SHOWN_CHARACTERS]}...`" if len(line) > _SHOWN_CHARACTERS else f"`{line}`"
