"""These tests need no dbt, and so no process to fork it from."""

import pytest


@pytest.fixture(autouse=True)
def warm() -> None:
    """Instead of the one that starts such a process."""
