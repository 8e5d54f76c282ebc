"""Reading tables through BigQuery's Storage Read interface: column by column, in streams, in bounded memory.

One read session is one table at one moment. Each of its streams is read by one thread. A connection that breaks is taken up
again at the row after the last whole message, so that no row comes twice and none is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.duckdb_types import storable
from caudal.warehouse.bigquery.explained import BigQueryUnreachable, error_of, explained
from caudal.warehouse.bigquery.jobs import Job
from caudal.warehouse.bigquery.service import credentials

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.types import ReadSession

    from caudal.warehouse.bigquery.service import BigQuery

#: Streams of a table, each with a thread, a buffer and a file of its own.
STREAMS = 4

#: Rows are written once so many bytes of a stream have come; of each stream no more are held.
BUFFER_BYTES = 8 * 1024**2

#: A broken stream is taken up again so often without a row in between, after pauses that double.
ATTEMPTS = 7
FIRST_PAUSE_S = 0.2

#: A stream that says nothing for so long is taken to be broken.
SILENCE_S = 60

#: What breaks off a stream that can be gone on with, by the names of google.api_core.exceptions.
_PASSING = (
    "ServiceUnavailable",
    "Unknown",
    "InternalServerError",
    "DeadlineExceeded",
    "ResourceExhausted",
    "Aborted",
    "Cancelled",
)


@dataclass(frozen=True)
class Brought:
    """What a read brought.

    Attributes:
        rows: how many.
        bytes: what BigQuery says it scans for them, which is what is paid for.

    """

    rows: int
    bytes: int


class TableReader:
    """Reads tables as they were at one moment.

    Args:
        at: the moment, within BigQuery's time travel; None for when each session begins.

    """

    def __init__(self, service: BigQuery, at: datetime | None = None) -> None:
        self._service = service
        self._cloud = service.cloud
        self._at = at

    @cached_property
    def client(self) -> BigQueryReadClient:
        """Google's client, without its own resumption, which has no end."""
        from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

        options = [
            ("grpc.max_receive_message_length", -1),  # A message holds up to 10 MiB of rows, and what is about them.
            ("grpc.keepalive_time_ms", SILENCE_S * 1000),
            ("grpc.keepalive_timeout_ms", SILENCE_S * 1000),
        ]
        with explained(self._cloud, "connect to BigQuery's Storage Read interface"):
            if self._cloud.bigquery_read_host:
                import grpc

                channel = grpc.insecure_channel(self._cloud.bigquery_read_host, options)
            else:
                channel = BigQueryReadGrpcTransport.create_channel(credentials=credentials(self._cloud), options=options)
            return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if "client" in self.__dict__:
            self.client.transport.close()

    def begin(
        self, table: str, columns: Sequence[str], restriction: str = "", streams: int = STREAMS, *, as_it_is: bool = False
    ) -> ReadSession:
        """A read session of `project.dataset.table`.

        Args:
            columns: those that come; all, if there are none.
            restriction: GoogleSQL that holds for the rows that come.
            as_it_is: now, not at the moment of the others.

        Raises:
            NotThere: there is no such table, or there was none at that moment.
            BigQueryRefused: a permission is missing, such as bigquery.readsessions.create, or the restriction is no condition.

        """
        from google.cloud.bigquery_storage_v1 import types

        project, dataset, name = table.rsplit(".", 2)
        asked = types.ReadSession(
            table=f"projects/{project}/datasets/{dataset}/tables/{name}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                selected_fields=list(columns),
                row_restriction=restriction,
                arrow_serialization_options=types.ArrowSerializationOptions(
                    buffer_compression=types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
                ),
            ),
        )
        if self._at is not None and not as_it_is:
            asked.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=self._at)
        with explained(self._cloud, f"read {table}"):
            began_s = time.monotonic()
            session = self.client.create_read_session(
                parent=f"projects/{self._cloud.project}", read_session=asked, max_stream_count=streams, timeout=SILENCE_S * 2
            )
        read_bytes = int(session.estimated_total_bytes_scanned)
        self._service.note(Job(session.name, "read", read_bytes, seconds=time.monotonic() - began_s))
        return session

    def batches(
        self, session: ReadSession, stream: str, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one stream, message by message.

        Raises:
            BigQueryUnreachable: it broke off `ATTEMPTS` times without a row in between.

        """
        import pyarrow as pa

        schema = arrow_schema(session)
        for message in self._messages(stream, _short(session), stopped):
            yield pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)

    def to_parquet(self, session: ReadSession, folder: Path, limit: int | None = None) -> Brought:
        """All rows as Parquet files in `folder`, one a stream, none for a stream without rows."""
        folder.mkdir(parents=True, exist_ok=True)
        stop = threading.Event()
        rows = 0
        with ThreadPoolExecutor(max_workers=max(1, len(session.streams)), thread_name_prefix="read") as threads:
            futures = [
                threads.submit(self._write, session, stream.name, folder / f"{place}.parquet", stop, limit)
                for place, stream in enumerate(session.streams)
            ]
            try:
                for future in as_completed(futures):
                    rows += future.result()
            finally:
                stop.set()
        return Brought(rows, int(session.estimated_total_bytes_scanned))

    def _write(self, session: ReadSession, stream: str, path: Path, stop: threading.Event, limit: int | None) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        given = arrow_schema(session)
        schema = pa.schema([pa.field(f.name, storable(f.type)) for f in given])
        rows, held = 0, []
        writer = None
        try:
            for batch in self.batches(session, stream, stop.is_set):
                held.append(batch)
                rows += batch.num_rows
                enough = limit is not None and rows >= limit
                if enough or sum(b.nbytes for b in held) >= BUFFER_BYTES:
                    writer = writer or pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False)
                    writer.write_table(pa.Table.from_batches(held, given).cast(schema))
                    held = []
                if enough:
                    break
            if held:
                writer = writer or pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False)
                writer.write_table(pa.Table.from_batches(held, given).cast(schema))
        finally:
            if writer is not None:
                writer.close()
        return rows

    def _messages(self, stream: str, table: str, stopped: Callable[[], bool]) -> Iterator[Any]:
        from google.api_core import exceptions

        passing = tuple(getattr(exceptions, name) for name in _PASSING)
        offset, failures, what = 0, 0, f"read {table}"
        while True:
            call: Any = None
            try:
                client: Any = self.client  # Its stubs do not tell that what it returns can be cancelled.
                call = client.read_rows(read_stream=stream, offset=offset, retry=None)
                for message in call:
                    if stopped():
                        return
                    offset, failures = offset + message.row_count, 0
                    yield message
            except passing as broken:
                failures += 1
                if failures >= ATTEMPTS:
                    raise BigQueryUnreachable(
                        f"{what}: the connection broke {failures} times at row {offset} of a stream: {broken}", "stream"
                    ) from broken
            except exceptions.GoogleAPICallError as refused:
                raise error_of(self._cloud, what, refused) from refused
            else:
                return
            finally:
                if call is not None:
                    call.cancel()
            time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))


def arrow_schema(session: ReadSession) -> pa.Schema:
    """The schema of a read session's rows."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))


def _short(session: ReadSession) -> str:
    """`project.dataset.table`."""
    return ".".join(session.table.split("/")[1::2])
