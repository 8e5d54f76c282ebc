"""How the oven is set, from what was sold."""

import dagster as dg


@dg.asset(key=["plans", "sales", "oven"], deps=[["marts", "sales", "daily_sales"]], owners=["team:bakers"], group_name="plans")
def oven() -> None:
    """Trays for tomorrow."""
