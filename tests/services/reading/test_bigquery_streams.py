"""Streams of the Storage Read interface: whole, cut off, refused, and what a reader keeps of them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import duckdb
import pytest

from caudal.environment import Environment
from caudal.warehouse import published
from caudal.warehouse.bigquery import reading
from caudal.warehouse.bigquery.explained import BigQueryRefused, BigQueryUnreachable
from tests.services.reading.company import SALES, Company


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
        [sys.executable, "-c", IN_BOUNDED_MEMORY, told], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Before it DuckDB tells of the progress of what takes longer than 2 s.
    rows, total, length, streamed, read_mib, all_mib = json.loads(done.stdout.splitlines()[-1])
    assert (rows, total, streamed) == (2_000_000, 2_000_000 * 2_000_001 // 2, 1_000_000)
    assert length > 200_000_000
    assert read_mib < 300
    assert all_mib < 350
