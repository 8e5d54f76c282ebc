"""A BigQuery server for tests: local-bigquery on given ports, and what it lacks of the real one."""

import argparse
import tempfile
from pathlib import Path

import costs
import duckdb
import modified
import partitions
import read_sessions
import statements
import uvicorn
from local_bigquery.engine import database
from local_bigquery.grpc import server
from local_bigquery.settings import settings
from objects import Objects

connect_plainly = duckdb.connect
extensions = tempfile.TemporaryDirectory()


def connect(*arguments, config=None, **named):
    """DuckDB that finds its extensions, packages of this environment, where it would put them after fetching them."""
    return connect_plainly(*arguments, config={**(config or {}), "extension_directory": extensions.name}, **named)


def lay_out_extensions() -> None:
    ((platform,),) = connect_plainly().execute("PRAGMA platform").fetchall()
    for found in Path(duckdb.__file__).parents[1].glob("duckdb_extension_*/extensions/*/*.duckdb_extension"):
        link = Path(extensions.name, found.parent.name, platform, found.name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of REST, on 127.0.0.1")
    parser.add_argument("--grpc-port", type=int, required=True, help="of the Storage APIs, on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="a folder")
    parser.add_argument("--project", required=True)
    parser.add_argument("--storage", required=True, help="the address of the Cloud Storage server, as http://...")
    given = parser.parse_args()
    settings.data_dir, settings.default_project_id, settings.default_dataset_id = given.data, given.project, "unnamed"

    with extensions, tempfile.TemporaryDirectory() as folder:
        lay_out_extensions()
        duckdb.connect = connect
        for gap in (statements, partitions, costs, modified, read_sessions, Objects(given.storage, Path(folder))):
            gap.serve()
        database.connection()
        storage_apis, _ = server.start("127.0.0.1", given.grpc_port)
        try:
            uvicorn.run("local_bigquery:app", host="127.0.0.1", port=given.port, log_level="warning")
        finally:
            storage_apis.stop(None)


if __name__ == "__main__":
    main()
