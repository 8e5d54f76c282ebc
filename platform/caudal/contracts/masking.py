"""Values of columns that a contract classifies, as they may be shown: on pages, in samples, profiles and the catalogue.

A classification other than `public` hides: `personal`, `confidential`, `restricted` and whatever else a company calls it. What
is shown keeps what a person needs who looks for an error (is it there, how long is it, what is it made of) and nothing that
tells whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.contracts.columns import Column
    from caudal.contracts.contract import Contract

#: Longer texts are cut: their shape would tell too much, and too long.
LONGEST = 24

_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")


def is_masked(classification: str | None) -> bool:
    """Whether values so classified are hidden."""
    return classification is not None and classification.strip().lower() not in ("", "public")


def mask(value: Any, column: Column) -> str:
    """The value as text, as it may be shown: as it is, or as its shape where the column is classified.

    No value stays no value, `""`. A shape has `x` for each letter and `9` for each digit: `ana@example.org` is
    `xxx@xxxxxxx.xxx`. Numbers, dates and whatever else is no text are told as `***`: few digits have few shapes, and
    a date of birth is as good as a name.
    """
    if value is None:
        return ""
    return mask_text(value) if is_masked(column.classification) else str(value)


def mask_text(value: Any) -> str:
    """A value that is to be hidden, as its shape."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return "***"
    shape = _DIGIT.sub("9", _LETTER.sub("x", value))
    return shape if len(shape) <= LONGEST else f"{shape[:LONGEST]}... ({len(shape)} characters)"


def mask_told(value: str | None) -> str | None:
    """As `mask_text`, of a value that was made text, whatever it was: without a letter it may be a number or a day."""
    return None if value is None else mask_text(value if any(c.isalpha() for c in value) else 0)


def mask_rejected(contract: Contract, column: Any, value: Any) -> str:
    """What stands in the place of a rejected value, or, where no column is named, the rejected row, as it may be shown."""
    hidden = classified([contract])
    root = re.split(r"[.\[]", column or "", maxsplit=1)[0]
    hides = root in hidden if root else bool(hidden)
    return (mask_told(value) if hides else value) or ""


class Names(Collection[str]):
    """Names of columns whose values are hidden. `in` takes a name in any spelling: `CustomerID` is `customer_id`.

    Whoever passes a column on to another table seldom says again how it is classified, but seldom calls it by another name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._folded = frozenset(map(_folded, self._names))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _folded(name) in self._folded

    def __iter__(self) -> Iterator[str]:
        """The names as they were given."""
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Names) and self._folded == other._folded

    def __hash__(self) -> int:
        return hash(self._folded)

    def __repr__(self) -> str:
        return f"Names({list(self)})"

    def __or__(self, others: Iterable[str]) -> Names:
        return Names((*self, *others))

    def __sub__(self, others: Iterable[str]) -> Names:
        gone = Names(others)
        return Names(name for name in self if name not in gone)


def classified(contracts: Iterable[Contract]) -> Names:
    """The columns that contracts classify, in whole or in a part of them."""
    return Names(
        c.name for contract in contracts for c in contract.columns if any(is_masked(p.classification) for p in c.walk())
    )


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum()) or name
