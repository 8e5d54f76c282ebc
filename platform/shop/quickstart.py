"""The systems of the reference company, simulated from a year of real grocery retail.

The rows are those of `shop.completejourney`. Three systems come of them:

- point of sale: `lake/pos/transactions/<day>.parquet` and `lake/pos/redemptions/<month>.jsonl`;
- the product database: an SQLite file with keys, which an extraction copies into the lake;
- finance: `lake/finance/weekly_close/weekly_close_2017.xlsx`, added up from the source itself, so that the
  warehouse can be reconciled with figures that did not pass through it.

A day is the date of the recorded time. Those times are in UTC while the shops keep New York's clock, so the
last evening of the year is recorded on 2018-01-01: 365 files, none for 25 December. Done again, a file that
would not change is left as it is.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically
from shop.completejourney import SAMPLE, YEAR, Extent, installed, open_source

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SQLITE_FILE = "product.sqlite"
CLOSE_FILE = "weekly_close_2017.xlsx"

#: Week 1 begins on this Monday; in the data it has one day, Sunday 1 January 2017.
FIRST_WEEK_START = date(2016, 12, 26)

_PRODUCT_DATABASE = """
create table products (
    product_id integer primary key,
    manufacturer_id integer not null,
    department text not null,
    brand text not null,
    product_category text,
    product_type text,
    package_size text
);
create table households (
    household_id integer primary key,
    age text not null,
    income text not null,
    home_ownership text,
    marital_status text,
    household_size text not null,
    household_comp text not null,
    kids_count text not null
);
create table campaigns (
    campaign_id integer primary key,
    campaign_type text not null,
    start_date date not null,
    end_date date not null
);
create table campaign_households (
    campaign_id integer not null references campaigns,
    household_id integer not null,
    primary key (campaign_id, household_id)
) without rowid;
-- No key, no reference to products: the source repeats 4,872 rows and names 6 products that it does not list.
create table coupons (
    coupon_upc integer not null,
    product_id integer not null,
    campaign_id integer not null references campaigns
);
"""


@dataclass(frozen=True)
class Landed:
    """What one dataset holds, and how many of its files had to be written now (0 if all were there)."""

    rows: int
    files: int
    written: int


def land(home: Path, sample: bool = False) -> dict[str, Landed]:
    """Bring up all three systems below `home`, the company's folder, and return what each dataset holds.

    The keys are `source/dataset`. `sample` takes three months of 300 households; lake files of other days, if
    there are any, are left as they are.

    Raises:
        QuickstartMissing: the extra `quickstart` is not installed.
    """
    extent = SAMPLE if sample else YEAR
    return {
        "pos/transactions": land_transactions(home / "lake", extent),
        "pos/redemptions": land_redemptions(home / "lake", extent),
        **create_product_database(home / "sources" / SQLITE_FILE, extent),
        "finance/weekly_close": land_weekly_close(home / "lake", extent),
    }


def land_point_of_sale(lake: Path, extent: Extent = YEAR) -> int:
    """Land transactions and redemptions; return how many lake files they make."""
    return land_transactions(lake, extent).files + land_redemptions(lake, extent).files


def land_transactions(lake: Path, extent: Extent = YEAR) -> Landed:
    """Land one Parquet file for each day that has rows, in the source's order, money as exact decimals."""
    import pyarrow.parquet as pq

    files = rows = written = 0
    with open_source(extent) as source:
        for day, table in _by_day(source):
            encoded = io.BytesIO()
            pq.write_table(table, encoded, compression="zstd")
            written += _put(lake / "pos" / "transactions" / f"{day}.parquet", encoded.getvalue())
            files, rows = files + 1, rows + table.num_rows
    return Landed(rows, files, written)


def land_redemptions(lake: Path, extent: Extent = YEAR) -> Landed:
    """Land one file of JSON lines for each month that has rows, in the source's order."""
    months: dict[str, list[str]] = {}
    with open_source(extent) as source:
        columns = ("household_id", "coupon_upc", "campaign_id", "redemption_date")
        for row in source.execute(f"select {', '.join(columns)} from redemptions").fetchall():
            record = {**dict(zip(columns, row, strict=True)), "redemption_date": row[3].isoformat()}
            months.setdefault(f"{row[3]:%Y-%m}", []).append(json.dumps(record, separators=(",", ":")) + "\n")
    written = sum(
        _put(lake / "pos" / "redemptions" / f"{month}.jsonl", "".join(lines).encode()) for month, lines in months.items()
    )
    return Landed(sum(map(len, months.values())), len(months), written)


def create_product_database(path: Path, extent: Extent = YEAR) -> dict[str, Landed]:
    """Create the SQLite product database, and return what each of its tables holds, by `product_db/table`.

    A database that was created from the same rows is left alone, with whatever its users changed in it since.
    """
    tables = ("products", "households", "campaigns", "campaign_households", "coupons")
    written = not _is_created_from(path, extent)
    if written:
        with (
            open_source(extent) as source,
            write_atomically(path) as temporary,
            closing(sqlite3.connect(temporary)) as database,
        ):
            database.executescript("pragma journal_mode = off; pragma foreign_keys = on;" + _PRODUCT_DATABASE)
            for table in tables:
                selected = source.execute(f"select * from {table}")
                marks = ", ".join("?" * len(selected.description))
                texts = ([v.isoformat() if isinstance(v, date) else v for v in row] for row in selected.fetchall())
                database.executemany(f"insert into {table} values ({marks})", texts)
            database.execute(f"pragma user_version = {_stamp(extent)}")
            database.commit()
    with closing(sqlite3.connect(path)) as database:
        counts = {t: database.execute(f"select count(*) from {t}").fetchone()[0] for t in tables}
    return {f"product_db/{table}": Landed(rows, 1, int(written)) for table, rows in counts.items()}


def land_weekly_close(lake: Path, extent: Extent = YEAR) -> Landed:
    """Land finance's workbook: two title rows, an empty one, the header, one row for each week with sales.

    Columns: `week` (1 to 53), `week_start` (a Monday), `transactions` (rows), `baskets` (distinct), `sales`
    (USD, to the cent).
    """
    from openpyxl import Workbook

    with open_source(extent) as source:
        weeks = source.execute(
            """
            select week, count(*), count(distinct basket_id), sum(sales_value)
            from transactions group by week order by week
            """
        ).fetchall()
    workbook = Workbook()
    sheet = workbook.active
    sheet.title = "Weekly close"
    sheet.append(["Weekly close 2017"])
    sheet.append(["Amounts in USD. Weeks begin on Monday, by the shops' clock"])
    sheet.append([])
    sheet.append(["week", "week_start", "transactions", "baskets", "sales"])
    for week, transactions, baskets, sales in weeks:
        sheet.append([week, FIRST_WEEK_START + timedelta(weeks=week - 1), transactions, baskets, sales])
        sheet.cell(sheet.max_row, 2).number_format = "yyyy-mm-dd"
        sheet.cell(sheet.max_row, 5).number_format = "#,##0.00"
    sheet.column_dimensions["B"].width = sheet.column_dimensions["E"].width = 14
    saved = io.BytesIO()
    workbook.save(saved)
    written = _put(lake / "finance" / "weekly_close" / CLOSE_FILE, _without_clock(saved))
    return Landed(len(weeks), 1, int(written))


def _by_day(source: duckdb.DuckDBPyConnection) -> Iterator[tuple[date, pa.Table]]:
    """Each recorded day with its transactions, in the source's order."""
    ordered = source.sql(
        """
        select * exclude (file_row_number) from transactions
        order by cast(transaction_timestamp as date), file_row_number
        """
    ).to_arrow_table()
    days = source.sql("select cast(transaction_timestamp as date), count(*) from transactions group by 1 order by 1")
    start = 0
    for day, rows in days.fetchall():
        yield day, ordered.slice(start, rows)
        start += rows


def _put(path: Path, content: bytes) -> bool:
    """Write `content` to `path` unless it is there already; return whether it was written."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)
    return True


def _stamp(extent: Extent) -> int:
    """What tells the rows and tables that a product database was created from: its `pragma user_version`."""
    made_of = f"{installed().version} {extent} {_PRODUCT_DATABASE}"
    return zlib.crc32(made_of.encode()) & 0x7FFFFFFF


def _is_created_from(path: Path, extent: Extent) -> bool:
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("pragma user_version").fetchone()[0] == _stamp(extent)
    except sqlite3.DatabaseError:
        return False


def _without_clock(workbook: io.BytesIO) -> bytes:
    """The same workbook without the times at which it was made, so that equal cells give equal bytes."""
    made = b"2018-01-02T00:00:00Z"
    packed = io.BytesIO()
    with zipfile.ZipFile(workbook) as saved, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as timeless:
        for name in _sorted(saved.namelist()):
            content = saved.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"(<dcterms:\w+[^>]*>)[^<]*", rb"\g<1>" + made, content)
            timeless.writestr(zipfile.ZipInfo(name, (2018, 1, 2, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _sorted(names: Iterable[str]) -> list[str]:
    # [Content_Types].xml comes first: some readers tell a workbook by its first entry.
    return sorted(names, key=lambda name: (name != "[Content_Types].xml", name))
