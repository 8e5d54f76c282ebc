"""Rows that stand in two files, or in two sheets of a workbook: counted and told, never removed.

A partner who delivers Monday's rows again on Tuesday, or a workbook whose second sheet begins with the end of the first, gives
the same rows twice; only a person knows whether they are meant. What is compared is the whole declared row, or the key.

Counting takes about a tenth of a second a million rows: a hash of each row finds the few that may stand twice, and those are
compared as they are, so that the numbers are exact. That is a small part of loading a million rows and much of loading one
file into a large table; `is_due` says when a load counts, and upkeep counts the rest once a day. The newest count is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from caudal.lake.dataset import Duplicates as Compared
from caudal.store import write_atomically
from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.sql import identifier, one_row, text

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud
    from caudal.lake.dataset import Dataset

#: A table of so many rows is counted in every load: it takes less than 30 ms.
ALWAYS_COUNTED_ROWS = 250_000
#: A larger one is counted in a load that brings at least this share of its rows.
COUNTED_SHARE = 0.1
#: File pairs and samples that are told.
SHOWN = 20
SAMPLES = 5
#: What stands in more files than this is no matter of two files: it is counted, but not for each pair of them.
_MOST_FILES = 20


@dataclass(frozen=True)
class Pair:
    """Two files, or members of files, and how many different rows (or keys) stand in both."""

    one: str
    other: str
    shared: int


@dataclass(frozen=True)
class Sample:
    """Something that stands in several files: the row or key as JSON, and the first of those files.

    A value of a column that the contract classifies, other than as public, is not told.
    """

    value: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """What stands in more than one file of a dataset, in one version of its raw table.

    Attributes:
        compared: `row` or `key`.
        version: of the raw table.
        rows: all rows of the table.
        shared_rows: those whose row or key stands in more than one file.
        shared: how many different rows or keys that are.
        beyond_first: rows that would go if each row or key stood once, wherever it stands; also within one file.
        pairs: those that share most first, `SHOWN` at most.
        samples: the first few.

    """

    compared: Compared
    version: int
    rows: int
    shared_rows: int = 0
    shared: int = 0
    beyond_first: int = 0
    pairs: tuple[Pair, ...] = ()
    samples: tuple[Sample, ...] = ()


def is_due(rows_in_load: int, rows_in_table: int) -> bool:
    """Whether counting is a small part of a load of so many rows."""
    return rows_in_table <= ALWAYS_COUNTED_ROWS or rows_in_load >= COUNTED_SHARE * rows_in_table


def last_count(env: Environment, dataset: Dataset) -> Duplicates | None:
    """The newest count of what the dataset compares, of whatever version; None if there is none."""
    try:
        told = json.loads(_record(env, dataset).read_text())
    except FileNotFoundError:
        return None
    pairs = tuple(Pair(**pair) for pair in told.pop("pairs"))
    samples = tuple(Sample(s["value"], tuple(s["files"])) for s in told.pop("samples"))
    counted = Duplicates(**told, pairs=pairs, samples=samples)
    return counted if counted.compared == dataset.duplicates else None


def count(env: Environment, dataset: Dataset, version: int) -> Duplicates:
    """Count in that version of the raw table what stands in more than one file, and keep the result as the newest.

    Raises:
        ValueError: the dataset compares nothing (`duplicates: off`).

    """
    if dataset.duplicates == "off":
        raise ValueError(f"{dataset.id} declares `duplicates: off`: there is nothing to count")
    counted = Duplicates(dataset.duplicates, version, rows=0)
    if env.cloud is not None:
        counted = _count_on_bigquery(env.cloud, dataset, dataset.duplicates, version)
    elif files := delta.data_files(env.raw / dataset.table, version):
        with connect_memory(env) as connection:
            # Not through the Delta extension: to load it takes longer than to count. A file may lack columns that are newer.
            listed = ", ".join(text(str(file)) for file in files)
            connection.execute(f"CREATE VIEW raw AS SELECT * FROM read_parquet([{listed}], union_by_name = true)")
            there = {row[0] for row in connection.execute("DESCRIBE raw").fetchall()}
            columns = {c.name: c.classification in (None, "public") for c in dataset.contract.columns if c.name in there}
            if dataset.duplicates == "key":
                columns = {name: columns[name] for name in dataset.contract.primary_key if name in there}
            counted = _count(connection, dataset.duplicates, version, columns)
    with write_atomically(_record(env, dataset)) as temporary:
        temporary.write_text(json.dumps(asdict(counted)))
    return counted


def _count(connection: duckdb.DuckDBPyConnection, compared: Compared, version: int, columns: Mapping[str, bool]) -> Duplicates:
    """Of the table `raw`, by its columns, each with whether its values may be shown."""
    listed = ", ".join(map(identifier, columns))
    connection.execute(
        f"CREATE TABLE suspect AS SELECT h FROM (SELECT hash({listed}) AS h FROM raw) GROUP BY h HAVING count(*) > 1"
    )
    (rows,) = one_row(connection, "SELECT count(*) FROM raw")
    if one_row(connection, "SELECT count(*) FROM suspect") == (0,):
        return Duplicates(compared, version, rows)
    value = "{" + ", ".join(f"{identifier(name)}: {identifier(name)}" for name in columns) + "}"
    shown = {name: f"first.value.{identifier(name)}" if may else "'not shown'" for name, may in columns.items()}
    sample = "{" + ", ".join(f"{identifier(name)}: {told}" for name, told in shown.items()) + "}"
    connection.execute(f"""
        CREATE TABLE standing AS
        SELECT hash({listed}) AS h, {value} AS value, _file AS file, count(*) AS n
        FROM raw WHERE hash({listed}) IN (SELECT h FROM suspect) GROUP BY ALL
    """)
    connection.execute("""
        CREATE TABLE several AS
        SELECT h, value, count(*) AS files, sum(n)::BIGINT AS n FROM standing GROUP BY h, value HAVING sum(n) > 1
    """)
    beyond_first, shared_rows, shared = one_row(
        connection,
        "SELECT coalesce(sum(n - 1), 0), coalesce(sum(n) FILTER (files > 1), 0), count(*) FILTER (files > 1) FROM several",
    )
    pairs = connection.execute(f"""
        WITH few AS (
            SELECT standing.* FROM standing JOIN several
            ON standing.h = several.h AND standing.value IS NOT DISTINCT FROM several.value
            WHERE several.files BETWEEN 2 AND {_MOST_FILES}
        )
        SELECT one.file, other.file, count(*) FROM few AS one JOIN few AS other
        ON one.h = other.h AND one.value IS NOT DISTINCT FROM other.value AND one.file < other.file
        GROUP BY ALL ORDER BY count(*) DESC, one.file, other.file LIMIT {SHOWN}
    """).fetchall()
    samples = connection.execute(f"""
        WITH first AS (SELECT * FROM several WHERE files > 1 ORDER BY value LIMIT {SAMPLES})
        SELECT to_json({sample})::VARCHAR, list_sort(list(file))[1:{SAMPLES}]
        FROM first JOIN standing ON first.h = standing.h AND first.value IS NOT DISTINCT FROM standing.value
        GROUP BY first.h, first.value ORDER BY first.value
    """).fetchall()
    return Duplicates(
        compared,
        version,
        rows,
        int(shared_rows),
        shared,
        int(beyond_first),
        tuple(Pair(*row) for row in pairs),
        tuple(Sample(value, tuple(files)) for value, files in samples),
    )


def _count_on_bigquery(cloud: GoogleCloud, dataset: Dataset, compared: Compared, version: int) -> Duplicates:
    from caudal.warehouse.bigquery.raw_reading import standing_in_several

    columns = {c.name: c.classification in (None, "public") for c in dataset.contract.columns}
    if compared == "key":
        columns = {name: columns[name] for name in dataset.contract.primary_key}
    told = standing_in_several(cloud, dataset, columns, shown=SHOWN, samples=SAMPLES, most_files=_MOST_FILES)
    return Duplicates(
        compared,
        version,
        told["row_count"],
        told["shared_rows"],
        told["shared"],
        told["beyond_first"],
        tuple(Pair(p["one"], p["other"], p["n"]) for p in told["pairs"]),
        tuple(Sample(s["told"], tuple(s["files"])) for s in told["samples"]),
    )


def _record(env: Environment, dataset: Dataset) -> Path:
    return env.state / "duplicates" / f"{dataset.table}.json"
