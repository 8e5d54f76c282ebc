"""An empty Dagster home with our storage: made once, copied for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

SETTINGS = """
telemetry: {enabled: false}
storage: {custom: {module: caudal.runtime.storage, class: LocalStorage}}
compute_logs: {module: caudal.runtime.compute_logs, class: ComputeLogs}
"""


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose databases exist and are empty."""
    home = tmp_path_factory.mktemp("empty")
    (home / "dagster.yaml").write_text(SETTINGS)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
        instance.event_log_storage.get_maximum_record_id()
        instance.schedule_storage.get_ticks("none", "none")
    return home


@pytest.fixture
def local_home(empty_home: Path, tmp_path: Path) -> Path:
    """A home of one's own."""
    home = tmp_path / "home"
    (home / "database").mkdir(parents=True)
    (home / "dagster.yaml").write_text(SETTINGS)
    for database in (empty_home / "database").glob("*.db"):
        (home / "database" / database.name).write_bytes(database.read_bytes())
    return home


@pytest.fixture
def local_instance(local_home: Path) -> Iterator[dg.DagsterInstance]:
    """Its instance."""
    with dg.DagsterInstance.from_config(str(local_home)) as opened:
        yield opened
