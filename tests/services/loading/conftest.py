"""An environment of its own in both servers, for each test."""

import pytest

from caudal.environment import Environment
from caudal.store import open_store
from tests.conftest import ROOT


@pytest.fixture
def env(tmp_path, gcs, bigquery, monkeypatch):
    """An environment of its own in both servers."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    cloud = bigquery.settings(bucket=gcs.bucket())
    return Environment("gcp", "shop", ROOT, tmp_path / "data", cloud=cloud, lake_elsewhere=str(tmp_path / "lake"))


@pytest.fixture
def drop(env):
    def write(path, content):
        with open_store(env.lake_url).write(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.fixture
def ask(bigquery, env):
    """Rows of a query in which `{x.y}` is a table."""

    def rows(sql, **tables):
        named = {name: f"`{env.cloud.table(relation)}`" for name, relation in tables.items()}
        return [tuple(row.values()) for row in bigquery.client().query(sql.format(**named)).result()]

    return rows


@pytest.fixture
def sold(ask):
    """What the raw table of the stall holds: item and units by file."""
    sql = "SELECT SPLIT(_file, '/')[SAFE_OFFSET(2)], item, units FROM {t} ORDER BY 1, _row, 2"
    return lambda: ask(sql, t="loading.stall__sales")
