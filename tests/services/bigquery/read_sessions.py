"""What local-bigquery lacks of read sessions: a `snapshot_time`, that storage holds no views, and messages of bounded size."""

import re
from contextvars import ContextVar

from local_bigquery.errors import BigQueryError
from local_bigquery.grpc import read, server

#: BigQuery's messages hold at most 10 MiB: https://cloud.google.com/bigquery/quotas#read-rows-limits
MESSAGE_ROWS = 20_000

#: The moment of the session that this thread begins, in SQL.
moment: ContextVar[str] = ContextVar("moment", default="")

parse = read.parse
create_session = read.create_session


def serve() -> None:
    read.parse = parse_as_of
    methods = server.SERVICES["google.cloud.bigquery.storage.v1.BigQueryRead"]
    methods["CreateReadSession"] = server._unary(begin, read.types.CreateReadSessionRequest, read.types.ReadSession)
    methods["ReadRows"] = server._streaming(rows, read.types.ReadRowsRequest, read.types.ReadRowsResponse)


def parse_as_of(sql):
    return parse(re.sub(r"^SELECT \* FROM `[^`]+`", rf"\g<0>{moment.get()}", sql))


def begin(request):
    session = request.read_session
    project, dataset, table = read.table(session.table)
    if read.tables.load(project, dataset, table).type == "VIEW":
        raise BigQueryError("invalid", f"{project}:{dataset}.{table} is not allowed for this operation because it is a VIEW")
    modifiers = session.table_modifiers
    at = modifiers.snapshot_time if "snapshot_time" in modifiers else None
    token = moment.set(f" FOR SYSTEM_TIME AS OF TIMESTAMP '{at.isoformat()}'" if at else "")
    try:
        return create_session(request)
    finally:
        moment.reset(token)


def rows(request):
    """The rows of a stream; those in Arrow in messages of few rows, which else would be one for the whole stream."""
    stream = read._lookup(request.read_stream)
    if stream.avro or request.offset > stream.allocated:
        yield from read.read_rows(request)
        return
    place = stream.start + request.offset
    with read.database.cursor() as cursor:
        query = f"SELECT * FROM ({stream.query}) LIMIT {stream.end - place} OFFSET {place}"
        reader = cursor.sql(query).to_arrow_reader(MESSAGE_ROWS)
        for batch in reader:
            place += batch.num_rows
            stream.allocated = max(stream.allocated, place - stream.start)
            sent = {"serialized_record_batch": batch.serialize().to_pybytes()}
            yield read.types.ReadRowsResponse(
                row_count=batch.num_rows, arrow_record_batch=sent, **read._schema(None, reader.schema)
            )
