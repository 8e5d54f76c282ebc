"""The profile of a table of 10 million rows and 20 columns, against DuckDB's own `SUMMARIZE`.

Ours is all of it: figures, top values, histograms, rows over time, correlations, keys, drift, page and report. DuckDB tells
count, nulls, distinct values (estimated), least, greatest, mean, deviation and quartiles.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.frame import Comparison, Options, Side

ROWS = 10_000_000
_TABLE = """
CREATE TABLE marts.lines AS SELECT
    range AS id, (hash(range) % 2000000)::BIGINT AS household_id, (hash(range + 1) % 40000)::INTEGER AS product_id,
    (hash(range + 2) % 500)::SMALLINT AS store_id, (hash(range + 3) % 12)::TINYINT AS quantity, random() * 100 AS sales,
    (random() * 10)::DECIMAL(10, 2) AS discount, exp(random() * 5) AS weight,
    CASE WHEN random() < 0.7 THEN random()::FLOAT END AS rating, random() * 1000 - 500 AS balance,
    (random() * 1e12)::BIGINT AS wide, 'department ' || (hash(range + 4) % 5) AS department,
    'brand ' || (hash(range + 5) % 3000) AS brand, 'note ' || md5((range % 5000000)::VARCHAR) AS note,
    ['a', 'b', NULL][1 + (hash(range + 6) % 3)::INTEGER] AS flag, 'SKU-' || (hash(range + 7) % 40000) AS sku,
    random() < 0.1 AS returned, DATE '2017-01-01' + (hash(range + 8) % 730)::INTEGER AS day,
    TIMESTAMP '2017-01-01' + to_seconds((hash(range + 9) % 63000000)::BIGINT) AS paid_at,
    timezone('UTC', TIMESTAMP '2017-01-01' + to_seconds((hash(range + 10) % 63000000)::BIGINT)) AS loaded_at
FROM range({rows})
"""


def comparisons(options: Options) -> Iterator[Comparison]:
    """The first profile of the table, and one that is compared with the first."""
    table = str(_table(options.cache, round(ROWS * options.scale)))
    for name, again in (("first profile", False), ("profile compared with the one before", True)):
        yield Comparison(
            f"{name}, {ROWS // 1_000_000}M x 20",
            ours=Side("bench.profiles:ours", table, again),
            against=Side("bench.profiles:summarize", table),
            against_name="SUMMARIZE",
            at_most=1.5,
            memory_mib=2500,
        )


def ours(table: str, again: bool) -> Callable[[], object]:
    """The profile as its asset makes it, with its page and its report."""
    import duckdb

    from caudal.explore.assets import MEMORY
    from caudal.explore.document import html_report
    from caudal.explore.findings import examine
    from caudal.explore.page import table_page
    from caudal.explore.snapshot import remember, take_snapshot

    history = Path(tempfile.mkdtemp(prefix="caudal-profiles-")) / "history.json"
    connection = duckdb.connect(table, read_only=True)
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    if again:
        from caudal.explore.scan import profile_table

        few = duckdb.connect()
        few.execute(f"ATTACH '{table}' AS big (READ_ONLY)")
        few.execute("CREATE SCHEMA marts; CREATE TABLE marts.lines AS SELECT * FROM big.marts.lines LIMIT 100000")
        remember(history, [], take_snapshot(few, profile_table(few, "marts.lines"), "before", "2026-01-01 00:00"))
        few.close()

    def run() -> None:
        found = examine(connection, "marts.lines", history=history, version="now")
        assert not found.left_out
        assert table_page(found)
        assert html_report(found, "", "")

    return run


def summarize(table: str) -> Callable[[], object]:
    """What DuckDB has for it."""
    import duckdb

    connection = duckdb.connect(table, read_only=True)
    return lambda: connection.execute("SUMMARIZE marts.lines").fetchall()


def _table(cache: Path, rows: int) -> Path:
    import duckdb

    path = cache / f"profiles-{rows}.duckdb"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with duckdb.connect(str(unfinished)) as connection:
            connection.execute("SET preserve_insertion_order = false; CREATE SCHEMA marts")
            connection.execute(_TABLE.format(rows=rows))
        unfinished.rename(path)
    return path
