"""The BigQuery server that other tests rely on: what reading costs there, and what is read."""

import datetime as dt
from decimal import Decimal

import pytest


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


def test_a_dry_run_says_what_would_be_read_and_what_is_wrong(client, sales):
    from google.api_core.exceptions import BadRequest
    from google.cloud.bigquery import QueryJobConfig

    def dry(sql):
        return client.query(sql, job_config=QueryJobConfig(dry_run=True))

    day, shop, amount = 8, 2 + 1, 16
    assert dry(f"SELECT * FROM {sales}").total_bytes_processed == 3 * (day + shop + amount)
    assert dry(f"SELECT shop FROM {sales}").total_bytes_processed == 3 * shop
    assert dry(f"SELECT * FROM (SELECT shop FROM {sales})").total_bytes_processed == 3 * shop
    both = f"SELECT sold.* FROM {sales} AS sold CROSS JOIN {sales} AS other WHERE other.shop IS NOT NULL"
    assert dry(both).total_bytes_processed == 3 * (day + shop + amount) + 3 * shop
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
    twice = client.query(f"SELECT shop FROM {sales} UNION ALL SELECT shop FROM {sales}")
    twice.result()
    assert (twice.total_bytes_processed, twice.total_bytes_billed) == (18, 10 * 1024**2), (
        "of a table, however often it is named"
    )
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
