"""A dbt project of its own for each test, and what it takes to run it: a database with a raw table."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from caudal.transform.manifest import Manifest, read_manifest
from caudal.transform.project import Project, prepare_manifest

STALL = Path(__file__).with_name("stall")

#: sale_id, customer_id, amount, is_paid
SALES = "(1, 7, 10.50, true), (2, 8, 4.00, true), (3, 8, 1.25, false)"


@pytest.fixture
def stall(tmp_path: Path) -> Path:
    """The folder of a dbt project, free to be changed."""
    return shutil.copytree(STALL, tmp_path / "stall")


@pytest.fixture(scope="session")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as it is, parsed once for all tests."""
    root = tmp_path_factory.mktemp("unchanged")
    project = Project(shutil.copytree(STALL, root / "stall"), root / "state")
    prepare_manifest(project)
    return project


@pytest.fixture(scope="session")
def manifest(unchanged: Project) -> Manifest:
    return read_manifest(prepare_manifest(unchanged))


@pytest.fixture
def warehouse(tmp_path: Path) -> Callable[..., Path]:
    """Make `warehouse.duckdb` with `raw.pos__sales`, whose rows are `values`."""

    def make(values: str = SALES) -> Path:
        database = tmp_path / "warehouse.duckdb"
        with duckdb.connect(str(database)) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
            connection.execute(
                "CREATE OR REPLACE TABLE raw.pos__sales AS "
                "SELECT sale_id::BIGINT AS sale_id, customer_id::BIGINT AS customer_id, amount::DECIMAL(10,2) AS amount, is_paid "
                f"FROM (VALUES {values}) AS t(sale_id, customer_id, amount, is_paid)"
            )
        return database

    return make


@pytest.fixture
def query() -> Callable[..., list[tuple]]:
    """Rows of a query on a database file; it opens only if nobody holds the file's lock."""

    def ask(database: Path, sql: str) -> list[tuple]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute(sql).fetchall()

    return ask
