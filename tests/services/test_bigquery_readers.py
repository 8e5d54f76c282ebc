"""Profiles, models, the online store and the catalogue say of tables in BigQuery what they say of the same tables in DuckDB."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from caudal.environment import Environment
from caudal.explore.assets import profile_asset
from caudal.models.history import HistoryTable, UnreadableHistory, read_history
from caudal.serving.catalogue.recipes import recipes
from caudal.serving.catalogue.relations import count_rows, first_rows, open_published, relations
from caudal.serving.catalogue.values import Catalogue, Table
from caudal.serving.online import KeyedTable, publish_online, version_path
from caudal.warehouse import published, query
from caudal.warehouse.bigquery import versions
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import PublishedTable
from tests.services.cloud import BigQuery as Server

SALES = """
SELECT i AS id, CONCAT('city ', CAST(MOD(i, 7) AS STRING)) AS city, DATE_ADD(DATE '2024-01-01', INTERVAL MOD(i, 100) DAY) AS day,
CAST(MOD(i, 50) AS NUMERIC) / 4 AS price, IF(MOD(i, 9) = 0, NULL, i / 8) AS share, MOD(i, 3) = 0 AS again,
TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL i MINUTE) AS at, [CAST(i AS STRING), 'x'] AS tags,
STRUCT(i AS n, 'y' AS t) AS inside FROM UNNEST(GENERATE_ARRAY(1, 2000)) AS i
"""


@dataclass(frozen=True)
class Both:
    """The same tables, published in BigQuery and in a DuckDB file."""

    there: Environment
    here: Environment
    service: BigQuery


@pytest.fixture(scope="module")
def both(bigquery: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    cloud = bigquery.settings(bigquery_read_host=bigquery.grpc_address)
    service, folders = BigQuery(cloud), [tmp_path_factory.mktemp(name) for name in ("there", "here")]
    versions.make_tables(service)
    for schema in ("marts", "staging"):
        versions.make_dataset(service, cloud.dataset(schema))
    service.query(f"CREATE TABLE `{cloud.table('marts.sales')}` AS {SALES}")
    service.query(f"CREATE VIEW `{cloud.table('staging.sold')}` AS SELECT id, city FROM `{cloud.table('marts.sales')}`")
    service.query(
        f"INSERT INTO `{versions.published(cloud)}` (version, published_at, record) SELECT 'v1', CURRENT_TIMESTAMP(), '{{}}'"
    )
    there = Environment("gcp", "shop", folders[0], folders[0], cloud=cloud)
    here = Environment("local", "shop", folders[1], folders[1])
    publish_tables(here, {"marts.sales": published.read_arrow(there, "SELECT * FROM sales")})
    yield Both(there, here, service)


def test_a_profile_is_the_same(both: Both) -> None:
    table = PublishedTable(("marts", "sales", "sales"), "marts.sales")
    figures = []
    for env in (both.there, both.here):
        asset = profile_asset(table, env)
        done = dg.materialize([asset], instance=dg.DagsterInstance.ephemeral())
        (made,) = done.asset_materializations_for_node(asset.node_def.name)
        assert made.metadata["dagster/row_count"].value == 2000
        figures.append(made.metadata["figures"].value)
    assert figures[0] == figures[1]


def test_a_profile_reads_its_table_once(both: Both) -> None:
    with published.connect(both.there) as connection:
        published.bring(connection, "marts.sales")
        for column in ("id", "city", "price"):
            connection.execute(f"SELECT count(DISTINCT {column}) FROM marts.sales").fetchall()
        assert [job.kind for job in connection._service.done] == ["read"]  # ty: ignore[unresolved-attribute]


def test_the_history_of_a_forecast_is_the_same(both: Both) -> None:
    table = HistoryTable("marts.sales", time="at", series="city", value="price")
    there, here = read_history(both.there, table), read_history(both.here, table)
    assert list(there.panel.days) == list(here.panel.days)
    assert list(there.panel.series) == list(here.panel.series)
    assert np.array_equal(there.panel.values, here.panel.values, equal_nan=True)
    with pytest.raises(UnreadableHistory, match="wrong"):
        read_history(both.there, HistoryTable("marts.sales", time="wrong", series="city", value="price"))


def test_the_online_store_holds_the_same(both: Both) -> None:
    stored = []
    for env in (both.there, both.here):
        made = publish_online(env, None, (KeyedTable("sales", "marts.sales", "id"),))
        with closing(sqlite3.connect(version_path(env, made.version))) as store:
            stored.append(store.execute("SELECT key, body FROM keyed_rows ORDER BY key").fetchall())
    assert len(stored[0]) == 2000
    assert stored[0] == stored[1]


def test_the_catalogue_tells_tables_rows_and_examples_and_no_view_is_run_for_it(both: Both) -> None:
    with open_published(both.there) as connection:
        sales, sold = relations(connection)
        assert (sales.name, sales.kind, count_rows(connection, sales)) == ("marts.sales", "table", 2000)
        assert (sold.name, sold.kind, count_rows(connection, sold)) == ("staging.sold", "view", None)
        assert len(first_rows(connection, sales, {"city"}).rows) == 5
        assert "costs a query" in first_rows(connection, sold, ()).note
        assert [job.kind for job in connection._service.done] == ["read"]  # ty: ignore[unresolved-attribute]
    with open_published(both.here) as connection:
        assert relations(connection)[0].columns == sales.columns


def test_the_catalogue_tells_how_to_query_a_table_in_bigquery() -> None:
    catalogue = Catalogue("shop", "v1", "", "bigquery://acme/shop_", "", ())
    told = {recipe.tool: recipe for recipe in recipes(Table("marts.sales", "table"), catalogue)}
    assert told["BigQuery"].code == "bq query --nouse_legacy_sql 'select * from `acme.shop_marts.sales` limit 10'"
    assert not any("duckdb" in f"{recipe.code}{recipe.needs}".lower() for recipe in told.values())


def test_a_confined_connection_reads_published_tables_and_no_file(both: Both, tmp_path: Path) -> None:
    import duckdb

    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with published.connect(both.there) as connection:
        query.confine(connection, both.there)
        assert connection.execute("SELECT count(*) FROM sales WHERE id <= 10").fetchone() == (10,)
        with pytest.raises(duckdb.Error):
            connection.execute(f"SELECT * FROM read_csv('{secret}')").fetchall()
