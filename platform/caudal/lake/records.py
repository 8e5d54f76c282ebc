"""What the ledger says: values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

    @property
    def gone(self) -> bool:
        return self.version == GONE


@dataclass(frozen=True)
class Seen:
    """What one look at the lake changed. `sequence` rises whenever something became pending."""

    new: int
    changed: int
    deleted: int
    refused: int
    pending: int
    sequence: int


@dataclass(frozen=True)
class Batch:
    """Files claimed together, to become one commit of the raw table."""

    number: int
    files: tuple[LedgerFile, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one file of a batch: its row counts, or the reason why it is quarantined whole."""

    path: str
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    unreadable: str | None = None


@dataclass(frozen=True)
class Totals:
    """Sums over the live files of a dataset, and how many files are in each state."""

    files: dict[State, int]
    rows_read: int
    rows_loaded: int
    rows_rejected: int
