"""Rejected rows that a person has repaired: kept by the ledger, and loaded in the place of the rejected ones.

A repair belongs to one row of one version of a file. Whenever that version is loaded, its repaired rows are normalized by the
same contract; those that fit are loaded with the place of the original, the others stay rejected with what is wrong now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import MEMBER
from caudal.lake.records import Repair
from caudal.warehouse.parts import LakeFile, Normalized, Quarantined, normalize_many
from caudal.warehouse.sql import text

if TYPE_CHECKING:
    import duckdb

    from caudal.lake.dataset import Dataset


def apply_repairs(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    results: Sequence[Normalized | Quarantined],
    repairs: Sequence[Repair],
    *,
    loaded_at: datetime,
    work: Path,
) -> list[Normalized | Quarantined]:
    """`results`, with the rejected rows that were repaired loaded.

    Args:
        repairs: of any files and versions; those that concern no rejected row do nothing.
        work: the folder of the parts.

    """
    done: list[Normalized | Quarantined] = []
    for result in results:
        if isinstance(result, Normalized) and result.rejects is not None:
            concerned = _of_rejected_rows(connection, result, repairs)
            done += _repaired(connection, dataset, result, concerned, loaded_at, work) if concerned else [result]
        else:
            done.append(result)
    return done


def trial(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, repairs: Sequence[Repair], *, loaded_at: datetime, work: Path
) -> list[tuple[str, int, str | None, str | None, str]]:
    """What would still be rejected of repaired rows: file or member, row, column, value, reason."""
    refused = []
    for name in sorted({r.name for r in repairs}):
        tried = _normalized(connection, dataset, [r for r in repairs if r.name == name], loaded_at, work)
        if tried.rejects is not None:
            told = f'SELECT _file, _row, "column", value, reason FROM read_parquet({text(str(tried.rejects))}) ORDER BY ALL'
            refused += connection.execute(told).fetchall()
    return refused


def _of_rejected_rows(connection: duckdb.DuckDBPyConnection, result: Normalized, repairs: Sequence[Repair]) -> list[Repair]:
    versions = {f.name: f.version for f in result.files if f.rows_rejected}
    mine = [r for r in repairs if versions.get(r.name) == r.version]
    if not mine:
        return []
    rejected = connection.execute(f"SELECT DISTINCT _file, _row FROM read_parquet({text(str(result.rejects))})").fetchall()
    places = set(rejected)
    return [r for r in mine if (r.name, r.place) in places]


def _repaired(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    result: Normalized,
    repairs: Sequence[Repair],
    loaded_at: datetime,
    work: Path,
) -> list[Normalized | Quarantined]:
    assert result.rejects is not None
    names = sorted({r.name for r in repairs})
    outcomes = [_normalized(connection, dataset, [r for r in repairs if r.name == n], loaded_at, work) for n in names]
    concerned = ", ".join(f"({text(r.name)}, {r.place})" for r in repairs)
    rest = result.rejects.with_name(f"rest.{result.rejects.name}")
    again = [o.rejects for o in outcomes if o.rejects is not None]
    others = "".join(f" UNION ALL SELECT * FROM read_parquet({text(str(path))})" for path in again)
    kept = f"SELECT * FROM read_parquet({text(str(result.rejects))}) WHERE (_file, _row) NOT IN ({concerned})"
    connection.execute(f"COPY ({kept}{others}) TO {text(str(rest))} (FORMAT parquet)")
    loaded = {f.name: f.rows_loaded for o in outcomes for f in o.files}
    files = tuple(
        replace(f, rows_loaded=f.rows_loaded + n, rows_rejected=f.rows_rejected - n)
        for f in result.files
        for n in [loaded.get(f.name, 0)]
    )
    any_left = any(f.rows_rejected for f in files)
    extra = [replace(o, files=(), rejects=None) for o in outcomes if o.part is not None]
    return [replace(result, files=files, rejects=rest if any_left else None), *extra]


def _normalized(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, repairs: Sequence[Repair], loaded_at: datetime, work: Path
) -> Normalized:
    """The repaired rows of one file or member, at the places of the rows that they repair."""
    first = repairs[0]
    member = first.name.removeprefix(first.path + MEMBER) if first.name != first.path else None
    lines = work / "repairs.jsonl"
    lines.write_text("".join(f"{r.record}\n" for r in repairs), encoding="utf-8")
    as_lines = replace(dataset, format="jsonl", encoding="utf-8", contract=replace(dataset.contract, drift="ignore"))
    file = LakeFile(first.path, first.version, lines, member)
    (result,) = normalize_many(connection, as_lines, [file], loaded_at=loaded_at, into=work)
    lines.unlink()
    assert isinstance(result, Normalized), result.reason
    places = f"([{', '.join(str(r.place) for r in repairs)}]::BIGINT[])[_row]"
    return replace(
        result,
        part=_placed(connection, result.part, places),
        rejects=_placed(connection, result.rejects, places),
    )


def _placed(connection: duckdb.DuckDBPyConnection, written: Path | None, places: str) -> Path | None:
    if written is None:
        return None
    placed = written.with_name(f"placed.{written.name}")
    select = f"SELECT * REPLACE ({places} AS _row) FROM read_parquet({text(str(written))})"
    connection.execute(f"COPY ({select}) TO {text(str(placed))} (FORMAT parquet)")
    written.unlink()
    return placed


def complete_record(columns: Iterable[str], record: dict[str, str | None]) -> str:
    """A repaired row as the ledger keeps it: every column, as JSON text."""
    return json.dumps({name: record.get(name) for name in columns}, ensure_ascii=False)
