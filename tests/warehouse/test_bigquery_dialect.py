"""DuckDB's SQL as GoogleSQL, without a server."""

import pytest

from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery import names
from caudal.warehouse.bigquery.authorizing import datasets_read
from caudal.warehouse.bigquery.dialect import Unknown, translated
from caudal.warehouse.bigquery.publishing import Shown, ordered, script_of

CLOUD = GoogleCloud("acme-data", "EU", "acme", "shop_")


def written(sql):
    def source(catalogue, schema, name, is_written):
        return f"p.{catalogue or 'd'}_{schema}{'_new' if is_written else ''}.{name}"

    return translated(sql, source, lambda table, column: f"{table} {column}").sql


@pytest.mark.parametrize(
    ("duckdb", "bigquery"),
    [
        ("FROM m.t", "SELECT * FROM `p`.`d_m`.`t` AS `t`"),
        ("SELECT x.a FROM m.t AS x", "SELECT x.a FROM `p`.`d_m`.`t` AS x"),
        ("SELECT a FROM last_good.m.t", "SELECT a FROM `p`.`last_good_m`.`t` AS `t`"),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM t", "WITH t AS (SELECT 1 AS a) SELECT a FROM t"),
        ("SELECT count(*) FILTER (a > 1) FROM m.t", "SELECT COUNTIF(a > 1) FROM `p`.`d_m`.`t` AS `t`"),
        ("SELECT a / b FROM m.t", "SELECT IEEE_DIVIDE(CAST(a AS FLOAT64), b) FROM `p`.`d_m`.`t` AS `t`"),
        ("SELECT typeof(a) FROM m.t", "SELECT '`p`.`d_m`.`t` a' FROM `p`.`d_m`.`t` AS `t`"),
        ("SELECT 1 AS a WHERE true", "SELECT 1 AS a FROM (SELECT 1 AS one) AS nothing WHERE TRUE"),
        ("SELECT approx_quantile(a, 0.25) FROM m.t", "SELECT APPROX_QUANTILES(a, 100)[OFFSET(25)] FROM `p`.`d_m`.`t` AS `t`"),
        ("SELECT median(a) FROM m.t", "SELECT PERCENTILE_CONT(a, 0.5) OVER () FROM `p`.`d_m`.`t` AS `t` LIMIT 1"),
        ("CREATE TABLE m.t AS SELECT a FROM m.t", "CREATE TABLE `p`.`d_m_new`.`t` AS SELECT a FROM `p`.`d_m`.`t` AS `t`"),
        ("DELETE FROM m.t WHERE a = 1", "DELETE FROM `p`.`d_m_new`.`t` WHERE a = 1"),
        ("CREATE SCHEMA m", ""),
    ],
)
def test_a_statement_is_written_in_googlesql(duckdb, bigquery):
    assert written(duckdb) == bigquery


@pytest.mark.parametrize("sql", ["DROP TABLE m.t", "SELECT 1; SELECT 2", "SELECT (", "SELECT a, median(b) FROM m.t GROUP BY a"])
def test_what_has_no_equal_is_refused(sql):
    with pytest.raises(Unknown):
        written(sql)


@pytest.mark.parametrize("quoting", ["`acme-data`.`shop_marts`.`t`", "`acme-data.shop_marts.t`", "acme-data.shop_marts.t"])
def test_a_table_in_a_view_is_moved_however_it_is_quoted(quoting):
    query = f"SELECT t.a FROM {quoting} AS t JOIN `acme-data`.`shop_marts`.`t2` USING (a)"
    moved = names.moved(query, {"acme-data.shop_marts.t": "acme-data.shop_candidate_1.marts__t"})
    assert (
        moved == "SELECT t.a FROM `acme-data`.`shop_candidate_1`.`marts__t` AS t JOIN `acme-data`.`shop_marts`.`t2` USING (a)"
    )


def test_views_come_after_those_that_they_read():
    views = {f"m.{name}": f"SELECT * FROM `acme-data`.`shop_m`.`{read}`" for name, read in (("c", "b"), ("b", "a"), ("a", "t"))}
    assert list(ordered(CLOUD, views)) == ["m.a", "m.b", "m.c"]


def test_the_script_shows_tables_then_views_then_the_version():
    shown = Shown({"m.t": "acme-data.shop_versions.m__t__1"}, {"m.v": "SELECT 1 AS a"}, {"m.old": "VIEW"})
    first, second, third, fourth, fifth = script_of(CLOUD, "1", shown).removesuffix(";").split(";\n")
    assert first.startswith("CREATE OR REPLACE TABLE `acme-data`.`shop_m`.`t` CLONE `acme-data`.`shop_versions`.`m__t__1`")
    assert second == "CREATE OR REPLACE VIEW `acme-data`.`shop_m`.`v` AS\nSELECT 1 AS a"
    assert third == "DROP VIEW IF EXISTS `acme-data`.`shop_m`.`old`"
    assert fourth.startswith("INSERT INTO `acme-data`.`shop_caudal`.`published`")
    assert fifth.startswith("DELETE FROM `acme-data`.`shop_caudal`.`publishing`")


def test_datasets_that_views_of_others_read_are_found():
    views = {"marts.v": "SELECT * FROM `acme-data`.`shop_raw`.`a` JOIN `acme-data.shop_marts.b` USING (c)"}
    assert datasets_read("shop_", views, "acme-data") == {"shop_raw": {"shop_marts"}}
