"""A small published shop, and the picture behind an embedded image."""

import base64
import datetime as dt
import io
import re
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pytest
from PIL import Image

from caudal.environment import Environment
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import PublishedTable

DAYS = 70
DAILY_SALES = PublishedTable(
    ("marts", "sales", "daily_sales"),
    "marts.daily_sales",
    "Sales by day and department.",
    ("team:sales",),
    (("domain", "sales"),),
)
REDEMPTIONS = PublishedTable(("marts", "marketing", "coupon_redemptions"), "marts.coupon_redemptions", "Redeemed coupons.")


def daily_sales() -> pa.Table:
    """Two departments over `DAYS` days from Sunday 2017-01-01; sales 100.00 and 10.00, twice as much on Sundays."""
    first = dt.date(2017, 1, 1)
    days = [first + dt.timedelta(days=i) for i in range(DAYS) for _ in range(2)]
    departments = ["GROCERY", "FUEL"] * DAYS
    sales = [Decimal("100.00" if d == "GROCERY" else "10.00") * (1 + (i // 2 % 7 == 0)) for i, d in enumerate(departments)]
    return pa.table(
        {
            "day": pa.array(days, pa.date32()),
            "department": pa.array(departments),
            "sales": pa.array(sales, pa.decimal128(18, 2)),
            "baskets": pa.array(range(2 * DAYS), pa.int64()),
        }
    )


def redemptions() -> pa.Table:
    """A path of five households: 1 - 2 - 3 - 4 - 5, and household 9 alone."""
    pairs = [(1, 12), (2, 12), (2, 23), (3, 23), (3, 34), (4, 34), (4, 45), (5, 45), (9, 99), (1, 12)]
    return pa.table({"household_id": [h for h, _ in pairs], "coupon_upc": [c for _, c in pairs]})


@pytest.fixture
def tables() -> list[PublishedTable]:
    """The two marts that `published` publishes."""
    return [DAILY_SALES, REDEMPTIONS]


@pytest.fixture
def published(env: Environment) -> Environment:
    """An environment in which two marts are published."""
    publish_tables(env, {DAILY_SALES.relation: daily_sales(), REDEMPTIONS.relation: redemptions()})
    return env


@pytest.fixture
def pictures() -> Callable[[str], list[Image.Image]]:
    """The images that are embedded in a Markdown text."""

    def find(text: str) -> list[Image.Image]:
        encoded = re.findall(r"!\[[^\]]*\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
        return [Image.open(io.BytesIO(base64.b64decode(e))) for e in encoded]

    return find
