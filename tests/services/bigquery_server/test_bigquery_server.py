"""Tests of the BigQuery server that other tests rely on: an upgrade that changes it is seen here, and not in theirs.

Here its jobs, statements and tables.
"""

import datetime as dt
import time
from decimal import Decimal

import pytest


def shape(table):
    return table.time_partitioning and table.time_partitioning.field, table.clustering_fields


def test_a_job_s_id_is_taken_once(client):
    from google.api_core.exceptions import Conflict

    client.query("SELECT 1", job_id="the-one", job_retry=None).result()
    with pytest.raises(Conflict):
        client.query("SELECT 1", job_id="the-one", job_retry=None)
    assert client.get_job("the-one").state == "DONE"


def test_one_load_job_reads_many_objects_into_a_partitioned_table(client, dataset, parquet):
    from google.cloud.bigquery import LoadJobConfig, SchemaField, TimePartitioning

    days = [dt.date(2024, 1, day) for day in (1, 2, 3)]
    uris = [parquet(f"day={day}/a b.parquet", day=[day] * 2, amount=[Decimal("1.25")] * 2) for day in days]
    settings = LoadJobConfig(
        source_format="PARQUET",
        time_partitioning=TimePartitioning(field="day"),
        schema=[SchemaField("day", "DATE", description="of the sale"), SchemaField("amount", "NUMERIC")],
    )
    job = client.load_table_from_uri(uris, f"{dataset}.loaded", job_config=settings).result()
    table = client.get_table(f"{dataset}.loaded")
    assert (job.output_rows, table.num_rows, shape(table)) == (6, 6, ("day", None))
    assert [(field.name, field.field_type, field.description) for field in table.schema] == [
        ("day", "DATE", "of the sale"),
        ("amount", "NUMERIC", None),
    ]
    every = client.load_table_from_uri(f"{uris[0].partition('day=')[0]}*.parquet", f"{dataset}.all", job_config=settings)
    assert every.result().output_rows == 6


def test_an_object_that_is_not_there_fails_the_load(client, dataset, gcs):
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import LoadJobConfig

    load = client.load_table_from_uri(
        f"gs://{gcs.bucket()}/no.parquet", f"{dataset}.loaded", job_config=LoadJobConfig(source_format="PARQUET")
    )
    with pytest.raises(NotFound, match=r"no\.parquet"):
        load.result()


def test_a_load_into_a_partition_replaces_that_partition(client, rows, sales, parquet):
    from google.api_core.exceptions import BadRequest
    from google.cloud.bigquery import LoadJobConfig

    uri = parquet("new.parquet", day=[dt.date(2024, 1, 1)], shop=["z"], amount=[Decimal("9.00")])
    settings = LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    client.load_table_from_uri(uri, f"{sales}$20240101", job_config=settings).result()
    assert rows(f"SELECT shop FROM {sales} ORDER BY day") == [("z",), ("a",)]
    with pytest.raises(BadRequest, match="different partitions"):
        client.load_table_from_uri(uri, f"{sales}$20240102", job_config=settings).result()


def test_copy_jobs_copy_tables_and_single_partitions_with_their_shape(client, rows, sales):
    from google.cloud.bigquery import CopyJobConfig

    replace = CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table(sales, f"{sales}_copy", job_config=replace).result()
    assert shape(client.get_table(f"{sales}_copy")) == ("day", ["shop"])
    rows(f"UPDATE {sales} SET shop = 'z' WHERE true")
    client.copy_table(f"{sales}$20240102", f"{sales}_copy$20240102", job_config=replace).result()
    assert rows(f"SELECT shop FROM {sales}_copy ORDER BY day, shop") == [("a",), ("b",), ("z",)]


@pytest.mark.parametrize(("operation", "kind"), [("CLONE", "TABLE"), ("SNAPSHOT", "SNAPSHOT")])
def test_clones_and_snapshots_are_made_by_jobs(client, sales, operation, kind):
    from google.cloud.bigquery import CopyJobConfig

    client.copy_table(sales, f"{sales}_2", job_config=CopyJobConfig(operation_type=operation)).result()
    made = client.get_table(f"{sales}_2")
    assert (made.num_rows, made.table_type, shape(made)) == (3, kind, ("day", ["shop"]))


@pytest.mark.parametrize("words", ["TABLE {} CLONE {}", "TABLE {} COPY {}", "TABLE {} LIKE {}", "SNAPSHOT TABLE {} CLONE {}"])
def test_clones_copies_and_snapshots_are_made_by_statements(client, rows, sales, words):
    rows("CREATE " + words.format(f"{sales}_2", sales))
    assert shape(client.get_table(f"{sales}_2")) == ("day", ["shop"])


def test_a_snapshot_can_be_given_an_end_and_no_rows(client, rows, sales):
    from google.api_core.exceptions import BadRequest

    rows(f"CREATE SNAPSHOT TABLE {sales}_2 CLONE {sales} OPTIONS(expiration_timestamp=TIMESTAMP '2031-01-01 00:00:00 UTC')")
    assert client.get_table(f"{sales}_2").expires.year == 2031
    with pytest.raises(BadRequest, match="snapshots are immutable"):
        rows(f"DELETE FROM {sales}_2 WHERE true")
    rows(f"DROP SNAPSHOT TABLE {sales}_2")


def test_a_partition_filter_can_be_required(client, rows, sales):
    from google.api_core.exceptions import BadRequest

    rows(f"ALTER TABLE {sales} SET OPTIONS(require_partition_filter=true, partition_expiration_days=30)")
    assert client.get_table(sales).time_partitioning.expiration_ms == 30 * 86_400_000
    assert len(rows(f"SELECT * FROM {sales} WHERE day = '2024-01-01'")) == 2
    with pytest.raises(BadRequest, match="without a filter over column"):
        rows(f"SELECT * FROM {sales}")


def test_ranges_of_integers_are_partitions_too(client, rows, dataset):
    rows(f"CREATE TABLE {dataset}.t (k INT64) PARTITION BY RANGE_BUCKET(k, GENERATE_ARRAY(0, 100, 10))")
    bounds = client.get_table(f"{dataset}.t").range_partitioning.range_
    assert (bounds.start, bounds.end, bounds.interval) == (0, 100, 10)


def test_a_merge_counts_what_it_did_and_refuses_two_matches_of_a_row(client, rows, sales):
    from google.api_core.exceptions import BadRequest

    merge = f"""
        MERGE {sales} t USING (SELECT * FROM UNNEST([STRUCT(DATE '2024-01-02' AS day, 'a' AS shop, NUMERIC '4' AS amount), {{}}])) s
        ON t.day = s.day AND t.shop = s.shop
        WHEN MATCHED THEN UPDATE SET amount = s.amount WHEN NOT MATCHED THEN INSERT ROW
        WHEN NOT MATCHED BY SOURCE AND t.day < '2024-01-02' THEN DELETE"""
    job = client.query(merge.format("(DATE '2024-01-03', 'c', NUMERIC '5')"))
    job.result()
    did = job.dml_stats
    assert (did.inserted_row_count, did.updated_row_count, did.deleted_row_count) == (1, 1, 2)
    assert rows(f"SELECT shop, amount FROM {sales} ORDER BY day") == [("a", Decimal(4)), ("c", Decimal(5))]
    with pytest.raises(BadRequest, match="at most one source row"):
        rows(merge.format("(DATE '2024-01-02', 'a', NUMERIC '6')"))


def test_a_transaction_of_several_statements_happens_whole_or_not_at_all(rows, sales):
    from google.api_core.exceptions import BadRequest

    both = (
        f"BEGIN TRANSACTION; DELETE FROM {sales} WHERE day = '2024-01-01';"
        f" MERGE {sales} t USING (SELECT DATE '2024-01-05' AS day) s ON FALSE WHEN NOT MATCHED THEN INSERT (day) VALUES (s.day);"
    )
    with pytest.raises(BadRequest, match="enough"):
        rows(both + " SELECT ERROR('enough'); COMMIT TRANSACTION;")
    assert rows(f"SELECT count(*) FROM {sales}") == [(3,)]
    rows(both + " COMMIT TRANSACTION;")
    assert rows(f"SELECT day FROM {sales} ORDER BY day") == [(dt.date(2024, 1, 2),), (dt.date(2024, 1, 5),)]


def test_of_two_transactions_that_change_one_table_at_once_one_is_aborted(client, sales):
    from google.api_core.exceptions import BadRequest
    from google.cloud.bigquery import ConnectionProperty, QueryJobConfig

    def session():
        job = client.query("SELECT 1", job_config=QueryJobConfig(create_session=True))
        job.result()
        within = QueryJobConfig(connection_properties=[ConnectionProperty("session_id", job.session_info.session_id)])
        return lambda sql: client.query(sql, job_config=within).result()

    one, other = session(), session()
    for run in (one, other):
        run("BEGIN TRANSACTION")
        run(f"DELETE FROM {sales} WHERE day = '2024-01-01'")
    one("COMMIT TRANSACTION")
    with pytest.raises(BadRequest, match="Transaction is aborted due to concurrent update"):
        other("COMMIT TRANSACTION")


def test_a_table_is_altered_and_renamed(client, rows, sales):
    rows(f"ALTER TABLE {sales} ADD COLUMN IF NOT EXISTS note STRING, ADD COLUMN n INT64")
    rows(f"ALTER TABLE {sales} DROP COLUMN n")
    rows(f"ALTER TABLE {sales} RENAME TO sold")
    table = client.get_table(sales.replace("sales", "sold"))
    assert [field.name for field in table.schema] == ["day", "shop", "amount", "note"]
    assert (table.schema[0].description, table.labels, shape(table)) == ("of the sale", {"team": "shop"}, ("day", ["shop"]))


def test_a_table_expires(client, rows, sales):
    from google.api_core.exceptions import NotFound

    rows(f"ALTER TABLE {sales} SET OPTIONS(expiration_timestamp=TIMESTAMP '2031-01-01 00:00:00 UTC')")
    rows(f"ALTER TABLE {sales} SET OPTIONS(expiration_timestamp=NULL)")
    assert client.get_table(sales).expires is None
    table = client.get_table(sales)
    table.expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    deadline = time.monotonic() + 60
    with pytest.raises(NotFound):
        client.update_table(table, ["expires"])
        while time.monotonic() < deadline:
            client.get_table(sales)
            time.sleep(0.1)


def test_tables_columns_and_partitions_are_described_in_information_schema(rows, sales):
    dataset = sales.partition(".")[0]
    assert rows(f"SELECT table_name, table_type FROM {dataset}.INFORMATION_SCHEMA.TABLES") == [("sales", "BASE TABLE")]
    columns = f"SELECT column_name, data_type, is_partitioning_column FROM {dataset}.INFORMATION_SCHEMA.COLUMNS"
    assert rows(columns)[0] == ("day", "DATE", "YES")
    partitions = f"SELECT partition_id, total_rows FROM {dataset}.INFORMATION_SCHEMA.PARTITIONS ORDER BY 1"
    assert rows(partitions) == [("20240101", 2), ("20240102", 1)]


def test_each_partition_says_when_its_own_rows_were_last_changed(rows, sales):
    dataset = sales.partition(".")[0]
    asked = f"SELECT partition_id, last_modified_time FROM {dataset}.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = 'sales'"
    before = dict(rows(asked))
    rows(f"DELETE FROM {sales} WHERE day = '2024-01-01' AND amount = 2")
    after = dict(rows(asked))
    assert after["20240101"] > before["20240101"]
    assert after["20240102"] == before["20240102"]
