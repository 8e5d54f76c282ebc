"""The history of a forecast, read from a published table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.models.panel import panel_from_arrow
from caudal.warehouse.published import connect

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.models.panel import Panel


class UnreadableHistory(LookupError):
    """The published table or one of its columns does not exist, or holds something that is no day or no
    number.
    """


@dataclass(frozen=True)
class HistoryTable:
    """A published table of daily values, by column.

    Attributes:
        relation: `schema.table`.
        time: the column of the day, a date or timestamp.
        series: the column that names the series.
        value: the column to be forecast; rows of one day and series are added up.
        incomplete_days: days at the end of the table that are still filling.
    """

    relation: str
    time: str
    series: str
    value: str
    incomplete_days: int = 0


@dataclass(frozen=True)
class History:
    """The panel of a table, and how many of its rows say neither when nor what and were left out."""

    panel: Panel
    rows_without_key: int


def read_history(env: Environment, table: HistoryTable) -> History:
    """Read the published table.

    Raises:
        NothingPublished: there is no published version.
        UnreadableHistory: DuckDB cannot read it that way; with its words.
        NoHistory: it has no values.
    """
    import duckdb

    relation = ".".join(_quoted(part) for part in table.relation.split("."))
    time, series, value = _quoted(table.time), _quoted(table.series), _quoted(table.value)
    with connect(env) as connection:
        try:
            rows = connection.execute(
                f"SELECT CAST({time} AS DATE) AS day, CAST({series} AS VARCHAR) AS series, "
                f"CAST(sum({value}) AS DOUBLE) AS value FROM {relation} "
                f"WHERE {time} IS NOT NULL AND {series} IS NOT NULL GROUP BY ALL ORDER BY ALL"
            ).to_arrow_table()
            counted = connection.execute(f"SELECT count(*) FROM {relation} WHERE {time} IS NULL OR {series} IS NULL").fetchone()
        except duckdb.Error as cause:
            raise UnreadableHistory(
                f"{table.relation} cannot be read as days ({table.time}), series ({table.series}) and values "
                f"({table.value}): {cause}"
            ) from cause
    return History(panel_from_arrow(rows, table.incomplete_days), counted[0] if counted else 0)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
