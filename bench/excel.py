"""Excel workbooks of 500,000 rows into typed Parquet, against pandas' default (`read_excel` with openpyxl).

The peer reads the sheet and writes what it found. Ours also knows the row of each value in the sheet, refuses what is not
exactly of its type and tells why, and counts. The goal of the comparison with 1,000,000 rows is memory.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.frame import Comparison, Options, Side

ROWS = 500_000

COLUMNS = {
    "id": "integer",
    "customer": "string",
    "product": "string",
    "city": "string",
    "units": "integer",
    "price": "DECIMAL(12,2)",
    "amount": "DECIMAL(12,2)",
    "day": "date",
    "sold_at": "timestamp",
    "paid": "boolean",
}
CITIES = ("Madrid", "London", "Lima", "Oslo", "Zürich", "Smith & Sons")


def comparisons(options: Options) -> Iterator[Comparison]:
    """Strings beside the sheet, as Excel writes them, and within it, as some libraries do; then twice the rows."""
    for name, file in (
        ("Excel, shared strings", made(options, ROWS)),
        ("Excel, inline strings", made(options, ROWS, inline=True)),
    ):
        yield Comparison(
            name,
            ours=Side("bench.excel:normalizing", str(file)),
            against=Side("bench.excel:by_pandas", str(file)),
            against_name="pandas, openpyxl",
            at_most=1 / 10,
            memory_mib=1024,
        )
    yield Comparison(
        "Excel, 1,000,000 rows",
        ours=Side("bench.excel:normalizing", str(made(options, 2 * ROWS))),
        against=Side("bench.excel:by_calamine", str(made(options, 2 * ROWS))),
        against_name="python-calamine, rows only",
        memory_mib=1024,
    )


def made(options: Options, rows: int, *, inline: bool = False) -> Path:
    """The workbook, made if it is not there; by another process, for what this one once took would count for its children."""
    rows = int(rows * options.scale)
    file = options.cache / f"rows-{rows}{'-inline' * inline}.xlsx"
    if not file.exists():
        writing = multiprocessing.get_context("spawn").Process(target=write, args=(file, rows, inline))
        writing.start()
        writing.join()
        if writing.exitcode:
            raise RuntimeError(f"{file} could not be written")
    return file


def write(file: Path, rows: int, inline: bool) -> None:
    """Write the workbook."""
    import xlsxwriter

    unfinished = file.with_suffix(".unfinished")
    chance, start = random.Random(7), dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a cell has no time zone
    with xlsxwriter.Workbook(unfinished, {"constant_memory": inline, "tmpdir": str(file.parent)}) as book:
        sheet = book.add_worksheet("rows")
        day, moment = (book.add_format({"num_format": code}) for code in ("yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"))
        sheet.write_row(0, 0, list(COLUMNS))
        for row in range(1, rows + 1):
            units, price = chance.randrange(1, 50), chance.randrange(100, 99_999) / 100
            sheet.write_number(row, 0, row)
            sheet.write_string(row, 1, f"C{chance.randrange(50_000):06}")
            sheet.write_string(row, 2, f"Product {chance.randrange(3000)}")
            sheet.write_string(row, 3, chance.choice(CITIES))
            sheet.write_number(row, 4, units)
            sheet.write_number(row, 5, price)
            sheet.write_number(row, 6, round(units * price, 2))
            sheet.write_datetime(row, 7, start + dt.timedelta(days=chance.randrange(365)), day)
            sheet.write_datetime(row, 8, start + dt.timedelta(seconds=chance.randrange(31_536_000)), moment)
            sheet.write_boolean(row, 9, chance.random() < 0.5)
    unfinished.rename(file)


def by_pandas(file: str) -> Callable[[], object]:
    """What most people type."""
    import openpyxl  # noqa: F401 - imports are not what is measured
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    def read() -> None:
        with tempfile.TemporaryDirectory(dir=Path(file).parent) as work:
            pd.read_excel(file).to_parquet(f"{work}/rows.parquet")

    return read


def by_calamine(file: str) -> Callable[[], object]:
    """The rows as Python's values, kept nowhere."""
    from python_calamine import CalamineWorkbook

    return lambda: sum(1 for _ in CalamineWorkbook.from_path(file).get_sheet_by_index(0).iter_rows())


def normalizing(file: str) -> Callable[[], object]:
    """Ours."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    from caudal.contracts import read_contract
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.readers.excel import package, reader  # noqa: F401
    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import normalize

    work = Path(tempfile.mkdtemp(dir=Path(file).parent))
    properties = [
        {"name": name, "logicalType": "number", "physicalType": kind} if "(" in kind else {"name": name, "logicalType": kind}
        for name, kind in COLUMNS.items()
    ]
    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "rows", "version": "1.0.0", "status": "active"}
    (work / "rows.odcs.yaml").write_text(json.dumps(document | {"schema": [{"name": "rows", "properties": properties}]}))
    declared = Dataset("bench", "rows", "excel", read_contract(work / "rows.odcs.yaml"))
    connection = connect_memory(Environment("local", "shop", work, work))

    def normalized() -> None:
        given = {"path": "bench/rows/rows.xlsx", "version": "1", "loaded_at": dt.datetime.now(dt.UTC), "into": work}
        result = normalize(connection, declared, Path(file), **given)
        assert result.files[0].rows_rejected == 0
        assert result.files[0].rows_loaded in {int(name) for name in Path(file).stem.split("-") if name.isdigit()}
        shutil.rmtree(work)

    return normalized
