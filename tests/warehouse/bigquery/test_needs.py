"""What a statement needs of a table, tried without BigQuery: DuckDB stands for its storage too."""

import datetime as dt
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from google.cloud.bigquery import SchemaField
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caudal.warehouse.bigquery.duckdb_types import known_types, selected
from caudal.warehouse.bigquery.needs import Need, named_in, needs

FIELDS = {
    name: SchemaField(name, kind)
    for name, kind in {
        "id": "INTEGER",
        "share": "FLOAT",
        "price": "NUMERIC",
        "city": "STRING",
        "open": "BOOLEAN",
        "day": "DATE",
        "at": "DATETIME",
        "seen": "TIMESTAMP",
    }.items()
} | {"tags": SchemaField("tags", "STRING", mode="REPEATED")}
OTHERS = {"id": SchemaField("id", "INTEGER"), "name": SchemaField("name", "STRING")}
TABLES = {"marts.sales": FIELDS, "marts.shops": OTHERS}


def relation_of(schema: str, name: str) -> str | None:
    found = f"{schema or 'marts'}.{name}".lower()
    return found if found in TABLES else None


def need(sql: str, relation: str = "marts.sales") -> Need:
    return needs(sql, TABLES, relation_of)[relation]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT city FROM sales", ("city",)),
        ('SELECT "CITY", sum(Price) FROM marts.sales GROUP BY ALL', ("price", "city")),
        ("SELECT count(*) FROM sales", ()),
        ("SELECT count(*) FROM sales WHERE share > 1", ("share",)),
        ("SELECT * FROM sales", tuple(FIELDS)),
        ("FROM sales", tuple(FIELDS)),
        ("SELECT s.* EXCLUDE (city) FROM sales s", tuple(FIELDS)),
        ("SELECT COLUMNS('c.*') FROM sales", tuple(FIELDS)),
        ("SELECT s FROM sales s", tuple(FIELDS)),
        ("SELECT a FROM sales AS s(a, b)", tuple(FIELDS)),
        ("SELECT * FROM (SELECT id, city FROM sales)", ("id", "city")),
        ("WITH sold AS (SELECT id, price FROM sales) SELECT * FROM sold", ("id", "price")),
        ("SELECT n FROM (SELECT id AS n FROM sales ORDER BY day)", ("id", "day")),
        ("SUMMARIZE sales", tuple(FIELDS)),
        ("SELECT shops.name FROM shops NATURAL JOIN sales", tuple(FIELDS)),
        ("SELECT name FROM shops JOIN sales USING (id)", ("id",)),
        ("SELECT shops.* FROM shops, sales WHERE sales.id = shops.id", tuple(FIELDS)),
        ("PIVOT sales ON city USING sum(price)", tuple(FIELDS)),
        ("SELECT id FROM sales UNION SELECT id FROM (FROM sales)", tuple(FIELDS)),
        ("SELECT 1 FROM shops WHERE EXISTS (SELECT 1 FROM sales WHERE sales.id = shops.id)", ("id",)),
        ("SELECT not a query ( FROM sales", tuple(FIELDS)),
    ],
)
def test_of_a_table_come_the_columns_that_a_statement_can_mean(sql: str, columns: tuple[str, ...]) -> None:
    assert need(sql).columns == columns


def test_a_star_of_one_table_does_not_bring_all_columns_of_a_table_in_another_query() -> None:
    sql = "SELECT * FROM shops WHERE id IN (SELECT id FROM sales WHERE open)"
    assert need(sql).columns == ("id", "open")
    assert need(sql, "marts.shops").columns == ("id", "name")


@pytest.mark.parametrize("sql", ["DESCRIBE sales", "DESCRIBE SELECT * FROM sales", "SELECT column_name FROM (DESCRIBE sales)"])
def test_types_alone_need_no_rows(sql: str) -> None:
    assert not need(sql).rows


@pytest.mark.parametrize(
    ("condition", "restriction"),
    [
        ("id = 5", "(`id` = 5)"),
        ("5 < id AND (city <> 'a''b')", "(`id` > 5) AND (`city` != 'a\\'b')"),
        ("day >= DATE '2024-02-29' AND day < '2024-03-01'", "(`day` >= DATE '2024-02-29') AND (`day` < DATE '2024-03-01')"),
        (
            "at BETWEEN '2024-01-01' AND TIMESTAMP '2024-01-02 03:04:05'",
            "(`at` >= DATETIME '2024-01-01 00:00:00' AND `at` <= DATETIME '2024-01-02 03:04:05')",
        ),
        ("seen > '2024-01-01 00:00:00+02:00'", "(`seen` > TIMESTAMP '2024-01-01 00:00:00+02:00')"),
        ("city IN ('a', 'b') AND city IS NOT NULL", "(`city` IN ('a', 'b')) AND (`city` IS NOT NULL)"),
        ("price <= -1.50", "(`price` <= NUMERIC '-1.50')"),
        ("open = true", "(`open` = TRUE)"),
        ("s.id = 1", "(`id` = 1)"),
    ],
)
def test_simple_conditions_are_handed_over(condition: str, restriction: str) -> None:
    assert need(f"SELECT id FROM sales s WHERE {condition}").restriction == restriction


@pytest.mark.parametrize(
    "condition",
    [
        "id = 5 OR city = 'a'",
        "share > 1",  # NaN is more than any number in DuckDB, and comparable with none in BigQuery.
        "seen > '2024-01-01'",  # Which moment that is depends on the connection's time zone.
        "day = '2024-1-1'",
        "at > DATE '2024-01-01 10:00:00'",
        "id = 5.0",
        "id = '5'",
        "lower(city) = 'a'",
        "tags IS NULL",  # BigQuery stores no array as an empty one.
        "city = 'a\nb'",
        "NOT id = 5",
        "id = (SELECT max(id) FROM shops)",
    ],
)
def test_a_condition_that_may_mean_something_else_there_stays_here(condition: str) -> None:
    assert need(f"SELECT id FROM sales WHERE {condition}").restriction == ""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM shops LEFT JOIN sales USING (id) WHERE sales.day IS NULL",
        "SELECT 1 FROM sales WHERE id = 1 UNION ALL SELECT 2 FROM sales WHERE id = 2",
        "SELECT id FROM sales USING SAMPLE 5 ROWS WHERE id = 1",
        "SELECT id FROM sales TABLESAMPLE reservoir(5 ROWS) WHERE id = 1",
        "WITH sales AS (SELECT 1 AS id) SELECT id FROM sales WHERE id = 1",
        "SELECT b FROM sales AS s(a, id) WHERE id = 1",
    ],
)
def test_a_condition_is_only_handed_over_of_a_query_that_reads_one_table_once(sql: str) -> None:
    assert need(sql).restriction == ""


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        ("SELECT * FROM sales LIMIT 5", 5),
        ("SELECT left(CAST(city AS VARCHAR), 60) FROM sales LIMIT 5", 5),
        ("SELECT * FROM sales WHERE id > 1 LIMIT 5", None),
        ("SELECT city FROM sales ORDER BY 1 LIMIT 5", None),
        ("SELECT DISTINCT city FROM sales LIMIT 5", None),
        ("SELECT count(*) FROM sales LIMIT 5", None),
        ("SELECT approx_top_k(city, 3) FROM sales LIMIT 5", None),
        ("SELECT unnest(tags) FROM sales LIMIT 5", None),
        ("SELECT id, row_number() OVER () FROM sales LIMIT 5", None),
        ("SELECT id FROM sales LIMIT 5 OFFSET 10", None),
        ("SELECT id FROM sales LIMIT 5 PERCENT", None),
        ("SELECT (SELECT max(id) FROM shops) FROM sales LIMIT 5", None),
        ("SELECT * FROM (SELECT id FROM sales LIMIT 5)", None),
    ],
)
def test_no_more_rows_come_than_a_plain_limit_takes(sql: str, limit: int | None) -> None:
    assert need(sql).limit == limit


def test_names_are_told_as_a_statement_means_them() -> None:
    sql = 'WITH a AS (FROM marts.sales) SELECT * FROM a, "x.y", raw.pos__lines WHERE i IN (SELECT 1 FROM shops)'
    with duckdb.connect() as empty:
        assert named_in(sql, empty) == [("", "shops"), ("", "x.y"), ("marts", "sales"), ("raw", "pos__lines")]


COLUMNS = {
    "id": (pa.int64(), st.integers(-3, 3), ["0", "-2", "1.5", "'1'"]),
    "share": (pa.float64(), st.sampled_from([0.0, -0.0, 1.0, 0.1, float("nan"), float("inf")]), ["1", "0", "0.1", "'nan'::DOUBLE"]),
    "price": (pa.decimal128(38, 9), st.decimals(-2, 2, places=2), ["1.50", "-1", "0.001"]),
    "city": (pa.string(), st.sampled_from(["", "a", "A", "ä", "b'", "\\"]), ["'a'", "'b'''", "'\\'", "''"]),
    "open": (pa.bool_(), st.booleans(), ["true", "false"]),
    "day": (pa.date32(), st.sampled_from([dt.date(2024, 2, 29), dt.date(2024, 3, 1), dt.date(1, 1, 1)]),
            ["'2024-02-29'", "DATE '2024-03-01'", "TIMESTAMP '2024-02-29 12:00:00'"]),
    "at": (pa.timestamp("us"), st.sampled_from([dt.datetime.fromisoformat("2024-01-01"), dt.datetime.fromisoformat("2024-01-01 00:00:00.000001")]),
           ["'2024-01-01'", "TIMESTAMP '2024-01-01 00:00:00.000001'", "DATE '2024-01-01'"]),
    "seen": (pa.timestamp("us", "UTC"), st.sampled_from([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2023, 12, 31, 22, 30, tzinfo=dt.UTC)]),
             ["'2024-01-01 00:00:00+02:00'", "'2024-01-01'", "TIMESTAMPTZ '2024-01-01 00:00:00+00:00'"]),
    "tags": (pa.list_(pa.string()), st.lists(st.sampled_from(["x", "y"]), max_size=2), ["['x']"]),
}  # fmt: skip
SCHEMA = pa.schema([(name, kind) for name, (kind, _, _) in COLUMNS.items()])
rows = st.lists(st.fixed_dictionaries({n: st.none() | v for n, (_, v, _) in COLUMNS.items()}), max_size=8)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    def one() -> str:
        name = draw(st.sampled_from(list(COLUMNS)))
        values = COLUMNS[name][2]
        shape = draw(st.sampled_from(["compare", "compare", "mirror", "between", "in", "null", "not null"]))
        value, other = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        sign = draw(st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="]))
        return {
            "compare": f"{name} {sign} {value}",
            "mirror": f"{value} {sign} sales.{name}",
            "between": f"{name} BETWEEN {value} AND {other}",
            "in": f"{name} IN ({value}, {other})",
            "null": f"{name} IS NULL",
            "not null": f"{name} IS NOT NULL",
        }[shape]

    parts = [one() for _ in range(draw(st.integers(1, 3)))]
    return draw(st.sampled_from([" AND ", " OR "])).join(parts)


@settings(max_examples=80, deadline=None)
@given(rows, conditions(), st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=3, unique=True))
@example([dict.fromkeys(COLUMNS) | {"share": float("nan")}], "share > 1", ["id"])
@example([], "'2024-01-01' = sales.at", ["id"])
def test_on_what_is_brought_a_statement_says_what_it_says_on_the_whole_table(
    given_rows: list, condition: str, shown: list
) -> None:
    table = pa.Table.from_pylist(given_rows, SCHEMA)
    sql = f"SELECT {', '.join(shown)}, count(*) FROM sales WHERE {condition} GROUP BY ALL ORDER BY ALL"
    found = need(sql)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        try:
            whole = connection.register("sales", table).execute(sql).fetchall()
        except duckdb.Error:
            return  # It is wrong on either side.
        where = sqlglot.transpile(f"SELECT {found.restriction or 'TRUE'}", read="bigquery", write="duckdb")[0][7:]
        columns = ", ".join(f'"{name}"' for name in found.columns)
        stored = connection.register("stored", table).sql(f"SELECT {columns} FROM stored WHERE {where}")
        brought = stored.project(selected(known_types(FIELDS.values()), found.columns)).to_arrow_table()
        assert repr(connection.register("sales", brought).execute(sql).fetchall()) == repr(whole)


def test_decimals_are_compared_exactly() -> None:
    assert need("SELECT id FROM sales WHERE price = 0.1").restriction == f"(`price` = NUMERIC '{Decimal('0.1')}')"
