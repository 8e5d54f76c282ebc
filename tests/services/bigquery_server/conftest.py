"""A client of the BigQuery server, a table of sales in it, and objects to load."""

import io

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
