"""How a table differs from what it was when it was profiled before. Pure: snapshots in, sentences out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from caudal.warehouse.quality.distribution import stability_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from caudal.explore.snapshot import ColumnSnapshot, Snapshot

#: The usual reading of the population stability index: below 0.1 the same, from 0.2 on another distribution.
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.2
#: Two samples of one distribution differ by chance: an index below so many times what chance gives is none.
TIMES_CHANCE = 3.0
#: Changes of the share of nulls, and of the row count relative to itself, that are told.
NULL_SHARE, ROW_SHARE, MUCH_ROW_SHARE = 0.01, 0.05, 0.5
#: Values named of those that came or went.
NAMED = 5

Weight = Literal["much", "some"]


@dataclass(frozen=True)
class Drift:
    """One difference.

    Attributes:
        column: "" for the table itself.
        what: `rows`, `columns`, `type`, `nulls`, `distribution`, `range`, `new values` or `vanished values`.
        psi: the population stability index, of a distribution.

    """

    column: str
    what: str
    before: str
    now: str
    weight: Weight
    psi: float | None = None


def find_drift(before: Snapshot, now: Snapshot, counted: Mapping[str, Sequence[float]]) -> list[Drift]:
    """The differences, the table's first, then by weight and column.

    Args:
        counted: for each column the shares of its values now between the edges of `before`.

    """
    found = [*_of_table(before, now)]
    for name, column in now.columns.items():
        if (old := before.columns.get(name)) is None:
            continue
        if old.type != column.type:
            found.append(Drift(name, "type", old.type.lower(), column.type.lower(), "much"))
            continue
        if before.rows and now.rows:
            sizes = (before.measured * (1 - old.nulls), now.measured * (1 - column.nulls))
            found += _of_column(name, old, column, counted.get(name, ()), sizes)
    return sorted(found, key=lambda d: (d.column != "", d.weight != "much"))


def _of_table(before: Snapshot, now: Snapshot) -> Iterator[Drift]:
    change = abs(now.rows - before.rows) / max(before.rows, 1)
    if change >= ROW_SHARE:
        yield Drift(
            "", "rows", f"{before.rows:,}", f"{now.rows:,}", "much" if change >= MUCH_ROW_SHARE or not now.rows else "some"
        )
    if new := [name for name in now.columns if name not in before.columns]:
        yield Drift("", "columns", "", "new: " + _named(new), "some")
    if gone := [name for name in before.columns if name not in now.columns]:
        yield Drift("", "columns", "gone: " + _named(gone), "", "much")


def _of_column(
    name: str, old: ColumnSnapshot, new: ColumnSnapshot, counted: Sequence[float], sizes: tuple[float, float]
) -> Iterator[Drift]:
    change = abs(new.nulls - old.nulls)
    if change >= NULL_SHARE or (change > 0 and not (old.nulls and new.nulls) and change >= NULL_SHARE / 10):
        much = change >= 10 * NULL_SHARE
        yield Drift(name, "nulls", f"{old.nulls:.1%}", f"{new.nulls:.1%}", "much" if much else "some")
    yield from _distribution(name, old, new, counted, sizes)
    if None not in (old.minimum, old.maximum, new.minimum, new.maximum):
        yield from _range(name, old, new)
    if old.complete and new.complete:
        came = sorted(set(new.values) - set(old.values), key=lambda v: -new.values[v])
        went = sorted(set(old.values) - set(new.values), key=lambda v: -old.values[v])
        if came:
            yield Drift(name, "new values", "", _named(came), "some")
        if went:
            yield Drift(name, "vanished values", _named(went), "", "some")


def _distribution(
    name: str, old: ColumnSnapshot, new: ColumnSnapshot, counted: Sequence[float], sizes: tuple[float, float]
) -> Iterator[Drift]:
    shares = (old.shares, tuple(counted))
    if old.complete and new.complete:
        union = sorted(set(old.values) | set(new.values))
        totals = (sum(old.values.values()), sum(new.values.values()))
        shares = (
            tuple(old.values.get(v, 0) / totals[0] for v in union),
            tuple(new.values.get(v, 0) / totals[1] for v in union),
        )
    if len(shares[0]) != len(shares[1]) or len(shares[0]) < 2 or not all(sizes):
        return
    index = stability_index(*shares)
    by_chance = (len(shares[0]) - 1) * sum(1 / size for size in sizes)
    if index >= SOME_DRIFT and index > TIMES_CHANCE * by_chance:
        place = max(range(len(shares[0])), key=lambda i: abs(shares[1][i] - shares[0][i]))
        where = f"“{union[place]}”" if old.complete and new.complete else _bin(old, place)
        weight: Weight = "much" if index >= MUCH_DRIFT else "some"
        yield Drift(name, "distribution", f"{shares[0][place]:.1%} {where}", f"{shares[1][place]:.1%} {where}", weight, index)


def _range(name: str, old: ColumnSnapshot, new: ColumnSnapshot) -> Iterator[Drift]:
    """A value farther beyond the former range than a tenth of it. Times grow by nature: only earlier ones tell something."""
    assert old.minimum is not None and old.maximum is not None and new.minimum is not None and new.maximum is not None  # noqa: PT018
    beyond = 0.1 * (old.maximum - old.minimum)
    of_time = old.type.startswith(("DATE", "TIME"))
    if new.minimum < old.minimum - beyond or (new.maximum > old.maximum + beyond and not of_time):
        much = new.maximum > old.maximum + 10 * beyond or new.minimum < old.minimum - 10 * beyond
        yield Drift(name, "range", _span(old, of_time), _span(new, of_time), "much" if much and beyond else "some")


def _bin(column: ColumnSnapshot, place: int) -> str:
    of_time = column.type.startswith(("DATE", "TIME"))
    edges = [_shown(edge, of_time) for edge in column.edges]
    if place == 0:
        return f"up to {edges[0]}"
    return f"above {edges[-1]}" if place == len(edges) else f"from {edges[place - 1]} to {edges[place]}"


def _span(column: ColumnSnapshot, of_time: bool) -> str:
    assert column.minimum is not None and column.maximum is not None  # noqa: PT018
    return f"{_shown(column.minimum, of_time)} to {_shown(column.maximum, of_time)}"


def _shown(value: float, of_time: bool) -> str:
    import datetime as dt

    if not of_time:
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.4g}"
    try:
        return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=value)).strftime("%Y-%m-%d")
    except (OverflowError, ValueError):
        return f"{value:.4g} s"


def _named(values: Sequence[str]) -> str:
    more = f" and {len(values) - NAMED:,} more" if len(values) > NAMED else ""
    return ", ".join((value.strip() or "(blank)")[:40] for value in values[:NAMED]) + more
