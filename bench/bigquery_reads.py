"""Reading a published table of BigQuery into a Python process, against Google's client.

A server for tests stands in BigQuery's place (`tests/services/install`): it does most of the work that is measured, so that the
ratios between ways of reading are told and not BigQuery's speed. Ours puts the rows on disk and counts them; the client holds
them in memory. A query on two of eight columns brings a quarter of the bytes.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.frame import Comparison, Options, Side

ROWS = 1_000_000
_TABLE = """
CREATE TABLE `{table}` AS SELECT i AS id, MOD(i * 7919, 2000) AS household, CAST(MOD(i, 997) AS NUMERIC) / 4 AS price,
DATE_ADD(DATE '2024-01-01', INTERVAL MOD(i, 365) DAY) AS day, TIMESTAMP_ADD(TIMESTAMP '2024-01-01', INTERVAL i SECOND) AS at,
CONCAT('store ', CAST(MOD(i, 500) AS STRING)) AS store, i / 3 AS share, CONCAT('note ', TO_HEX(MD5(CAST(i AS STRING)))) AS note
FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i
"""
_ALL = (
    'SELECT count(id), count(household), count(price), count(day), count("at"), count(store), count(share), count(note) FROM t'
)


def comparisons(options: Options) -> Iterator[Comparison]:
    """All columns over REST and over the Storage Read interface, and two of them."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.services.cloud import bigquery_server, storage_server

    rows = round(ROWS * options.scale)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        with storage_server(here) as storage, bigquery_server(here, storage) as server:
            place = {"project": server.project, "rest": server.rest_url, "grpc": server.grpc_address, "folder": folder}
            _publish(place, rows)
            small = {**place, "rows": max(1, rows // 10)}
            whole = Side("bench.bigquery_reads:ours", place, _ALL)
            yield Comparison(
                f"all of {rows:,} rows x 8, and a tenth of them over REST",
                ours=whole,
                against=Side("bench.bigquery_reads:rest", small),
                against_name="list_rows().to_dataframe()",
                at_most=1.0,
                memory_mib=700,
            )
            yield Comparison(
                f"all of {rows:,} rows x 8",
                ours=whole,
                against=Side("bench.bigquery_reads:storage", place),
                against_name="list_rows().to_arrow(bqstorage_client)",
                at_most=1.5,
                memory_mib=700,
            )
            yield Comparison(
                f"2 of 8 columns of {rows:,} rows",
                ours=Side("bench.bigquery_reads:ours", place, "SELECT household, count(price) FROM t GROUP BY ALL"),
                against=whole,
                against_name="ours, all columns",
                at_most=0.6,
                memory_mib=500,
            )


def ours(place: dict[str, Any], sql: str) -> Callable[[], object]:
    """A query on a new connection. Says what was brought on standard error."""
    from caudal.warehouse import published

    env = _environment(place)
    published.read_arrow(env, "SELECT count(*) FROM small")  # Imports, first connections.

    def read() -> object:
        with published.connect(env) as connection:
            found = connection.execute(sql).fetchall()
            done: Any = connection
            scanned = [job.bytes_processed for job in done._service.done]  # noqa: SLF001
            sys.stderr.write(json.dumps({"bytes scanned": scanned}) + "\n")
            return found

    return read


def rest(place: dict[str, Any]) -> Callable[[], object]:
    """Pages of JSON."""
    client, table = _client(place)
    client.list_rows(table, max_results=10).to_dataframe(create_bqstorage_client=False)
    return lambda: client.list_rows(table, max_results=place["rows"]).to_dataframe(create_bqstorage_client=False)


def storage(place: dict[str, Any]) -> Callable[[], object]:
    """Google's client over the same interface, into memory."""
    import grpc
    from google.cloud.bigquery_storage import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    client, table = _client(place)
    channel = grpc.insecure_channel(place["grpc"], [("grpc.max_receive_message_length", -1)])
    reader = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    client.list_rows(table, max_results=10).to_arrow(bqstorage_client=reader)
    return lambda: client.list_rows(table).to_arrow(bqstorage_client=reader)


def _environment(place: dict[str, Any]) -> Any:
    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud

    cloud = GoogleCloud(place["project"], "US", "lakes", "bench_", bigquery_url=place["rest"], bigquery_read_host=place["grpc"])
    return Environment("gcp", "bench", Path(place["folder"]), Path(place["folder"]), cloud=cloud)


def _client(place: dict[str, Any]) -> tuple[Any, Any]:
    from caudal.warehouse.bigquery.service import BigQuery

    env = _environment(place)
    client = BigQuery(env.cloud).client
    return client, client.get_table(env.cloud.table("marts.t"))


def _publish(place: dict[str, Any], rows: int) -> None:
    from caudal.warehouse.bigquery import versions
    from caudal.warehouse.bigquery.service import BigQuery

    cloud = _environment(place).cloud
    service = BigQuery(cloud)
    versions.make_tables(service)
    versions.make_dataset(service, cloud.dataset("marts"))
    for name, number in (("t", rows), ("small", 10)):
        service.query(_TABLE.format(table=cloud.table(f"marts.{name}"), rows=number))
    service.query(
        f"INSERT INTO `{versions.published(cloud)}` (version, published_at, record) SELECT 'v', CURRENT_TIMESTAMP(), '{{}}'"
    )
