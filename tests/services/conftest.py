"""The servers that several modules of tests share, each started when a test first asks for it.

BigQuery's is started anew for each module, which takes 2 s: all that it does takes longer the more tables it holds.
"""

from collections.abc import Iterator

import pytest

from tests.services.cloud import BigQuery, Storage, bigquery_server, storage_server

#: The modules that take longest: a worker that began one last would work on it alone.
LONGEST = ("test_shop_in_bigquery", "test_bigquery_killed_publishing", "test_bigquery_publishing", "test_both_engines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with storage_server(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="module")
def bigquery(tmp_path_factory: pytest.TempPathFactory, gcs: Storage) -> Iterator[BigQuery]:
    with bigquery_server(tmp_path_factory.mktemp("bigquery"), gcs) as server:
        yield server


@pytest.fixture
def dataset(bigquery: BigQuery) -> str:
    """The name of a new dataset in BigQuery, of this test alone."""
    return bigquery.dataset()
