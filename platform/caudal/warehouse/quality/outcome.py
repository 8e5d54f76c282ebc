"""The table that a rule is tried on, and what became of the rule, as values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caudal.contracts.rules import Rule
from caudal.warehouse.quality.volume import Period

#: What a rule's own SQL calls the table that it is about.
THIS = "this"


@dataclass(frozen=True)
class Table:
    """The table that a rule is tried on.

    Attributes:
        relation: what a FROM takes.
        columns: its columns' types, in order.
        now: the time at which its freshness is judged.
        periods: of lake files, for a rule of their volume; None where there are none.
        before: the table to compare distributions with; None: the loads before the newest, told apart by `_loaded_at`.
        counted: rows that break a rule, and all rows, where they are known already; by the rule's name.
        keys: columns whose values name things.
        hidden: columns whose values are not told.

    """

    relation: str
    columns: Mapping[str, str]
    now: dt.datetime
    periods: Sequence[Period] | None = None
    before: str | None = None
    counted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What became of a rule.

    Attributes:
        expected: what the rule wants, in words.
        found: what stands there, in words.
        numbers: to be shown over time.
        details: rows of a table for people: periods, or columns.
        failing: a query that selects the rows that break it; None if there are none to show.

    """

    rule: Rule
    passed: bool
    expected: str
    found: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    details: tuple[Mapping[str, Any], ...] = ()
    failing: str | None = None

    @property
    def told(self) -> str:
        """One sentence."""
        return f"{self.found}; expected {self.expected}"
