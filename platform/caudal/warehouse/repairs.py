"""Rejected rows as a file that a person repairs, and back.

`export` writes a CSV file with one line for each rejected row: where it stands, why it was refused, and the row. The person
corrects the row's values and gives the file to `accept`, which keeps those that fit the contract now: the next load of
their files puts them in the place of the rejected ones.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.evolution import as_it_is
from caudal.lake.ledger import Ledger
from caudal.lake.readers.rows import MEMBER
from caudal.lake.records import Repair
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.raw_tables import as_stored, raw_tables, rejects
from caudal.warehouse.release import complete_record, trial
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: Columns of the exported file that say which row it is; the others are the contract's.
PLACE = ("_file", "_version", "_row")
REASONS = "_reasons"


class UnusableRepairs(ValueError):
    """The file of repaired rows cannot be used. The message is for people."""


@dataclass(frozen=True)
class Exported:
    """What was written: rows, and problems that concern a whole file or a line that could not be split."""

    rows: int
    others: int


@dataclass(frozen=True)
class Accepted:
    """What became of repaired rows.

    Attributes:
        kept: rows that fit and will be loaded.
        files: that are read again for it.
        refused: (file, row, column, value, reason) of what still does not fit.

    """

    kept: int
    files: int
    refused: tuple[tuple[str, int, str | None, str | None, str], ...]


def export(env: Environment, dataset: Dataset, into: Path) -> Exported:
    """Write the rejected rows of the dataset to the CSV file `into`. A line without a value is nothing, `""` the empty text."""
    dataset = as_it_is(env, dataset)
    with connect_memory(env) as connection:
        refused = raw_tables(env).rejects_in(connection, rejects(dataset))
        if refused is None:
            return Exported(0, 0)
        columns = ", ".join(
            f"json_extract_string(record, {text(_path(name))}) AS {identifier(name)}" for name in dataset.contract.column_names
        )
        reasons = f"""string_agg(coalesce("column" || ': ', '') || reason, '; ') AS {REASONS}"""
        select = (
            f"SELECT {', '.join(PLACE)}, {reasons}, {columns} FROM {refused} WHERE record IS NOT NULL "
            f"GROUP BY {', '.join(PLACE)}, record ORDER BY _file, _row"
        )
        connection.execute(f"COPY ({select}) TO {text(str(into))} (FORMAT csv, HEADER)")
        rows = _scalar(connection, f"SELECT count(DISTINCT (_file, _row)) FROM {refused} WHERE record IS NOT NULL")
        others = _scalar(connection, f"SELECT count(*) FROM {refused} WHERE record IS NULL")
    return Exported(rows, others)


def accept(env: Environment, dataset: Dataset, repaired: Path) -> Accepted:
    """Keep the repaired rows of the CSV file that fit the contract, and ask for their files again.

    Raises:
        UnusableRepairs: the file is not one that `export` has written, or speaks of rows that are not rejected now.

    """
    ledger = Ledger(env.state / "ledger.db")
    dataset = as_stored(env, as_it_is(env, dataset))
    with connect_memory(env) as connection:
        repairs = _read(connection, env, dataset, ledger, repaired)
        with tempfile.TemporaryDirectory(prefix="caudal-release-") as folder:
            refused = trial(connection, dataset, repairs, loaded_at=datetime.now(UTC), work=Path(folder))
    faulty = {(file, row) for file, row, *_ in refused}
    kept = [r for r in repairs if (r.name, r.place) not in faulty]
    files = ledger.repair(dataset.id, kept) if kept else 0
    return Accepted(len(kept), files, tuple(refused))


def _read(
    connection: duckdb.DuckDBPyConnection, env: Environment, dataset: Dataset, ledger: Ledger, repaired: Path
) -> list[Repair]:
    import duckdb

    read = f"read_csv({text(str(repaired))}, all_varchar=true, header=true, delim=',', quote='\"', allow_quoted_nulls=false)"
    try:
        given = connection.sql(f"SELECT * FROM {read}")
        rows = given.fetchall()
    except duckdb.Error as failed:
        raise UnusableRepairs(f"{repaired}: cannot be read as CSV: {str(failed).splitlines()[0]}") from None
    missing = [name for name in (*PLACE, *dataset.contract.column_names) if name not in given.columns]
    if missing:
        raise UnusableRepairs(
            f"{repaired}: there is no column `{missing[0]}`; expected a file that `caudal lake rejects {dataset.id}` has "
            "written, with corrected values"
        )
    refused = raw_tables(env).rejects_in(connection, rejects(dataset))
    found = f"SELECT DISTINCT _file, _version, _row FROM {refused} WHERE _row IS NOT NULL"
    known = set(connection.execute(found).fetchall()) if refused else set()
    paths = {f.path for f in ledger.files(dataset.id)}
    repairs, lines = [], Counter()
    for line, values in enumerate(rows, 2):
        record = dict(zip(given.columns, values, strict=True))
        name, version, place = record["_file"], record["_version"], record["_row"]
        if not (place or "").isdigit() or (name, version, int(place)) not in known:
            raise UnusableRepairs(
                f"{repaired}, row {line}: {name}, row {place} is not among the rejects of {dataset.id} in that version. Its "
                "file may have been replaced since; export the rejects again"
            )
        lines[name, place] += 1
        if lines[name, place] > 1:
            raise UnusableRepairs(f"{repaired}, row {line}: {name}, row {place} is given more than once")
        path = name if name in paths else name.rpartition(MEMBER)[0]
        while path and path not in paths:
            path = path.rpartition(MEMBER)[0]
        repairs.append(Repair(path, version, name, int(place), complete_record(dataset.contract.column_names, record)))
    return repairs


def _path(name: str) -> str:
    return '$."' + name.replace('"', '\\"') + '"'


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
