"""Loading files into a table, against dlt's filesystem source into DuckDB.

First the same rows in each format, in ten files: ours finds, normalizes and commits them to the raw table, and the ledger knows
every file. Then one new file of a hundred rows among 10,000 that are loaded: against one among ten, and against dlt's
incremental cursor over files.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import dlt_peer
from bench.frame import Comparison, Options, Side
from bench.normalize import COLUMNS, dataset

ROWS = 100_000
FILES = 10
MANY_FILES, FEW_FILES = 10_000, 10
ROWS_OF_A_SMALL_FILE = 100

ENDINGS = {"csv": "FORMAT csv, HEADER", "jsonl": "FORMAT json", "parquet": "FORMAT parquet"}


def comparisons(options: Options) -> Iterator[Comparison]:
    """Loading all, and finding one."""
    python = dlt_peer.interpreter(options.cache)
    for name, file_format in (("CSV", "csv"), ("JSON lines", "jsonl"), ("Parquet", "parquet")):
        lake = str(files(options.cache, file_format, FILES, int(ROWS * options.scale)))
        yield Comparison(
            f"{name}, {int(ROWS * options.scale):,} rows",
            ours=Side("bench.loading:loading", lake, file_format),
            against=Side("bench.dlt_peer:loading", f"{lake}/bench/rows", file_format, python=python),
            against_name="dlt",
            at_most=1 / 20,
        )
    count = int(MANY_FILES * options.scale)
    few = str(files(options.cache, "csv", FEW_FILES, FEW_FILES * ROWS_OF_A_SMALL_FILE))
    many = str(files(options.cache, "csv", count, count * ROWS_OF_A_SMALL_FILE))
    new = Path(few, "bench/rows/00000.csv")
    for lake in (few, many):
        Side("bench.loading:loading_first", lake, "csv", f"{lake}/loaded").measure()
    in_many = Side("bench.loading:loading_more", many, "csv", f"{many}/loaded", str(new))
    yield Comparison(
        f"1 new file among {count:,}",
        ours=in_many,
        against=Side("bench.loading:loading_more", few, "csv", f"{few}/loaded", str(new)),
        against_name=f"1 among {FEW_FILES}",
        at_most=1.5,
    )
    state = Path(many, "dlt")
    if not state.exists():
        unfinished = Path(many, "dlt.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        Side("bench.dlt_peer:loading_first", f"{many}/bench/rows", "csv", str(unfinished), python=python).measure()
        unfinished.rename(state)
    yield Comparison(
        f"1 new file among {count:,}",
        ours=in_many,
        against=Side("bench.dlt_peer:loading_more", f"{many}/bench/rows", "csv", str(state), str(new), python=python),
        against_name="dlt, incremental",
        at_most=1 / 15,
    )


def files(cache: Path, file_format: str, count: int, rows: int) -> Path:
    """A lake of `rows` in so many files, made if it is not there."""
    import duckdb

    lake = cache / f"lake-{file_format}-{count}-{rows}"
    if not lake.exists():
        unfinished = lake.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "bench" / "rows").mkdir(parents=True)
        made = ", ".join(f"{expression} AS {name}" for name, _, _, expression in COLUMNS)
        each = rows // count
        with duckdb.connect() as connection:
            for n in range(count):
                target = unfinished / "bench" / "rows" / f"{n:05}.{file_format}"
                select = f"SELECT {made} FROM range({n * each}, {(n + 1) * each})"
                connection.execute(f"COPY ({select}) TO '{target}' ({ENDINGS[file_format]})")
        unfinished.rename(lake)
    return lake


def loading(lake: str, file_format: str) -> Callable[[], object]:
    """Load all files of the lake into a raw table of its own."""
    work = Path(tempfile.mkdtemp(prefix="ours-", dir=Path(lake).parent))
    return _measured(_load(lake, file_format, work), work)


def loading_first(lake: str, file_format: str, state: str) -> Callable[[], object]:
    """Load all files of the lake, and keep the raw table and the ledger in the folder `state`."""
    shutil.rmtree(state, ignore_errors=True)
    Path(state).mkdir()
    return _load(lake, file_format, Path(state))


def loading_more(lake: str, file_format: str, state: str, new: str) -> Callable[[], object]:
    """Load the file `new`, which is put into the lake beside those that `loading_first` loaded."""
    work = Path(tempfile.mkdtemp(prefix="ours-", dir=Path(lake).parent))
    shutil.copytree(state, work, dirs_exist_ok=True, symlinks=True)
    put = Path(lake, "bench", "rows", f"new.{file_format}")
    shutil.copy(new, put)
    return _measured(_load(lake, file_format, work), work, put)


def _load(lake: str, file_format: str, work: Path) -> Callable[[], int]:
    # Imports are not what is measured. Pandas is pyarrow's: it imports it for its first array.
    import deltalake  # noqa: F401
    import duckdb  # noqa: F401
    import pandas as pd  # noqa: F401
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401

    from caudal.environment import Environment
    from caudal.warehouse.loading import load_pending

    importlib.import_module(f"caudal.lake.readers.{file_format}")
    env = Environment("local", "shop", work, work)
    if not env.lake.exists():
        env.lake.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(lake, env.lake)
    declared = dataset(file_format, work)
    return lambda: load_pending(env, declared, "bench").rows_loaded


def _measured(load: Callable[[], int], work: Path, *put: Path) -> Callable[[], object]:
    def measured() -> None:
        try:
            assert load()
        finally:
            for path in (*put, work):
                path.unlink() if path.is_file() else shutil.rmtree(path)

    return measured
