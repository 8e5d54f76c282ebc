"""What a selection of assets would cost: a value, worked out beforehand, beside what it cost the last time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from caudal.runtime.plan import telling
from caudal.warehouse.bigquery.budgets import Verdict, usd
from caudal.warehouse.bigquery.costs import BILLED, BILLED_BY_CHECKS, MONEY, MONEY_OF_CHECKS

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = "caudal.costs/1"


@dataclass(frozen=True)
class Last:
    """What an asset's last materialization tells; None where it does not."""

    rows: int | None = None
    seconds: float | None = None
    bytes: int | None = None
    bytes_billed: int | None = None
    checks_bytes_billed: int | None = None


@dataclass(frozen=True)
class Line:
    """One asset.

    Attributes:
        bytes_billed: what making it would be billed for; None where that is not known, as locally.
        tests, tests_bytes_billed: how many checks run with it, and what they would be billed for together.
        bytes_read: what Python would read of the tables above it, through the Storage Read API, at most.
        usd: of all that is billed and read.
        note: what must be known of the estimate.

    """

    asset: str
    group: str
    bytes_billed: int | None = None
    tests: int = 0
    tests_bytes_billed: int = 0
    bytes_read: int | None = None
    usd: float | None = None
    note: str = ""
    last: Last = field(default_factory=Last)


@dataclass(frozen=True)
class Costs:
    """The assets of a selection, each after those that it reads.

    Attributes:
        engine: `bigquery`, or `local`, where nothing is billed.
        budgets: whether each group's estimate fits into what is left of its budget today.

    """

    engine: str
    lines: tuple[Line, ...]
    budgets: tuple[Verdict, ...] = ()

    @cached_property
    def bytes_billed(self) -> int:
        """Of all lines, without their tests."""
        return sum(line.bytes_billed or 0 for line in self.lines)

    @cached_property
    def tests_bytes_billed(self) -> int:
        """Of the tests of all lines."""
        return sum(line.tests_bytes_billed for line in self.lines)

    @cached_property
    def bytes_read(self) -> int:
        """Through the Storage Read API."""
        return sum(line.bytes_read or 0 for line in self.lines)

    @cached_property
    def usd(self) -> float:
        """Of all that is billed and read."""
        return sum(line.usd or 0.0 for line in self.lines)


def document(costs: Costs) -> dict[str, Any]:
    """The costs as plain values."""
    return {
        "format": FORMAT,
        "engine": costs.engine,
        "assets": [asdict(line) for line in costs.lines],
        "bytes_billed": costs.bytes_billed,
        "tests_bytes_billed": costs.tests_bytes_billed,
        "bytes_read": costs.bytes_read,
        "usd": round(costs.usd, 6),
        "budgets": [{"group": v.group, "fits": v.fits, "told": v.sentence()} for v in costs.budgets],
    }


def to_markdown(costs: Costs) -> str:
    """A table of the assets, and what must be known of them."""
    head, rows = _table(costs)
    told = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    notes = [f"- {note}" for note in _notes(costs)]
    return "\n".join(["### What it would cost", "", *told, "", *notes, ""])


def show(costs: Costs, console: Console) -> None:
    """Print the costs."""
    from rich.table import Table

    head, rows = _table(costs)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=number == 0, overflow="fold")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    for note in _notes(costs):
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def cost_in_words(metadata: Mapping[str, Any]) -> str:
    """What an asset's last materialization says that it was billed for, with its checks; "" if it says nothing."""
    told = [metadata.get(name) for name in (BILLED, BILLED_BY_CHECKS, MONEY, MONEY_OF_CHECKS)]
    billed, of_checks, money, money_of_checks = (each if isinstance(each, int | float) else 0 for each in told)
    if told[0] is None and told[1] is None:
        return ""
    checks = f", {telling.size(of_checks)} of that by its checks" if of_checks else ""
    return f"{usd(money + money_of_checks)}: {telling.size(billed + of_checks)} billed{checks}, the last time"


def _table(costs: Costs) -> tuple[list[str], list[list[str]]]:
    if costs.engine == "local":
        head = ["asset", "rows", "bytes", "seconds"]
        rows = [
            [line.asset, _count(line.last.rows), _size(line.last.bytes), _seconds(line.last.seconds)] for line in costs.lines
        ]
        return head, rows
    head = ["asset", "billed", "tests", "read", "USD", "last time billed", "last time tests"]
    rows = [
        [
            line.asset,
            _size(line.bytes_billed),
            f"{_size(line.tests_bytes_billed)} ({line.tests})" if line.tests else "",
            _size(line.bytes_read),
            "" if line.usd is None else _dollars(line.usd),
            _size(line.last.bytes_billed),
            _size(line.last.checks_bytes_billed),
        ]
        for line in costs.lines
    ]
    total = ["in all", _size(costs.bytes_billed), _size(costs.tests_bytes_billed), _size(costs.bytes_read or None)]
    return head, [*rows, [*total, _dollars(costs.usd), "", ""]]


def _notes(costs: Costs) -> Iterator[str]:
    if costs.engine == "local":
        yield "Nothing is billed in the environment `local`; rows, bytes and seconds are those of the last time."
        return
    for note, assets in _by_note(costs.lines).items():
        yield f"{', '.join(assets)}: {note}"
    if costs.bytes_read:
        yield "What Python reads comes through the Storage Read API, which has a price of its own; USD has both."
    yield from (verdict.sentence() for verdict in costs.budgets)


def _by_note(lines: Iterable[Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.note:
            found.setdefault(line.note, []).append(line.asset)
    return found


def _dollars(amount: float) -> str:
    return usd(amount).removesuffix(" USD")


def _size(count: int | None) -> str:
    return "" if count is None else telling.size(count)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _seconds(count: float | None) -> str:
    return "" if count is None else f"{count:,.1f}"
