"""What a table holds: the figures of each column, and how they read in a page, a log and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from caudal.explore import markdown

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

#: A longer text is cut to this many characters; to fewer where it is only shown.
LONGEST_TEXT = 200
LONGEST_SHOWN = 40
#: A page shows at most this many columns; `to_dict` has them all.
MOST_COLUMNS_SHOWN = 150

#: The fields of a summary, and the side that they are aligned to.
SUMMARY: dict[str, markdown.Side] = {
    "column": "left",
    "type": "left",
    "null": "right",
    "distinct": "right",
    "minimum": "right",
    "median": "right",
    "maximum": "right",
    "most frequent": "left",
}

Kind = Literal["number", "time", "text", "boolean", "other"]
Value = int | Decimal | float | str


@dataclass(frozen=True)
class ColumnProfile:
    """One column.

    Attributes:
        type: DuckDB's name of it.
        rows: rows of the table.
        nulls: rows without a value.
        distinct: different values, null not among them.
        minimum, maximum: of numbers, times and texts: numbers exact, times as ISO text (in UTC, where they have a
            zone), texts up to `LONGEST_TEXT` characters. NaN and infinities do not take part.
        quantiles: at `QUANTILES`, of numbers and times only: the smallest value of the column that at least this
            share of its values does not exceed.
        mean, std: of numbers only, in double precision; `std` is the sample's, and None if it is beyond doubles.
        top: the most frequent values and their rows, of texts and booleans in which a value repeats.
        non_finite: rows with NaN or an infinity.

    """

    name: str
    type: str
    kind: Kind
    rows: int
    nulls: int
    distinct: int
    minimum: Value | None = None
    maximum: Value | None = None
    quantiles: tuple[Value, ...] = ()
    mean: float | None = None
    std: float | None = None
    top: tuple[tuple[str, int], ...] = ()
    non_finite: int = 0

    @property
    def filled(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    @property
    def null_share(self) -> float:
        """Between 0 and 1; 0 in an empty table."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def unique(self) -> bool:
        """Whether no value repeats."""
        return self.distinct == self.filled > 0


@dataclass(frozen=True)
class TableProfile:
    """A table.

    Attributes:
        relation: `schema.name`.
        approximate: whether distinct counts and quantiles are estimates.

    """

    relation: str
    rows: int
    columns: tuple[ColumnProfile, ...]
    approximate: bool = False

    @property
    def null_share(self) -> float:
        """The share of all cells that hold nothing, between 0 and 1."""
        cells = self.rows * len(self.columns)
        return sum(c.nulls for c in self.columns) / cells if cells else 0.0

    def summary(self) -> list[tuple[str, ...]]:
        """One line of plain text for each column, of the fields that `SUMMARY` names."""
        about = "about " if self.approximate else ""
        return [
            (
                c.name,
                c.type.lower(),
                markdown.share(c.nulls, c.rows),
                "unique" if c.unique and not self.approximate else f"{about}{c.distinct:,}",
                _plain(c.minimum),
                _plain(c.quantiles[len(QUANTILES) // 2] if c.quantiles else None),
                _plain(c.maximum),
                ", ".join(f"{_plain(value)} ({markdown.share(n, c.filled)})" for value, n in c.top[:3]),
            )
            for c in self.columns
        ]

    def to_markdown(self) -> str:
        """The summary and the quantiles, as tables."""
        lines = [[markdown.text(field, 120) for field in line] for line in self.summary()[:MOST_COLUMNS_SHOWN]]
        more = len(self.columns) - MOST_COLUMNS_SHOWN
        left_out = f", {more:,} of which are not shown" if more > 0 else ""
        return "\n\n".join(
            (
                f"**{self.rows:,} rows, {len(self.columns):,} columns**{left_out}",
                markdown.table(tuple(SUMMARY), lines, tuple(SUMMARY.values())),
                self.quantiles_to_markdown(),
            )
        )

    def quantiles_to_markdown(self) -> str:
        """The quantiles, means and deviations of numbers and times, as a table; and what they leave out."""
        measured = [c for c in self.columns[:MOST_COLUMNS_SHOWN] if c.quantiles]
        if not measured:
            return "No column holds numbers or times."
        lines = [
            (
                markdown.text(c.name),
                *(markdown.text(_plain(value)) for value in c.quantiles),
                markdown.measure(c.mean),
                markdown.measure(c.std),
            )
            for c in measured
        ]
        names = ("median" if q == 0.5 else f"{q:.0%}" for q in QUANTILES)
        header = ("column", *names, "mean", "std. dev.")
        kind = "Estimated" if self.approximate else "Exact"
        left_out = [
            f"Left out of {markdown.text(c.name)}: {c.non_finite:,} NaN or infinite." for c in self.columns if c.non_finite
        ]
        table = markdown.table(header, lines, ("left", *("right",) * (len(header) - 1)))
        return "\n\n".join((f"{kind} quantiles of the rows with a value:", table, *left_out))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without loss: decimals, integers beyond 2**53 and non-finite floats are texts."""
        return {
            "relation": self.relation,
            "rows": self.rows,
            "approximate": self.approximate,
            "columns": [
                {
                    "name": c.name,
                    "type": c.type,
                    "nulls": c.nulls,
                    "null_share": c.null_share,
                    "distinct": c.distinct,
                    "minimum": _jsonable(c.minimum),
                    "maximum": _jsonable(c.maximum),
                    "quantiles": {f"{q:g}": _jsonable(v) for q, v in zip(QUANTILES, c.quantiles, strict=False)},
                    "mean": _jsonable(c.mean),
                    "std": _jsonable(c.std),
                    "top": [{"value": value, "rows": rows} for value, rows in c.top],
                    "non_finite": c.non_finite,
                }
                for c in self.columns
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as standard JSON."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)


def _plain(value: Value | None) -> str:
    if value is None:
        return ""
    text = str(value)
    if not text.strip():
        return "(blank)"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _jsonable(value: Value | None) -> int | float | str | None:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
