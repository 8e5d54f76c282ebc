"""Queries that people type get the full names of tables, and nothing else of them is changed."""

import pytest

from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.typed import with_full_names


def full(query: str) -> str:
    def relation_of(schema: str, name: str) -> str | None:
        return f"{schema or 'marts'}.{name}" if name in ("sales", "shops") else None

    return with_full_names(query, relation_of, lambda relation: f"acme.shop_{relation}")


@pytest.mark.parametrize(
    ("typed", "run"),
    [
        ("select s.x from sales s", "select s.x from `acme.shop_marts.sales` s"),
        ("SELECT  1 FROM `marts`.`sales` -- ä", "SELECT  1 FROM `acme.shop_marts.sales` -- ä"),
        ("SELECT 'sales 😀' FROM `marts.sales`", "SELECT 'sales 😀' FROM `acme.shop_marts.sales`"),
        ("WITH sales AS (SELECT 1) SELECT * FROM sales", "WITH sales AS (SELECT 1) SELECT * FROM sales"),
        ("SELECT * FROM other.my.sales, region.unknown", "SELECT * FROM other.my.sales, region.unknown"),
        (
            "SELECT (SELECT 1 FROM shops) FROM sales",
            "SELECT (SELECT 1 FROM `acme.shop_marts.shops`) FROM `acme.shop_marts.sales`",
        ),
    ],
)
def test_published_tables_are_named_in_full(typed: str, run: str) -> None:
    assert full(typed) == run


@pytest.mark.parametrize("wrong", ["SELECT 1; SELECT 2", "SELECT (", ""])
def test_what_is_not_one_query_is_refused(wrong: str) -> None:
    with pytest.raises(BigQueryRefused, match="query"):
        full(wrong)
