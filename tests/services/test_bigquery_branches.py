"""Environments of branches in BigQuery and Cloud Storage, against servers of their protocols."""

import sqlite3
import uuid
from dataclasses import replace

import pyarrow as pa
import pytest

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.runtime.branches import environments
from caudal.runtime.branches.environments import BranchRefused
from caudal.store import open_store
from caudal.warehouse import versions
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import publish_tables
from tests.conftest import ROOT


@pytest.fixture
def production(bigquery, gcs, tmp_path, monkeypatch):
    """A small production: two tables, a view on a view, rows on their way in, an object."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    begin = f"c{uuid.uuid4().hex[:8]}_"
    cloud = GoogleCloud(bigquery.project, "EU", gcs.bucket(), begin, bigquery_url=bigquery.rest_url)
    env = Environment("gcp", "shop", ROOT, tmp_path / "data", cloud=cloud)
    for schema in ("loading", "raw", "marts", "staging", "candidate_20240101T000000000000Z"):
        bigquery.client().create_dataset(f"{bigquery.project}.{cloud.dataset(schema)}")
    service = BigQuery(cloud)
    for relation in ("loading.pos__sales", "raw.pos__sales", "marts.daily", "candidate_20240101T000000000000Z.marts__daily"):
        service.query(f"CREATE TABLE `{cloud.table(relation)}` AS SELECT 1 AS id, 'a' AS name")
    service.query(f"CREATE VIEW `{cloud.table('staging.z')}` AS SELECT id FROM `{cloud.table('raw.pos__sales')}`")
    service.query(f"CREATE VIEW `{cloud.table('marts.a')}` AS SELECT id FROM `{cloud.table('staging.z')}`")
    gcs.put(cloud.folder("lake/pos/sales/1.csv"), b"id\n1\n")
    return env


def rows(service, relation):
    return sorted(tuple(row.values()) for row in service.query(f"SELECT * FROM `{service.cloud.table(relation)}`"))


def datasets(production):
    listed = BigQuery(production.cloud).client.list_datasets()
    return sorted(d.dataset_id for d in listed if d.dataset_id.startswith(production.cloud.datasets))


def test_a_branch_has_clones_and_views_of_its_own_and_changing_them_leaves_production_as_it_is(production):
    record = environments.create(production, "feature/vat")
    assert record.tables == 5
    branch = production.of_branch("feature/vat")
    service = BigQuery(branch.cloud)
    assert rows(service, "marts.daily") == [(1, "a")]
    service.query(f"INSERT INTO `{branch.cloud.table('raw.pos__sales')}` VALUES (2, 'b')")
    assert rows(service, "marts.a") == [(1,), (2,)]
    assert rows(BigQuery(production.cloud), "marts.a") == [(1,)]
    described = service.client.get_dataset(branch.cloud.dataset("marts"))
    assert described.labels["branch"] == record.short
    assert described.default_table_expiration_ms == 14 * 86_400_000
    assert branch.cloud.dataset("candidate_20240101T000000000000Z") not in datasets(production)


def test_dropping_a_branch_removes_its_datasets_and_objects_and_nothing_else(production):
    before = datasets(production)
    environments.create(production, "a")
    environments.create(production, "a_b")
    store = open_store(production.of_branch("a").cloud.folder("parts"))
    with store.write("1.parquet") as temporary:
        temporary.write_bytes(b"x")
    dropped = environments.drop(production, "a")
    assert (dropped.local, dropped.datasets, dropped.objects) == (True, 5, 1)
    assert [r.branch for r in environments.listing(production)] == ["a_b"]
    assert not environments.drop(production, "a").anything
    environments.drop(production, "a_b")
    assert datasets(production) == before
    assert open_store(production.cloud.folder("lake")).find("pos/sales/1.csv") is not None


def test_another_machine_lists_and_drops_what_this_one_made(production, tmp_path):
    environments.create(production, "feature/vat")
    elsewhere = replace(production, data=tmp_path / "another machine")
    (record,) = environments.listing(elsewhere)
    assert (record.branch, record.made_at) == ("feature/vat", "")
    assert environments.drop(elsewhere, record.branch).datasets == 5


def test_one_that_was_killed_while_it_was_made_is_made_from_the_beginning(production, monkeypatch):
    with monkeypatch.context() as killed, pytest.raises(ZeroDivisionError):
        killed.setattr("caudal.runtime.branches.cloud.BranchDatasets.clone_published", lambda _: 1 / 0)
        environments.create(production, "vat")
    BigQuery(production.cloud).query(f"INSERT INTO `{production.cloud.table('raw.pos__sales')}` VALUES (3, 'c')")
    environments.create(production, "vat")
    assert rows(BigQuery(production.of_branch("vat").cloud), "raw.pos__sales") == [(1, "a"), (3, "c")]
    with pytest.raises(BranchRefused, match="has an environment already"):
        environments.create(production, "vat")


def test_what_a_branch_publishes_is_published_there_alone(production):
    publish_tables(production, {"marts.daily": pa.table({"id": [1], "name": ["a"]}), "marts.kept": pa.table({"id": [7]})})
    published = versions.current(production)
    environments.create(production, "vat")
    branch = production.of_branch("vat")
    assert versions.current(branch) == published
    publish_tables(branch, {"marts.daily": pa.table({"id": [2], "name": ["b"]}), "marts.more": pa.table({"id": [1]})})
    for number in (5, 6):  # What is not published anew here keeps its place.
        publish_tables(branch, {"marts.more": pa.table({"id": [number]})})
    assert rows(BigQuery(branch.cloud), "marts.daily") == [(2, "b")]
    assert rows(BigQuery(branch.cloud), "marts.kept") == [(7,)]
    assert rows(BigQuery(production.cloud), "marts.daily") == [(1, "a")]
    assert versions.current(production) == published != versions.current(branch)


def write_paths(service, there, tmp_path):
    """Each way in which the platform changes something in BigQuery, by its name, aimed at production."""
    from google.cloud import bigquery

    client, dataset = service.client, there.dataset("marts")
    table, query = there.table("marts.daily"), service.query
    rows = pa.table({"id": [9], "name": ["z"]})
    fields = [bigquery.SchemaField("id", "INT64")]
    into_production = bigquery.QueryJobConfig(destination=bigquery.TableReference.from_string(table))
    default = bigquery.QueryJobConfig(default_dataset=f"{there.project}.{dataset}")
    uri = f"gs://{there.bucket}/x.csv"
    yield "a load job", lambda: service.load([uri], table, job_id="x", schema=fields)
    yield "a load of rows", lambda: service.load_rows(rows, table)
    yield "a query into a table", lambda: query("SELECT 9 AS id, 'z' AS name", into=table)
    yield "a query's own destination", lambda: client.query("SELECT 1 AS id", into_production).result()
    yield "a default dataset", lambda: client.query("INSERT INTO daily VALUES (9, 'z')", default).result()
    yield "a request that waits for its rows", lambda: client.query_and_wait(f"DELETE FROM `{table}` WHERE true")
    yield "a copy", lambda: client.copy_table(there.table("raw.pos__sales"), table).result()
    yield "an extract", lambda: client.extract_table(table, uri).result()
    yield "a new table", lambda: client.create_table(bigquery.Table(there.table("marts.new"), fields))
    yield "a new dataset", lambda: client.create_dataset(f"{there.project}.{there.dataset('new')}")
    yield "a table's properties", lambda: client.update_table(bigquery.Table(table, fields), ["schema"])
    yield "a dataset's properties", lambda: client.update_dataset(bigquery.Dataset(f"{there.project}.{dataset}"), ["labels"])
    yield "a table's end", lambda: client.delete_table(table)
    yield "a dataset's end", lambda: client.delete_dataset(f"{there.project}.{dataset}", delete_contents=True)
    yield "streamed rows", lambda: client.insert_rows_json(bigquery.Table(table, fields), [{"id": 9}])
    for sql in (
        "INSERT INTO `{}` VALUES (9, 'z')",
        "UPDATE `{}` SET id = CASE WHEN true THEN 9 ELSE 8 END WHERE true",
        "DELETE `{}` WHERE true",
        "TRUNCATE TABLE `{}`",
        "MERGE `{}` t USING (SELECT 9 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "CREATE OR REPLACE TABLE `{}` AS SELECT 9 AS id",
        "CREATE OR REPLACE TABLE `{}` CLONE `own`.t",
        "DROP TABLE IF EXISTS `{}`",
        "ALTER TABLE `{}` ADD COLUMN more INT64",
        "CREATE OR REPLACE ROW ACCESS POLICY p ON `{}` GRANT TO ('allUsers') FILTER USING (true)",
        "GRANT `roles/bigquery.dataViewer` ON TABLE `{}` TO 'user:ann@example.com'",
        "/* hidden */ BEGIN DECLARE x INT64; SET x = 1; IF x = 1 THEN INSERT INTO `{}` VALUES (9, 'z'); END IF; END",
        "EXECUTE IMMEDIATE 'DROP TABLE `{}`'",
    ):
        yield sql, lambda sql=sql: query(sql.format(table))
    yield "DROP SCHEMA", lambda: query(f"DROP SCHEMA `{there.project}`.`{dataset}` CASCADE")


def test_every_way_to_change_production_is_refused_in_a_branch_before_anything_is_sent(production, tmp_path):
    environments.create(production, "vat")
    branch, before = production.of_branch("vat"), rows(BigQuery(production.cloud), "marts.daily")
    service, sent = BigQuery(branch.cloud), []
    send = service.client._connection.api_request
    service.client._connection.api_request = lambda **given: sent.append(given["method"]) or send(**given)
    let_through = []
    for name, attempt in write_paths(service, production.cloud, tmp_path):
        try:
            attempt()
        except BigQueryRefused as refused:
            assert refused.reason == "branch", name
            continue
        let_through.append(name)
    assert let_through == []
    assert set(sent) <= {"GET"}
    assert rows(BigQuery(production.cloud), "marts.daily") == before
    assert rows(service, "marts.daily") == before  # The branch's own, and production's may be read.
    assert [tuple(r.values()) for r in service.query(f"SELECT id FROM `{production.cloud.table('marts.daily')}`")] == [(1,)]


def test_what_lands_in_a_branch_s_lake_is_in_a_folder_of_its_own(production, tmp_path):
    ledger = Ledger(production.state / "ledger.db")
    dataset = Dataset("pos", "sales", "csv", None)
    store = open_store(production.lake_url)
    with sqlite3.connect(production.state / "ledger.db") as db:
        for found in store.list("pos/sales"):
            db.execute(
                "INSERT INTO file (dataset, path, version, size_bytes, state, seen_at) VALUES (?, ?, ?, ?, 'loaded', '')",
                (dataset.id, found.path, found.version, found.size_bytes),
            )
    environments.create(production, "vat")
    branch = production.of_branch("vat")
    lake = open_store(branch.lake_url)
    with lake.write("pos/sales/2.csv") as temporary:
        temporary.write_bytes(b"id\n2\n")
    assert sorted(o.path for o in lake.list("pos/sales")) == ["pos/sales/1.csv", "pos/sales/2.csv"]
    (known,) = [o for o in lake.list("pos/sales") if o.path.endswith("1.csv")]
    assert lake.fetch(known, tmp_path / "held").read_bytes() == b"id\n1\n"
    assert [o.path for o in store.list("")] == ["pos/sales/1.csv"]
    assert open_store(branch.own_lake_url).find("pos/sales/2.csv") is not None
    assert ledger.id == Ledger(branch.state / "ledger.db").id
