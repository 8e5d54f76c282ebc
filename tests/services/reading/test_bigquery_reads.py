"""What statements on tables published in BigQuery bring, of which version, and how values arrive."""

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from caudal.contracts import Column, read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.warehouse import published, query, shell
from caudal.warehouse.bigquery import moment, versions
from caudal.warehouse.bigquery.explained import BigQueryUnreachable
from caudal.warehouse.bigquery.raw_tables import BigQueryRawTables
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.raw_views import newest_raw
from caudal.warehouse.versions import Relation
from tests.conftest import SALES_CONTRACT
from tests.services.reading.company import SALES, Company, reads


def test_where_nothing_is_published_a_reader_is_told_where_it_was_looked_for(env: Environment) -> None:
    with pytest.raises(published.NothingPublished, match=r"_caudal\.published does not exist or is empty.*CAUDAL_GCP_PROJECT"):
        published.connect(env)


def test_a_statement_brings_the_columns_and_rows_that_it_names_once(company: Company) -> None:
    company.make("marts.sales", SALES.format(rows=1000))
    company.publish("v1")
    sql = "SELECT count(*), min(id), max(id) FROM sales WHERE id > 900 AND city = 'city 1'"
    with company.connect() as connection:
        assert connection.execute(sql).fetchall() == [(10, 901, 991)]
        assert connection.execute(sql).fetchall() == [(10, 901, 991)]
        (read,) = reads(connection, "marts.sales")
        assert (read.need.columns, read.brought.rows) == (("id", "city"), 10)
        assert connection.execute("SELECT count(*) FROM marts.SALES").fetchone() == (1000,)
        assert reads(connection, "marts.sales")[1].need.columns == ("day",)  # The smallest will do.
        narrow, all_days = (read.brought.bytes for read in reads(connection, "marts.sales"))
        assert 0 < narrow < all_days < 1000 * 4 * 8
        assert connection.execute("SELECT version FROM caudal.published").fetchone() == ("v1",)


def test_types_are_told_without_reading_a_row(company: Company) -> None:
    company.make("marts.sales", SALES.format(rows=5))
    company.publish("v1")
    with company.connect() as connection:
        described = connection.execute("DESCRIBE marts.sales").fetchall()
        assert [row[:2] for row in described] == [
            ("id", "BIGINT"),
            ("city", "VARCHAR"),
            ("day", "DATE"),
            ("price", "DECIMAL(38,9)"),
        ]
        listed = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_columns() WHERE column_name = 'price'"
        ).fetchall()
        assert listed == [("marts", "sales")]
        assert not reads(connection, "marts.sales")
        with pytest.raises(duckdb.CatalogException, match="sails does not exist"):
            connection.execute("SELECT * FROM sails")


def test_a_reader_sees_one_version_whatever_is_published_meanwhile(company: Company) -> None:
    company.make("marts.a", "SELECT 1 AS n")
    company.make("marts.b", "SELECT 1 AS n")
    company.publish("v1")
    with company.connect() as connection:
        assert connection.execute("SELECT n FROM a").fetchall() == [(1,)]
        for name in ("a", "b"):
            company.make(f"marts.{name}", "SELECT 2 AS n")
        company.publish("v2")
        assert connection.execute("SELECT a.n, b.n FROM a, b").fetchall() == [(1, 1)]
    with company.connect() as connection:
        assert connection.execute("SELECT a.n, b.n FROM a, b").fetchall() == [(2, 2)]
        assert connection.execute("SELECT version FROM caudal.published").fetchall() == [("v2",)]


def test_what_was_published_beyond_time_travel_is_read_from_its_snapshots_while_another_is_being_shown(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "CLOCKS", dt.timedelta())
    company.make("marts.a", "SELECT 1 AS n")
    company.service.query(f"CREATE SNAPSHOT TABLE `{company.cloud.project}.{company.cloud.dataset('versions')}.marts__a__v1` "
                          f"CLONE `{company.cloud.table('marts.a')}`")  # fmt: skip
    company.publish("v1", {"marts.a": Relation("TABLE", 1, "v1", "", {})}, ago=dt.timedelta(days=9))
    company.make("marts.a", "SELECT 2 AS n")
    assert published.read_arrow(company.env, "SELECT n FROM a").to_pylist() == [{"n": 2}]
    company.service.query(f"INSERT INTO `{versions.publishing(company.cloud)}` (version) VALUES ('v2')")
    assert published.read_arrow(company.env, "SELECT n FROM a").to_pylist() == [{"n": 1}]


def test_a_view_is_asked_for_what_is_needed_and_only_while_its_version_is_the_newest(company: Company) -> None:
    company.make("marts.sales", SALES.format(rows=100))
    company.make("staging.sold", f"SELECT id, city FROM `{company.cloud.table('marts.sales')}`", kind="VIEW")
    company.publish("v1")
    with company.connect() as connection:
        assert connection.execute("SELECT sum(id) FROM sold WHERE id <= 3").fetchall() == [(6,)]
        (read,) = reads(connection, "staging.sold")
        assert (read.need.columns, read.brought.rows) == (("id",), 3)
        company.publish("v2")
        with pytest.raises(BigQueryUnreachable, match="version v2 was published while version v1 was read"):
            connection.execute("SELECT count(city) FROM sold")


# Sizes of decimals within arrays and structs are those of a type without sizes: the server of the tests does not tell others.
TYPES: list[tuple[Column, str, Any]] = [
    (Column("c", "string"), "'ä'", "ä"),
    (Column("c", "integer"), "-9223372036854775808", -(2**63)),
    (Column("c", "number"), "0.1", 0.1),
    (Column("c", "number", precision=12, scale=2), "NUMERIC '1234567890.12'", Decimal("1234567890.12")),
    (Column("c", "number", precision=38, scale=20), "BIGNUMERIC '0.00000000000000000001'", Decimal("1E-20")),
    (Column("c", "boolean"), "TRUE", True),
    (Column("c", "date"), "DATE '0001-01-01'", dt.date(1, 1, 1)),
    (Column("c", "timestamp"), "DATETIME '2024-02-29 23:59:59.999999'", dt.datetime.fromisoformat("2024-02-29 23:59:59.999999")),
    (Column("c", "timestamp", timezone=True), "TIMESTAMP '2024-02-29 23:59:59+00'", dt.datetime(2024, 2, 29, 23, 59, 59, tzinfo=dt.UTC)),
    (Column("c", "time"), "TIME '23:59:59.000001'", dt.time(23, 59, 59, 1)),
    (Column("c", "object"), "JSON '{\"a\":1}'", '{"a":1}'),
    (Column("c", "array"), "JSON '[1,2]'", "[1,2]"),
    (Column("c", "array", items=Column("", "integer")), "[1, 2]", [1, 2]),
    (Column("c", "array", items=Column("", "number", precision=38, scale=9)), "[NUMERIC '1.5']", [Decimal("1.50")]),
    (
        Column("c", "object", fields=(Column("x", "date"), Column("y y", "number", precision=38, scale=18))),
        "STRUCT(DATE '2024-01-01', BIGNUMERIC '1.5')",
        {"x": dt.date(2024, 1, 1), "y y": Decimal("1.5")},
    ),
    (
        Column("c", "array", items=Column("", "object", fields=(Column("x", "string"),))),
        "[STRUCT('a'), STRUCT(CAST(NULL AS STRING))]",
        [{"x": "a"}, {"x": None}],
    ),
]  # fmt: skip


def test_each_type_of_a_contract_is_read_as_the_local_engine_has_it(company: Company) -> None:
    named = [(f"c{place}", *each) for place, each in enumerate(TYPES)]
    columns = ", ".join(f"`{name}` {column.bigquery_type}" for name, column, _, _ in named)
    versions.make_dataset(company.service, company.cloud.dataset("marts"))
    table = company.cloud.table("marts.types")
    company.service.query(f"CREATE TABLE `{table}` ({columns})")
    company.service.query(f"INSERT INTO `{table}` SELECT {', '.join(literal for _, _, literal, _ in named)}")
    company.publish("v1")
    with company.connect() as connection, duckdb.connect() as local:
        local.execute("SET TimeZone = 'UTC'")
        local.execute(f"CREATE TABLE types ({', '.join(f'{name} {column.duckdb_type}' for name, column, _, _ in named)})")
        local.execute(f"INSERT INTO types VALUES ({', '.join('?' * len(named))})", [value for _, _, _, value in named])
        assert connection.execute("DESCRIBE types").fetchall() == local.execute("DESCRIBE types").fetchall()
        assert connection.execute("SELECT * FROM types").fetchall() == local.execute("SELECT * FROM types").fetchall()
    (batch,) = published.arrow_batches(company.env, "marts.types")
    with duckdb.connect() as local:
        local.execute("SET TimeZone = 'UTC'")
        local.execute(f"CREATE TABLE types ({', '.join(f'{name} {column.duckdb_type}' for name, column, _, _ in named)})")
        assert batch.schema == local.execute("SELECT * FROM types").to_arrow_table().schema


def test_a_table_that_wants_its_partition_named_is_read_whole_where_that_is_meant(company: Company) -> None:
    options = "PARTITION BY day OPTIONS (require_partition_filter = TRUE)"
    company.make("marts.sales", SALES.format(rows=100), options=options)
    company.publish("v1")
    with company.connect() as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT city) FROM sales").fetchall() == [(100, 10)]
        assert connection.execute("SELECT count(*) FROM sales WHERE day < '2024-01-03'").fetchall() == [(2,)]
        assert reads(connection, "marts.sales")[-1].brought.rows in (2, 100)


def test_a_typed_query_is_run_by_bigquery_and_its_cost_said_first(company: Company, capsys: pytest.CaptureFixture) -> None:
    company.make("marts.sales", SALES.format(rows=100))
    company.publish("v1")
    out = io.BytesIO()
    sql = "SELECT city, COUNTIF(id > 50) AS many FROM sales GROUP BY city ORDER BY city LIMIT 2"
    assert query.run(company.env, sql, "csv", out) == 2
    assert out.getvalue().decode().splitlines() == ['"city","many"', '"city 0",5', '"city 1",5']
    assert "It reads" in capsys.readouterr().err
    for wrong, words in (
        ("DELETE FROM sales WHERE TRUE", "read-only"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("FRO", "query"),
    ):
        with pytest.raises(query.RefusedQuery, match=words):
            query.run(company.env, wrong, "csv", out)
    with pytest.raises(query.RefusedQuery, match="Give one query"):
        shell.Shell(company.env)


def test_before_anything_is_published_raw_is_read_as_it_was_loaded_last(company: Company, tmp_path: Path) -> None:
    contract = tmp_path / "sales.odcs.yaml"
    contract.write_text(SALES_CONTRACT)
    dataset = Dataset(source="stall", name="sales", format="csv", path="*.csv", contract=read_contract(contract))
    with newest_raw(company.env, dataset) as (connection, version):
        assert version == "raw None"
        assert connection.execute("SELECT count(*), count(units) FROM raw.stall__sales").fetchall() == [(0, 0)]
    company.make("loading.stall__sales", "SELECT 'apple' AS item, 3 AS units")
    with newest_raw(company.env, dataset) as (connection, version):
        published.bring(connection, "raw.stall__sales")
        assert connection.execute("SELECT item, units FROM stall__sales").fetchall() == [("apple", 3)]
        assert version == f"raw {BigQueryRawTables(company.cloud).version('raw.stall__sales')}"
    out = io.BytesIO()
    assert query.run(company.env, "SELECT item, units FROM raw.stall__sales", "csv", out) == 1
    company.publish("v1")
    with pytest.raises(query.RefusedQuery, match="not found"):
        query.run(company.env, "SELECT item, units FROM raw.stall__sales", "csv", out)


def test_the_moment_is_read_without_a_job(company: Company) -> None:
    company.publish("v1")
    service = BigQuery(company.cloud)
    found = moment.published_moment(service)
    assert found is not None
    assert (found.version, service.done) == ("v1", [])
