"""Rows that break a rule, kept as a table for whoever repairs them, and a sample for the page.

One folder for each check, below `warehouse/failing`, one Parquet file for each evaluation that failed: its newest few, and of
each a bounded number of rows. They are whole rows, as readable as the tables that they stand in; the sample masks what is
classified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.contracts.masking import mask_text
from caudal.warehouse.connection import write_parquet
from caudal.warehouse.sql import text

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.warehouse.connection import Connection

KEPT_EVALUATIONS = 5
KEPT_ROWS = 10_000
SAMPLE_ROWS = 10
SHOWN_FILES = 20
_LONGEST = 200


@dataclass(frozen=True)
class Kept:
    """What was kept of one evaluation.

    Attributes:
        path: a Parquet file.
        rows: in it.
        sample: the first few, as text, classified values masked.
        files: the lake files that most of them stand in, each with how many, where rows say so.

    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    files: tuple[tuple[str, int], ...] = ()

    @property
    def query(self) -> str:
        """How to look at it, in DuckDB."""
        return f"SELECT * FROM {text(str(self.path))}"


def folder_of(env: Environment, asset: tuple[str, ...], check: str) -> Path:
    """Where the failing rows of a check are kept."""
    return env.failing / "__".join(asset) / check


def keep(connection: Connection, failing: str, folder: Path, masked: Mapping[str, bool]) -> Kept:
    """Keep what the query `failing` selects.

    Args:
        masked: for columns of the table, whether their values may not be shown. A column that is not named may be shown; what
            a rule's own SQL computes of a masked column under another name is its author's to answer for.

    """
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z.parquet"
    temporary = path.with_suffix(".tmp")
    try:
        write_parquet(connection, f"SELECT * FROM ({failing}) LIMIT {KEPT_ROWS}", temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    for old in sorted(folder.glob("*.parquet"))[:-KEPT_EVALUATIONS]:
        old.unlink(missing_ok=True)
    with duckdb.connect() as kept:
        found = kept.execute(f"SELECT * FROM {text(str(path))} LIMIT {SAMPLE_ROWS}")
        columns = tuple(column[0] for column in found.description or ())
        sample = tuple(
            tuple(_shown(v, masked.get(c, False)) for c, v in zip(columns, row, strict=True)) for row in found.fetchall()
        )
        counted = kept.execute(f"SELECT count(*) FROM {text(str(path))}").fetchone()
        assert counted is not None
        files: list[tuple[str, int]] = []
        if "_file" in columns:
            by_file = f"SELECT _file, count(*) FROM {text(str(path))} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {SHOWN_FILES}"
            files = kept.execute(by_file).fetchall()
    return Kept(path, counted[0], columns, sample, tuple(files))


def _shown(value: object, masked: bool) -> str:
    shown = mask_text(value) if masked else "" if value is None else str(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
