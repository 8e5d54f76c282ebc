"""Normalizing CSV, JSON lines and Parquet of 1 GB, against a hand-typed COPY by DuckDB.

The peer does what a person would type who knows the columns: read the file with declared types, write Parquet. Ours also knows
the file and the line of each row, refuses what is not exactly of its type and tells why, and counts.
"""

from __future__ import annotations

import datetime as dt
import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.frame import Comparison, Options, Side

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset

ROWS = 11_500_000

#: The columns: as the contract declares them, as DuckDB's types, and how they are made from the number of the row.
COLUMNS = (
    ("id", "integer", "BIGINT", "range::BIGINT"),
    ("household", "integer", "BIGINT", "(range * 7919) % 2500"),
    ("store", "integer", "BIGINT", "(range * 31) % 457"),
    ("at", "timestamp", "TIMESTAMP", "TIMESTAMP '2017-01-01 00:00:00' + INTERVAL (range % 31536000) SECOND"),
    ("day", "date", "DATE", "DATE '2017-01-01' + ((range % 365)::INT)"),
    ("product", "string", "VARCHAR", "'product ' || ((range * 104729) % 92000)"),
    ("units", "integer", "BIGINT", "(range * 13) % 7 + 1"),
    ("amount", "number", "DECIMAL(18,2)", "CAST(((range * 17) % 5000) / 100.0 AS DECIMAL(18,2))"),
    ("weight", "number", "DOUBLE", "((range * 17) % 997) / 7.0"),
    ("colour", "string", "VARCHAR", "CASE WHEN range % 10 = 0 THEN NULL ELSE ['red', 'green', 'blue'][1 + range % 3] END"),
    ("flag", "boolean", "BOOLEAN", "range % 2 = 0"),
)


def comparisons(options: Options) -> Iterator[Comparison]:
    """One for each format."""
    for name, file_format in (("CSV", "csv"), ("JSON lines", "jsonl"), ("Parquet", "parquet")):
        file = str(made(options, file_format))
        yield Comparison(
            name,
            ours=Side("bench.normalize:normalizing", file, file_format),
            against=Side("bench.normalize:by_hand", file, file_format),
            against_name="DuckDB's COPY",
            at_most=1.3,
            memory_mib=1024,
        )


def made(options: Options, file_format: str) -> Path:
    """The file, made if it is not there."""
    import duckdb

    rows = int(ROWS * options.scale)
    file = options.cache / f"rows-{rows}.{file_format}"
    if not file.exists():
        columns = ", ".join(f"{made} AS {name}" for name, _, _, made in COLUMNS)
        wanted = {"csv": "FORMAT csv, HEADER", "jsonl": "FORMAT json", "parquet": "FORMAT parquet"}[file_format]
        unfinished = file.with_suffix(".unfinished")
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT {columns} FROM range({rows})) TO '{unfinished}' ({wanted})")
        unfinished.rename(file)
    return file


def by_hand(file: str, file_format: str) -> Callable[[], object]:
    """What a person would type."""
    import duckdb

    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, _, kind, _ in COLUMNS) + "}"
    rows = {
        "csv": f"read_csv('{file}', columns = {columns}, header = true)",
        "jsonl": f"read_json('{file}', columns = {columns}, format = 'newline_delimited')",
        "parquet": f"read_parquet('{file}')",
    }[file_format]
    connection = duckdb.connect(config={"memory_limit": "2GB"})

    def copy() -> None:
        with tempfile.TemporaryDirectory(dir=Path(file).parent) as work:
            connection.execute(f"COPY (SELECT * FROM {rows}) TO '{work}/rows.parquet' (FORMAT parquet)")

    return copy


def normalizing(file: str, file_format: str) -> Callable[[], object]:
    """Ours."""
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401 - imports are not what is measured

    from caudal.environment import Environment
    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import normalize

    work = Path(tempfile.mkdtemp(dir=Path(file).parent))
    declared = dataset(file_format, work)
    connection = connect_memory(Environment("local", "shop", work, work))
    importlib.import_module(f"caudal.lake.readers.{file_format}")

    def normalized() -> None:
        result = normalize(
            connection, declared, Path(file), path="bench/rows/rows", version="1", loaded_at=dt.datetime.now(dt.UTC), into=work
        )
        assert result.files[0].rows_rejected == 0
        shutil.rmtree(work)

    return normalized


def dataset(file_format: str, folder: Path) -> Dataset:
    """The dataset of these columns, its contract written into `folder`."""
    import json

    from caudal.contracts import read_contract
    from caudal.lake.dataset import Dataset

    properties = [
        {"name": name, "logicalType": logical} | ({"physicalType": physical} if logical == "number" else {})
        for name, logical, physical, _ in COLUMNS
    ]
    contract = folder / "rows.odcs.yaml"
    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "rows", "version": "1.0.0", "status": "active"}
    contract.write_text(json.dumps(document | {"schema": [{"name": "rows", "properties": properties}]}))
    return Dataset("bench", "rows", file_format, read_contract(contract))
