"""Rows taken out of files of the lake, the others left byte for byte, where that can be done and proved; else the file stays.

A line of a CSV or JSON lines file is taken out only if the file has one line for each row. The new file is normalized before it
takes the place of the old one: it must have just the other rows.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import open_store
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import Normalized, Unreadable, normalize
from caudal.warehouse.sql import text
from caudal.warehouse.suppression import without_rows

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.suppression import Suppressed

#: The formats of files that can be written anew.
REWRITTEN = ("csv", "jsonl", "parquet")


class CannotRewrite(ValueError):
    """The file stays as it is. The message says why."""


@dataclass(frozen=True)
class _Judged:
    """What a file holds: how many rows, and the places, from 1, of those of the person."""

    rows: int
    gone: tuple[int, ...]


def rewrite(env: Environment, dataset: Dataset, columns: list[Column], listed: Suppressed, path: str) -> int:
    """Write the lake file anew without the rows of people of the list; how many rows were taken out.

    Raises:
        CannotRewrite: nothing was changed, and why.

    """
    if dataset.format not in REWRITTEN:
        raise CannotRewrite(f"{path}: a file of the format {dataset.format} cannot be written anew as it was")
    store = open_store(env.lake_url, env.acts_as)
    found = store.find(path)
    if found is None:
        return 0
    with tempfile.TemporaryDirectory(prefix="caudal-erasure-") as folder, connect_memory(env) as connection:
        work = Path(folder)
        held = store.fetch(found, work)
        if held is None:
            raise CannotRewrite(f"{path}: it has changed meanwhile; apply the erasure again")
        before = _judged(connection, dataset, columns, listed, held, path, work / "before")
        if not before.gone:
            return 0
        target = work / f"rewritten{''.join(held.suffixes)}"
        if dataset.format == "parquet":
            _without_rows(held, before, target, path)
        else:
            _without_lines(held, before, target, path)
        after = _judged(connection, dataset, columns, listed, target, path, work / "after")
        if after.gone or after.rows != before.rows - len(before.gone):
            raise CannotRewrite(f"{path}: without the {len(before.gone)} rows it would not read as the same file without them")
        if not store.unchanged(path, found.version):
            raise CannotRewrite(f"{path}: it has changed meanwhile; apply the erasure again")
        store.replace(path, target)
    return len(before.gone)


def _judged(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    columns: list[Column],
    listed: Suppressed,
    file: Path,
    path: str,
    into: Path,
) -> _Judged:
    try:
        result = normalize(connection, dataset, file, path=path, version="", loaded_at=datetime.now(UTC), into=into)
    except Unreadable as refused:
        raise CannotRewrite(f"{path}: {refused}") from None
    if any(counts.member is not None for counts in result.files):
        raise CannotRewrite(f"{path}: it has several tables in it")
    return _Judged(sum(f.rows_read for f in result.files), tuple(sorted(_places(connection, columns, listed, result))))


def _places(connection: duckdb.DuckDBPyConnection, columns: list[Column], listed: Suppressed, result: Normalized) -> set[int]:
    found: set[int] = set()
    for written, condition in ((result.part, listed.in_rows(columns)), (result.rejects, listed.in_rejects(columns))):
        if written is not None:
            sql = f"SELECT DISTINCT _row FROM read_parquet({text(str(written))}) WHERE {condition}"
            found |= {row[0] for row in connection.execute(sql).fetchall()}
    return found


def _without_lines(held: Path, judged: _Judged, target: Path, path: str) -> None:
    lines = held.read_bytes().splitlines(keepends=True)
    # A row's place is the number of its line.
    if len(lines) - judged.rows not in (0, 1) or any(not line.strip() for line in lines):
        raise CannotRewrite(f"{path}: it does not have one line for each row, as with values of several lines, or compressed")
    gone = {place - 1 for place in judged.gone}
    target.write_bytes(b"".join(line for number, line in enumerate(lines) if number not in gone))


def _without_rows(held: Path, judged: _Judged, target: Path, path: str) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(held) as opened:
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    if rows != judged.rows:
        raise CannotRewrite(f"{path}: it has {rows} rows, and {judged.rows} were read")
    copied = target.with_name("copied.parquet")
    shutil.copyfile(held, copied)
    kept = without_rows(copied, {place - 1 for place in judged.gone}, target.parent)
    if kept is None:
        pq.write_table(schema.empty_table(), target)
    else:
        kept.replace(target)
