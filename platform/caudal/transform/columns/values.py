"""What is known of the columns of a relation: of what they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

#: A table, as an asset key joined by `/`, and one of its columns.
Ref = tuple[str, str]


class Unresolved(ValueError):
    """The columns of a query cannot be told. The message says why."""


@dataclass(frozen=True)
class Column:
    """A column of a relation.

    Attributes:
        name: as it is written.
        origins: the columns whose values are in it; True for those that it is a copy of, False where it is computed.
        influences: columns that decide, for this column alone, which values those are: order and partition of a window, the
            filter of a subquery.
        across: its value depends on other rows than those that it is made of: it is computed by a window function.

    """

    name: str
    origins: Mapping[Ref, bool] = field(default_factory=dict)
    influences: frozenset[Ref] = frozenset()
    across: bool = False

    @property
    def computed(self) -> Column:
        """The same, as a part of an expression."""
        return replace(self, origins=dict.fromkeys(self.origins, False)) if any(self.origins.values()) else self

    @property
    def refs(self) -> frozenset[Ref]:
        """All columns that have to do with it."""
        return frozenset(self.origins) | self.influences


@dataclass(frozen=True)
class Relation:
    """A table, or the result of a query.

    Attributes:
        columns: by lower-case name, in order.
        influences: columns that decide which rows there are: by filters, joins, groups, distinct.
        rest: the table whose other columns, which nobody declares, it has besides; None if it has none.
        any_name: what a name stands for that is no column: a field of the value that this relation unnests.
        across: which rows there are depends on others: a window decides, or a limit.

    """

    columns: Mapping[str, Column]
    influences: frozenset[Ref] = frozenset()
    rest: str | None = None
    any_name: Column | None = None
    across: bool = False

    @property
    def is_open(self) -> bool:
        """It may have columns that are not in `columns`."""
        return self.rest is not None

    def column(self, name: str) -> Column | None:
        """The column of that name, None if it has none."""
        found = self.columns.get(name.lower())
        if found is not None:
            return found
        return Column(name, {(self.rest, name.lower()): True}) if self.rest is not None else None

    def renamed(self, names: Iterable[str]) -> Relation:
        """With its first columns called `names`, as in `AS t(a, b)`."""
        given = list(names)
        if not given:
            return self
        if self.is_open and len(given) > len(self.columns):
            raise Unresolved("columns are renamed by their place in a table whose columns nobody declares")
        columns = list(self.columns.values())
        named = [replace(c, name=given[i]) if i < len(given) else c for i, c in enumerate(columns)]
        return replace(self, columns=by_name(named))


def table(name: str, columns: Iterable[str], *, is_open: bool = False, across: Iterable[str] = ()) -> Relation:
    """A table that the query only reads; `is_open` if it may have more columns."""
    windowed = {column.lower() for column in across}
    known = {c.lower(): Column(c, {(name, c.lower()): True}, across=c.lower() in windowed) for c in columns}
    return Relation(known, rest=name if is_open else None)


def by_name(columns: Iterable[Column]) -> dict[str, Column]:
    """By lower-case name; a second column of one name gets a number, as DuckDB gives it."""
    found: dict[str, Column] = {}
    for column in columns:
        name, number = column.name, 0
        while name.lower() in found:
            number += 1
            name = f"{column.name}_{number}"
        found[name.lower()] = column if number == 0 else replace(column, name=name)
    return found


def merged(name: str, columns: Iterable[Column]) -> Column:
    """A column that holds values of each of `columns`."""
    origins: dict[Ref, bool] = {}
    influences: frozenset[Ref] = frozenset()
    across = False
    for column in columns:
        for ref, is_copy in column.origins.items():
            origins[ref] = is_copy and origins.get(ref, True)
        influences |= column.influences
        across |= column.across
    return Column(name, origins, influences, across)
