"""A company in the BigQuery server, for each test."""

from pathlib import Path

import pytest

from caudal.environment import Environment
from tests.services.cloud import BigQuery as Server
from tests.services.reading.company import Company


@pytest.fixture
def env(bigquery: Server, tmp_path: Path) -> Environment:
    cloud = bigquery.settings(bigquery_read_host=bigquery.grpc_address)
    return Environment("gcp", "shop", tmp_path, tmp_path, cloud=cloud)


@pytest.fixture
def company(env: Environment) -> Company:
    return Company(env)
