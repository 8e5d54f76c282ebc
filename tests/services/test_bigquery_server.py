"""Tests of the BigQuery server that other tests rely on: an upgrade that changes it is seen here, and not in theirs."""

import datetime as dt
import io
import time
from decimal import Decimal

import pytest


@pytest.fixture
def client(bigquery):
    return bigquery.client()


@pytest.fixture
def rows(client):
    return lambda sql, **settings: [tuple(row.values()) for row in client.query_and_wait(sql, **settings)]


@pytest.fixture
def sales(rows, dataset):
    rows(
        f"CREATE TABLE {dataset}.sales (day DATE NOT NULL OPTIONS(description='of the sale'), shop STRING, amount NUMERIC)"
        " PARTITION BY day CLUSTER BY shop OPTIONS(labels=[('team', 'shop')])"
    )
    rows(f"INSERT {dataset}.sales VALUES ('2024-01-01', 'a', 1.25), ('2024-01-01', 'b', 2), ('2024-01-02', 'a', 3)")
    return f"{dataset}.sales"


@pytest.fixture
def parquet(gcs):
    """Writes columns as an object of a bucket of its own, and gives its URI."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bucket = gcs.bucket()

    def write(name, **columns):
        content = io.BytesIO()
        pq.write_table(pa.table(columns), content)
        gcs.put(f"gs://{bucket}/{name}", content.getvalue())
        return f"gs://{bucket}/{name}"

    return write


def read(bigquery, table, at=None, **options):
    import pyarrow as pa
    from google.cloud.bigquery_storage import types

    reader, (dataset, name) = bigquery.reader(), table.split(".")
    path = f"projects/{bigquery.project}/datasets/{dataset}/tables/{name}"
    wanted = types.ReadSession(table=path, data_format="ARROW", read_options=types.ReadSession.TableReadOptions(**options))
    if at is not None:
        wanted.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=at)
    session = reader.create_read_session(parent=f"projects/{bigquery.project}", read_session=wanted, max_stream_count=2)
    return pa.concat_tables(reader.read_rows(stream.name).to_arrow(session) for stream in session.streams)


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
    client.update_table(table, ["expires"])
    deadline = time.monotonic() + 10
    with pytest.raises(NotFound):
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


def test_a_dry_run_says_what_would_be_read_and_what_is_wrong(client, sales):
    from google.api_core.exceptions import BadRequest
    from google.cloud.bigquery import QueryJobConfig

    def dry(sql):
        return client.query(sql, job_config=QueryJobConfig(dry_run=True))

    day, shop, amount = 8, 2 + 1, 16
    assert dry(f"SELECT * FROM {sales}").total_bytes_processed == 3 * (day + shop + amount)
    assert dry(f"SELECT shop FROM {sales}").total_bytes_processed == 3 * shop
    assert dry(f"SELECT shop FROM {sales} WHERE day = '2024-01-02'").total_bytes_processed == day + shop
    assert [table.table_id for table in dry(f"SELECT shop FROM {sales}").referenced_tables] == ["sales"]
    with pytest.raises(BadRequest, match="Unrecognized name: nope"):
        dry(f"SELECT nope FROM {sales}")


def test_partitions_are_left_out_through_a_view_that_passes_their_column_on_as_it_is(client, rows, sales):
    from google.cloud.bigquery import QueryJobConfig

    def processed(sql):
        return client.query(sql, job_config=QueryJobConfig(dry_run=True)).total_bytes_processed

    rows(f"CREATE VIEW {sales}_view AS SELECT day AS sold_on, DATE_ADD(day, INTERVAL 0 DAY) AS day_made, shop FROM {sales}")
    day, shop = 8, 2 + 1
    assert processed(f"SELECT shop FROM {sales}_view") == 3 * shop
    between = "s.sold_on >= DATE '2024-01-02' AND s.sold_on < DATE '2024-01-03'"
    assert processed(f"SELECT shop FROM {sales}_view AS s WHERE {between}") == day + shop
    assert processed(f"SELECT shop FROM {sales}_view WHERE day_made = '2024-01-02'") == 3 * (day + shop)


def test_a_merge_that_overwrites_a_day_reads_that_day_of_its_target(client, sales):
    overwritten = (
        f"MERGE INTO {sales} AS old USING (SELECT DATE '2024-01-02' AS day, 'z' AS shop, NUMERIC '1' AS amount) AS new ON FALSE "
        "WHEN NOT MATCHED BY SOURCE AND old.day IN (DATE '2024-01-02') THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT (day, shop, amount) VALUES (day, shop, amount)"
    )
    job = client.query(overwritten)
    job.result()
    assert job.total_bytes_processed == 8 + 2 + 1 + 16


def test_a_query_has_a_price_and_may_have_a_highest_one(client, sales):
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery import QueryJobConfig

    job = client.query(f"SELECT shop FROM {sales}")
    job.result()
    assert (job.total_bytes_processed, job.total_bytes_billed) == (9, 10 * 1024**2)
    with pytest.raises(GoogleAPICallError, match="exceeded limit for bytes billed: 1000"):
        client.query(f"SELECT shop FROM {sales}", job_config=QueryJobConfig(maximum_bytes_billed=1000)).result()


def test_rows_and_columns_are_chosen_over_the_storage_api(bigquery, sales):
    table = read(bigquery, sales, selected_fields=["shop", "amount"], row_restriction="day >= '2024-01-01' AND shop = 'a'")
    assert table.to_pydict() == {"shop": ["a", "a"], "amount": [Decimal("1.25"), Decimal(3)]}


def test_a_table_is_read_as_it_was_and_a_view_is_not(bigquery, client, rows, sales):
    from google.api_core.exceptions import GoogleAPICallError

    ((before,),) = rows("SELECT CURRENT_TIMESTAMP()")
    rows(f"DELETE FROM {sales} WHERE true")
    assert read(bigquery, sales, selected_fields=["shop"], at=before).num_rows == 3
    assert client.get_table(sales).modified > before
    rows(f"CREATE VIEW {sales}_view AS SELECT * FROM {sales}")
    with pytest.raises(GoogleAPICallError, match="VIEW"):
        read(bigquery, f"{sales}_view")


def test_each_type_is_written_and_read(bigquery, rows, dataset):
    values = {
        "INT64": ("1", 1),
        "FLOAT64": ("1.5", 1.5),
        "BOOL": ("true", True),
        "STRING": ("'a'", "a"),
        "BYTES": ("b'a'", b"a"),
        "DATE": ("'2024-01-01'", dt.date(2024, 1, 1)),
        "TIME": ("'01:02:03'", dt.time(1, 2, 3)),
        "DATETIME": ("'2024-01-01 01:02:03.000004'", dt.datetime(2024, 1, 1, 1, 2, 3, 4)),  # noqa: DTZ001
        "TIMESTAMP": ("'2024-01-01 01:02:03+02'", dt.datetime(2023, 12, 31, 23, 2, 3, tzinfo=dt.UTC)),
        "NUMERIC": ("1.25", Decimal("1.25")),
        "BIGNUMERIC": ("BIGNUMERIC '1.123456789012345'", Decimal("1.123456789012345")),
        "JSON": ("""JSON '{"a": 1}'""", {"a": 1}),
        "STRUCT<a INT64, b ARRAY<STRING>>": ("STRUCT(1, ['x'])", {"a": 1, "b": ["x"]}),
        "ARRAY<STRUCT<a INT64>>": ("[STRUCT(1)]", [{"a": 1}]),
    }
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(values))
    rows(f"CREATE TABLE {dataset}.t ({columns})")
    rows(f"INSERT {dataset}.t VALUES ({', '.join(written for written, _ in values.values())})")
    assert rows(f"SELECT * FROM {dataset}.t") == [tuple(value for _, value in values.values())]
    (stored,) = read(bigquery, f"{dataset}.t").to_pylist()
    assert list(stored.values()) == ['{"a":1}' if kind == "JSON" else value for kind, (_, value) in values.items()]


def test_a_policy_shows_each_member_its_rows(bigquery, client, rows, sales):
    rows(f"CREATE ROW ACCESS POLICY only_a ON {sales} GRANT TO ('user:ann@example.com') FILTER USING (shop = 'a')")
    count = f"SELECT count(*) AS n FROM {sales}"
    seen = [next(iter(bigquery.client(member).query_and_wait(count))).n for member in ("ann@example.com", "bob@example.com")]
    assert seen == [2, 0]
    rows(f"DROP ALL ROW ACCESS POLICIES ON {sales}")
    assert rows(count) == [(3,)]


def test_a_table_is_exported_to_objects(client, rows, sales, gcs):
    from google.cloud.bigquery import LoadJobConfig

    uri = f"gs://{gcs.bucket()}/out/*.parquet"
    rows(f"EXPORT DATA OPTIONS(uri='{uri}', format='PARQUET') AS SELECT * FROM {sales}")
    back = client.load_table_from_uri(uri, f"{sales}_back", job_config=LoadJobConfig(source_format="PARQUET"))
    assert back.result().output_rows == 3
