"""What steps print, kept in a bucket: a real run, read where the run was not."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from caudal.store import StoreError
from tests.conftest import ROOT

SETTINGS = """
compute_logs: {module: caudal.runtime.compute_logs, class: ComputeLogs, config: {base_dir: %s}}
telemetry: {enabled: false}
"""


@dg.asset
def talkative() -> None:
    print("said by the step")


@pytest.fixture
def instance(tmp_path: Path, gcs, monkeypatch: pytest.MonkeyPatch):
    """Make instances, each with a folder of its own, as two machines have."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    for name, value in {
        "CAUDAL_ENV": "gcp", "CAUDAL_GCP_PROJECT": "acme-data", "CAUDAL_GCP_BUCKET": gcs.bucket(), "CAUDAL_ROOT": str(ROOT)
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def make(name: str) -> dg.DagsterInstance:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text(SETTINGS % (tmp_path / name))
        return dg.DagsterInstance.from_config(str(home))

    return make


def log_key_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> list[str]:
    (event,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    return [result.run_id, "compute_logs", event.dagster_event.logs_captured_data.file_key]


def test_output_is_read_on_another_machine_than_the_one_that_ran_the_step(instance, tmp_path: Path):
    with instance("worker") as there:
        result = dg.materialize([talkative], instance=there)
        key = log_key_of(result, there)
        assert not list((tmp_path / "worker").rglob("*.out"))  # nothing stays where the step ran
    with instance("webserver") as here:
        data = here.compute_log_manager.get_log_data(key)
        assert b"said by the step" in data.stdout
        metadata = here.compute_log_manager.get_log_metadata(key)
        assert metadata.stdout_location.startswith("gs://")
        assert metadata.stdout_download_url == f"/logs/{'/'.join(key)}/out"
        assert here.compute_log_manager.is_capture_complete(key)
        assert here.compute_log_manager.get_log_keys_for_log_key_prefix(key[:-1], ComputeIOType.STDOUT) == [key]


def test_logs_that_are_deleted_are_gone_everywhere(instance):
    with instance("worker") as there:
        result = dg.materialize([talkative], instance=there)
        key = log_key_of(result, there)
        there.compute_log_manager.delete_logs(prefix=[result.run_id])
    with instance("webserver") as here:
        assert not here.compute_log_manager.cloud_storage_has_logs(key, ComputeIOType.STDOUT)
        assert here.compute_log_manager.get_log_data(key).stdout is None


def test_an_instance_is_opened_where_the_bucket_cannot_be_written_and_a_run_does_not_fail_for_it(instance, monkeypatch):
    from caudal.store.gcs import GoogleStore

    def refused(*_: object) -> None:
        raise StoreError("gs://b/x: cannot replace y: this account lacks storage.objects.create on the bucket 'b'")

    monkeypatch.setattr(GoogleStore, "replace", refused)
    with instance("worker") as there:
        result = dg.materialize([talkative], instance=there)
        assert result.success
        errors = [
            str(e.dagster_event.engine_event_data.error)
            for e in there.all_logs(result.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if "compute log capture" in (e.message or "")
        ]
    assert "lacks storage.objects.create" in errors[0]
