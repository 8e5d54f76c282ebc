"""A published warehouse with forecasts and two tables that applications look rows up in."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from caudal.environment import Environment
from caudal.warehouse.candidate import publish_tables

LISTED_AT = dt.datetime.fromisoformat("2024-01-02T03:04:05")
MADE_AT = dt.datetime(2024, 6, 1, 5, 30, tzinfo=dt.UTC)


def forecast_rows(series: list[str], days: int = 3, version: str = "demand/1") -> pa.Table:
    """`days` days of each series from 2024-06-01, valued 1.5, 2.5, ..."""
    dates = [dt.date(2024, 6, 1) + dt.timedelta(day) for day in range(days)]
    count = len(series) * days
    return pa.table(
        {
            "series": [name for name in series for _ in dates],
            "date": pa.array(dates * len(series), pa.date32()),
            "value": [day + 1.5 for _ in series for day in range(days)],
            "lower": [day + 0.5 for _ in series for day in range(days)],
            "upper": [float("inf") if day == 0 else day + 2.5 for _ in series for day in range(days)],
            "model_version": [version] * count,
            "made_at": pa.array([MADE_AT] * count, pa.timestamp("us", "UTC")),
        }
    )


def product_rows() -> pa.Table:
    """Keys and prices that a float cannot hold, names that must be escaped, a weight that JSON cannot say."""
    return pa.table(
        {
            "product_id": pa.array([9007199254740993 + number for number in range(5)], pa.int64()),
            "price": pa.array([Decimal("1234567890123.10")] * 5, pa.decimal128(18, 2)),
            "brand": pa.array(['Crème "1"', None, "", "b", "c"], pa.string()),
            "weight": [float("nan"), 0.1, 0.1, 0.1, 0.1],
            "listed_at": pa.array([LISTED_AT] * 5, pa.timestamp("us")),
        }
    )


def publish_shop(env: Environment, series: list[str] | None = None, days: int = 3, version: str = "demand/1") -> None:
    """Publish forecasts of the given series, the products and the households."""
    households = pa.table({"name": ["Ann Lee", "O'Neil/Smith", "Zoë"], "children": [0, 2, 1]})
    publish_tables(
        env,
        {
            "predictions.demand": forecast_rows(series or ["COUPON/STORE", "DRUG GM", "MEAT-PCKGD"], days, version),
            "marts.dim_product": product_rows(),
            "marts.dim_household": households,
        },
    )


@pytest.fixture
def publish(env: Environment) -> Callable[..., None]:
    """Publish it in the environment of the test."""
    return partial(publish_shop, env)


@pytest.fixture
def versions(env: Environment) -> Callable[[], list[str]]:
    """The files of the online store's versions."""
    return lambda: sorted(path.name for path in Path(env.online / "versions").iterdir())
