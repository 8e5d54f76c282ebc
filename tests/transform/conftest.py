"""A dbt project of its own for each test, and what it takes to run it: a database with a raw table."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from caudal.forking.server import ADDRESS
from caudal.transform.manifest import Manifest, read_manifest
from caudal.transform.project import Project, prepare_manifest

STALL = Path(__file__).with_name("stall")

#: sale_id, customer_id, amount, is_paid
SALES = "(1, 7, 10.50, true), (2, 8, 4.00, true), (3, 8, 1.25, false)"


@pytest.fixture
def stall(tmp_path: Path) -> Path:
    """The folder of a dbt project, free to be changed."""
    return shutil.copytree(STALL, tmp_path / "stall")


@pytest.fixture(scope="session")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as it is, parsed once for all tests."""
    root = tmp_path_factory.mktemp("unchanged")
    project = Project(shutil.copytree(STALL, root / "stall"), root / "state")
    prepare_manifest(project)
    return project


@pytest.fixture(scope="session")
def manifest(unchanged: Project) -> Manifest:
    return read_manifest(prepare_manifest(unchanged))


@pytest.fixture(scope="session")
def warm_parent(unchanged: Project) -> Iterator[tuple[Path, subprocess.Popen]]:
    """A process from which dbt is forked, as runs have one, and its socket."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from caudal.forking.server import Server
        from caudal.transform.preloading import preload
        from caudal.transform.project import Project, prepare_manifest
        prepare_manifest(Project(Path(sys.argv[2]), Path(sys.argv[3])))
        preload()
        Server(Path(sys.argv[1])).serve(on_ready=lambda: print("ready", flush=True))
    """)
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS}
    with tempfile.TemporaryDirectory(prefix="caudal-") as folder:
        socket = Path(folder, "parent")
        command = [sys.executable, "-c", program, socket, unchanged.folder, unchanged.state]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
            try:
                assert parent.stdout is not None
                assert parent.stdout.readline() == "ready\n"
                yield socket, parent
            finally:
                parent.kill()


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What starts dbt has it forked, unless it asks for `cold`."""
    if "cold" not in request.fixturenames:
        monkeypatch.setenv(ADDRESS, str(request.getfixturevalue("warm_parent")[0]))


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no process to fork from: dbt is started as a new interpreter."""
    monkeypatch.delenv(ADDRESS, raising=False)


@pytest.fixture
def warehouse(tmp_path: Path) -> Callable[..., Path]:
    """Make `warehouse.duckdb` with `raw.pos__sales`, whose rows are `values`."""

    def make(values: str = SALES) -> Path:
        database = tmp_path / "warehouse.duckdb"
        with duckdb.connect(str(database)) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
            connection.execute(
                "CREATE OR REPLACE TABLE raw.pos__sales AS "
                "SELECT sale_id::BIGINT AS sale_id, customer_id::BIGINT AS customer_id, amount::DECIMAL(10,2) AS amount, is_paid "
                f"FROM (VALUES {values}) AS t(sale_id, customer_id, amount, is_paid)"
            )
        return database

    return make


@pytest.fixture
def query() -> Callable[..., list[tuple]]:
    """Rows of a query on a database file; it opens only if nobody holds the file's lock."""

    def ask(database: Path, sql: str) -> list[tuple]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute(sql).fetchall()

    return ask
