"""The reference company's systems as they land, and the raw tables that their contracts promise."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from caudal.contracts import LINEAGE_COLUMNS, Contract, read_contract
from shop.completejourney import QuickstartMissing, installed
from shop.quickstart import land

if TYPE_CHECKING:
    import duckdb

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    "pos__transactions": "sales/contracts/transactions",
    "pos__redemptions": "marketing/contracts/redemptions",
    "product_db__products": "products/contracts/products",
    "product_db__households": "customers/contracts/households",
    "product_db__campaigns": "marketing/contracts/campaigns",
    "product_db__campaign_households": "marketing/contracts/campaign_households",
    "product_db__coupons": "marketing/contracts/coupons",
    "finance__weekly_close": "finance/contracts/weekly_close",
}

RegisterLanded = Callable[["duckdb.DuckDBPyConnection", Path], None]
LoadRaw = Callable[[Path, Path | None], None]


@pytest.fixture(scope="session")
def needs_quickstart() -> None:
    try:
        installed()
    except QuickstartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    """Every dataset's contract, by the name of its raw table."""
    defs = ROOT / "platform" / "shop" / "defs"
    return {table: read_contract(defs / f"{path}.odcs.yaml") for table, path in CONTRACTS.items()}


@pytest.fixture(scope="session")
def sample_home(needs_quickstart: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The company's folder with a sample of three months and 300 households. Not to be changed."""
    home = tmp_path_factory.mktemp("sample")
    land(home, sample=True)
    return home


@pytest.fixture(scope="session")
def register_landed() -> RegisterLanded:
    """Make all that landed in a company's folder queryable by the names of the raw tables, as the files hold it."""
    return register


@pytest.fixture(scope="session")
def load_raw(contracts: dict[str, Contract]) -> LoadRaw:
    """Create a DuckDB file whose schema `raw` holds what landed, under the contracts; empty tables if there is no folder."""
    return partial(load, contracts)


def register(connection: "duckdb.DuckDBPyConnection", home: Path) -> None:
    import pandas as pd
    from openpyxl import load_workbook

    for table, reader in (("transactions", "read_parquet"), ("redemptions", "read_json")):
        files = f"{reader}('{home}/lake/pos/{table}/*')"
        connection.execute(f"create temp view pos__{table} as select * from {files}")
    with closing(sqlite3.connect(home / "sources" / "product.sqlite")) as database:
        for table in ("products", "households", "campaigns", "campaign_households", "coupons"):
            frame = pd.read_sql_query(f"select * from {table}", database)
            connection.register(f"product_db__{table}", frame)
    sheet = load_workbook(home / "lake" / "finance" / "weekly_close" / "weekly_close_2017.xlsx").worksheets[0]
    _, _, _, header, *weeks = sheet.iter_rows(values_only=True)
    connection.register("finance__weekly_close", pd.DataFrame(weeks, columns=header))


def load(contracts: dict[str, Contract], database: Path, home: Path | None) -> None:
    import duckdb

    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema raw")
        if home is not None:
            register(connection, home)
        for table, contract in contracts.items():
            types = {c.name: c.duckdb_type for c in contract.columns} | LINEAGE_COLUMNS
            columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
            connection.execute(f"create table raw.{table} ({columns})")
            if home is not None:
                connection.execute(
                    f"""
                    insert into raw.{table} by name
                    select
                        *, 'file' as _file, '1' as _version, row_number() over () as _row,
                        timestamptz '2018-01-02 00:00:00+00' as _loaded_at
                    from {table}
                    """
                )
