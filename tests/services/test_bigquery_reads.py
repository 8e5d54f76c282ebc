"""Reading what is published in BigQuery, from a server that speaks its Storage Read interface."""

import contextlib
import datetime as dt
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from caudal.contracts import Column
from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.warehouse import published, query, shell
from caudal.warehouse.bigquery import moment, reading, session, versions
from caudal.warehouse.bigquery.explained import BigQueryRefused, BigQueryUnreachable
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.versions import NOBODY, Relation, Version, written
from tests.services.cloud import BigQuery as Server


class Company:
    """A company whose tables are in the server, and who publishes them."""

    def __init__(self, env: Environment) -> None:
        assert env.cloud is not None
        self.env, self.cloud = env, env.cloud
        self.service = BigQuery(env.cloud)
        versions.make_tables(self.service)

    def make(self, relation: str, select: str, kind: str = "TABLE", options: str = "") -> None:
        versions.make_dataset(self.service, self.cloud.dataset(relation.split(".", 1)[0]))
        self.service.query(f"CREATE OR REPLACE {kind} `{self.cloud.table(relation)}` {options} AS {select}")

    def publish(self, version: str, relations: dict[str, Relation] | None = None, ago: dt.timedelta = dt.timedelta()) -> None:
        record = Version(version, dt.datetime.now(dt.UTC), "", NOBODY, relations or {}, {})
        self.service.query(
            f"INSERT INTO `{versions.published(self.cloud)}` (version, published_at, record) SELECT '{version}', "
            f"TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {int(ago.total_seconds())} SECOND), '''{json.dumps(written(record))}'''"
        )

    def connect(self) -> session.Session:
        connection: Any = published.connect(self.env)
        return connection


@pytest.fixture
def env(bigquery: Server, tmp_path: Path) -> Environment:
    cloud = GoogleCloud(
        bigquery.project,
        "US",
        "lakes",
        f"c{uuid.uuid4().hex[:12]}_",
        bigquery_url=bigquery.rest_url,
        bigquery_read_host=bigquery.grpc_address,
    )
    return Environment("gcp", "shop", tmp_path, tmp_path, cloud=cloud)


@pytest.fixture
def company(env: Environment) -> Company:
    return Company(env)


SALES = (
    "SELECT i AS id, CONCAT('city ', CAST(MOD(i, 10) AS STRING)) AS city, DATE_ADD(DATE '2024-01-01', INTERVAL MOD(i, 100) DAY) "
    "AS day, CAST(i AS NUMERIC) / 4 AS price FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i"
)


def reads(connection: session.Session, relation: str) -> list[session.Read]:
    return connection._reads.get(relation, [])


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


def test_what_is_streamed_is_what_a_query_says(company: Company) -> None:
    company.make("marts.sales", SALES.format(rows=250_000))
    company.publish("v1")
    batches = list(published.arrow_batches(company.env, "marts.sales", ["price", "id"], "id % 2 = 0 AND id <= 200000", 30_000))
    assert batches[0].schema.names == ["price", "id"]
    assert max(batch.num_rows for batch in batches) <= 30_000
    assert sum(sum(batch.column("id").to_pylist()) for batch in batches) == sum(range(0, 200_001, 2))
    with pytest.raises(duckdb.BinderException, match="nothing"):
        list(published.arrow_batches(company.env, "marts.sales", ["nothing"]))


class Cutting:
    """Stands before a server and breaks a connection after so many bytes of answers, so many times."""

    def __init__(self, address: str, after_bytes: int, times: int) -> None:
        host, port = address.rsplit(":", 1)
        self._upstream, self._after, self.left = (host, int(port)), after_bytes, times
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._upstream)
                threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, self._after), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if most is not None and passed > most and self.left > 0:
                    self.left -= 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cutting() -> Iterator[Callable[..., Cutting]]:
    made: list[Cutting] = []

    def cut(env: Environment, after_bytes: int, times: int) -> Cutting:
        assert env.cloud is not None
        assert env.cloud.bigquery_read_host is not None
        made.append(Cutting(env.cloud.bigquery_read_host, after_bytes, times))
        return made[-1]

    yield cut
    for each in made:
        each.close()


def test_streams_that_break_are_gone_on_with_and_no_row_comes_twice_or_is_lost(company: Company, cutting: Callable) -> None:
    company.make("marts.sales", SALES.format(rows=400_000))
    company.publish("v1")
    network = cutting(company.env, after_bytes=700_000, times=4)
    env = replace(company.env, cloud=replace(company.cloud, bigquery_read_host=network.address))
    with published.connect(env) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT id), sum(id), sum(price) FROM sales").fetchone()
    assert found == (400_000, 400_000, 400_000 * 400_001 // 2, Decimal(400_000 * 400_001 // 2) / 4)
    assert network.left == 0


def test_streams_that_break_without_end_are_given_up(
    company: Company, cutting: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FIRST_PAUSE_S", 0.01)
    company.make("marts.sales", SALES.format(rows=100_000))
    company.publish("v1")
    network = cutting(company.env, after_bytes=100_000, times=10_000)
    env = replace(company.env, cloud=replace(company.cloud, bigquery_read_host=network.address))
    with published.connect(env) as connection, pytest.raises(BigQueryUnreachable, match=r"broke 7 times at row \d+"):
        connection.execute("SELECT sum(id) FROM sales")


def test_who_may_not_begin_read_sessions_is_told_which_permission_is_missing(company: Company) -> None:
    import grpc

    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        said = "request failed: the user does not have 'bigquery.readsessions.create' permission for 'projects/acme'"
        context.abort(grpc.StatusCode.PERMISSION_DENIED, said)
        return b""

    handler = grpc.method_handlers_generic_handler(
        "google.cloud.bigquery.storage.v1.BigQueryRead", {"CreateReadSession": grpc.unary_unary_rpc_method_handler(refuse)}
    )
    company.make("marts.a", "SELECT 1 AS n")
    company.publish("v1")
    server = grpc.server(ThreadPoolExecutor(1), (handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        env = replace(company.env, cloud=replace(company.cloud, bigquery_read_host=f"127.0.0.1:{port}"))
        with (
            published.connect(env) as connection,
            pytest.raises(BigQueryRefused, match=r"lacks bigquery\.readsessions\.create.*doctor"),
        ):
            connection.execute("SELECT * FROM a")
    finally:
        server.stop(None)


def test_what_a_reader_brought_goes_when_it_closes_or_dies(company: Company) -> None:
    company.make("marts.a", "SELECT 1 AS n")
    company.publish("v1")
    home = company.env.state / "reads"
    with company.connect() as connection:
        connection.execute("SELECT n FROM a")
        assert list(home.glob("*/0/*.parquet"))
    assert not list(home.iterdir())
    child = "import sys, time; from pathlib import Path; from caudal.warehouse.bigquery.session import _own_folder as own\n"
    child += "held = own(Path(sys.argv[1])); print('ready', flush=True); time.sleep(60)"
    killed = subprocess.Popen([sys.executable, "-c", child, home], stdout=subprocess.PIPE)
    try:
        assert killed.stdout is not None
        killed.stdout.readline()
        with company.connect() as connection:
            assert len([path for path in home.iterdir() if path.is_dir()]) == 2
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(10)
    with company.connect():
        assert len([path for path in home.iterdir() if path.is_dir()]) == 1


IN_BOUNDED_MEMORY = """
import json, resource, sys
from pathlib import Path
from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.warehouse import published

given = json.loads(sys.argv[1])
env = Environment("gcp", "shop", Path(given["data"]), Path(given["data"]), cloud=GoogleCloud(**given["cloud"]))

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

with published.connect(env) as connection:
    connection.execute("SET memory_limit = '100MB'")
    connection.execute("SET threads = 1")
    connection.execute("SELECT id, text FROM small").fetchall()
    before = peak_mib()
    found = connection.execute("SELECT count(*), sum(id), sum(length(text)) FROM wide").fetchone()
    read = peak_mib() - before
streamed = sum(batch.num_rows for batch in published.arrow_batches(env, "marts.wide", where="id % 2 = 0"))
print(json.dumps([*found, streamed, read, peak_mib() - before]))
"""


def test_a_table_of_two_million_rows_is_read_in_bounded_memory(company: Company) -> None:
    made = "SELECT i AS id, CONCAT(CAST(i AS STRING), REPEAT('x', 100)) AS text FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i"
    company.make("marts.small", made.format(rows=10))
    company.make("marts.wide", made.format(rows=2_000_000))
    company.publish("v1")
    told = json.dumps({"data": str(company.env.data), "cloud": vars(company.cloud)})
    done = subprocess.run(
        [sys.executable, "-c", IN_BOUNDED_MEMORY, told], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows, total, length, streamed, read_mib, all_mib = json.loads(done.stdout)
    assert (rows, total, streamed) == (2_000_000, 2_000_000 * 2_000_001 // 2, 1_000_000)
    assert length > 200_000_000
    assert read_mib < 300
    assert all_mib < 350


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


def test_the_moment_is_read_without_a_job(company: Company) -> None:
    company.publish("v1")
    service = BigQuery(company.cloud)
    found = moment.published_moment(service)
    assert found is not None
    assert (found.version, service.done) == ("v1", [])
