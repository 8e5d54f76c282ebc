"""An environment of its own in the BigQuery server for each test, and what readers see there."""

from functools import partial

import pytest

from tests.services.in_bigquery import environment, rows_of


@pytest.fixture
def env(tmp_path, bigquery):
    return environment(bigquery, tmp_path / "data")


@pytest.fixture
def seen(env):
    return partial(rows_of, env)
