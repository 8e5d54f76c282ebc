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
#: Of a column's most frequent values, so many are kept to be compared with, and so many shown.
TOP_KEPT, TOP_VALUES = 50, 8

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
        top: the most frequent values and their rows, of texts and booleans in which a value repeats: at most `TOP_KEPT`, of
            which `TOP_VALUES` are shown.
        top_estimated: the rows of `top` are those of a sample, put on the scale of the table.
        non_finite: rows with NaN or an infinity.
        lengths: of texts: the least, the greatest and the mean number of characters.
        patterns: of texts: the most frequent shapes and their share: `x` for letters, `9` for each digit.
        masked: the column is classified: none of its values is here, and nothing from which one can be told.

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
    top_estimated: bool = False
    non_finite: int = 0
    lengths: tuple[int, int, float] | None = None
    patterns: tuple[tuple[str, float], ...] = ()
    masked: bool = False

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

    @property
    def remark(self) -> str:
        """What deserves a word: that it is empty, constant, or masked."""
        if self.rows and not self.filled:
            return "empty"
        said = ["constant"] if self.distinct == 1 and self.rows > 1 and not self.nulls else []
        return ", ".join([*said, *(["values masked"] if self.masked else [])])


@dataclass(frozen=True)
class TableProfile:
    """A table.

    Attributes:
        relation: `schema.name`.
        approximate: whether distinct counts are estimates, and quantiles those of a sample.
        sampled: rows of that sample, 0 if there was none.

    """

    relation: str
    rows: int
    columns: tuple[ColumnProfile, ...]
    approximate: bool = False
    sampled: int = 0

    @property
    def method(self) -> str:
        """How the figures were come by, in a sentence."""
        if not self.approximate:
            return "Every figure is exact, of all rows."
        return (
            "Rows, nulls, minima, maxima, means, deviations, lengths and days are exact, of all rows; distinct counts are "
            "estimates (HyperLogLog) of all rows; quantiles, histograms, correlations and rare values are those of a sample of "
            f"{self.sampled:,} rows ({markdown.share(self.sampled, self.rows)}), each row drawn with the same chance."
        )

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
                plain(c.minimum),
                plain(c.quantiles[len(QUANTILES) // 2] if c.quantiles else None),
                plain(c.maximum),
                ", ".join(f"{plain(value)} ({markdown.share(n, c.filled)})" for value, n in c.top[:3]) or c.remark,
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
                f"**{self.rows:,} rows, {len(self.columns):,} columns**{left_out}. {self.method}",
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
                *(markdown.text(plain(value)) for value in c.quantiles),
                markdown.measure(c.mean),
                markdown.measure(c.std),
            )
            for c in measured
        ]
        names = ("median" if q == 0.5 else f"{q:.0%}" for q in QUANTILES)
        header = ("column", *names, "mean", "std. dev.")
        kind = "Estimated (of a sample)" if self.approximate else "Exact"
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
            "sampled_rows": self.sampled,
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
                    "top": [{"value": value, "rows": rows} for value, rows in c.top[:TOP_VALUES]],
                    "non_finite": c.non_finite,
                    "lengths": list(c.lengths) if c.lengths else None,
                    "patterns": dict(c.patterns),
                    "masked": c.masked,
                }
                for c in self.columns
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as standard JSON."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)


def plain(value: Value | None) -> str:
    """A value on a page: at most `LONGEST_SHOWN` characters."""
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
