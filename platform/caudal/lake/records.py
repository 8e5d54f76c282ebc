"""What the ledger says: values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

State = Literal["pending", "loading", "loaded", "quarantined", "deleted"]

#: The version of a file that is pending because it was deleted.
GONE = ""


@dataclass(frozen=True)
class LedgerFile:
    """One lake file as the ledger knows it.

    Attributes:
        live_version: the version whose rows are in the raw table, if any, as far as finished batches tell.
        may_have_rows: it was claimed before, so that a batch which was killed may have put rows of it into the raw table,
            although the file has changed or vanished since.
        reason: why it is quarantined whole.
        note: what is wrong with a part of it: members that could not be read.
        has_members: some version of it was read as several tables, whose rows have a name of their own each.
        dialect: what was detected in it, such as its encoding.
        content: the hash of its bytes, where the dataset looks for copies.
        rows_erased: of `rows_read`, those of people whose rows are erased: neither loaded nor rejected.
    """

    path: str
    version: str
    size_bytes: int
    state: State
    partition: str | None
    live_version: str | None
    may_have_rows: bool
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    reason: str | None
    loaded_at: str | None
    note: str | None = None
    has_members: bool = False
    dialect: str | None = None
    content: str | None = None
    rows_erased: int = 0

    @property
    def gone(self) -> bool:
        return self.version == GONE


@dataclass(frozen=True)
class Seen:
    """What one look at the lake changed. `sequence` rises whenever something became pending.

    Attributes:
        retried: files that are pending again because their contract or settings have changed since they were refused.
    """

    new: int = 0
    changed: int = 0
    deleted: int = 0
    refused: int = 0
    retried: int = 0
    pending: int = 0
    sequence: int = 0


@dataclass(frozen=True)
class Batch:
    """Files claimed together, to become one commit of the raw table."""

    number: int
    files: tuple[LedgerFile, ...]


@dataclass(frozen=True)
class Unfinished:
    """A batch that was neither finished nor abandoned."""

    number: int
    prepared: bool


@dataclass(frozen=True)
class Outcome:
    """What became of one file of a batch: its row counts, or the reason why it is quarantined whole.

    Attributes:
        note: what is wrong with some of its members, while others are loaded.
        copy_of: the path of the live file that has the same content, for which it is refused.
    """

    path: str
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    unreadable: str | None = None
    note: str | None = None
    has_members: bool = False
    dialect: str | None = None
    content: str | None = None
    copy_of: str | None = None
    rows_erased: int = 0


class Held(NamedTuple):
    """Rows of a raw table, or rejected rows, that are of one `_file` and `_version`: how many, and when the last came.

    There are 0 rejected rows where something was refused as a whole.
    """

    name: str
    version: str
    rows: int
    newest: datetime


@dataclass(frozen=True)
class Holding:
    """What the tables hold of one lake file that a ledger which was lost knew.

    Attributes:
        version: of all its rows; None if they are of several, or do not tell all that became of it.
        loaded_at: when, as text.
    """

    path: str
    version: str | None
    rows_loaded: int = 0
    rows_rejected: int = 0
    has_members: bool = False
    loaded_at: str | None = None


@dataclass(frozen=True)
class Evolved:
    """A column that files brought and the contract does not have: how it could be declared, and where it was first seen."""

    name: str
    declared: str
    first_file: str
    at: str


@dataclass(frozen=True)
class Repair:
    """A rejected row as a person has repaired it.

    Attributes:
        path, version: of the lake file.
        name: of the file or member that it stands in, as its `_file` says.
        place: its `_row`.
        record: a JSON object, text by column.
    """

    path: str
    version: str
    name: str
    place: int
    record: str


@dataclass(frozen=True)
class Totals:
    """Sums over the live files of a dataset, and how many files are in each state."""

    files: dict[State, int]
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_erased: int = 0
