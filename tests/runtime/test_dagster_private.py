"""What the runtime takes from Dagster beyond its public API: an upgrade that changes it fails here, by name, and not at night."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import dagster as dg
import pytest

#: Module, name, and the parameters that are used, in order where they are positional.
USED = [
    ("dagster._cli.api", "_execute_run_command_body", ["run_id", "instance", "write_stream_fn", "set_exit_code_on_failure"]),
    ("dagster._core.definitions.reconstruct", "ReconstructableRepository", ["pointer", "container_image", "executable_path"]),
    ("dagster._core.launcher.base", "CheckRunHealthResult", ["status", "msg", "transient", "run_worker_id"]),
    ("dagster._core.launcher.base", "LaunchRunContext", ["dagster_run", "workspace"]),
    ("dagster._core.origin", "RepositoryPythonOrigin", ["executable_path", "code_pointer"]),
    ("dagster._core.workspace.load_target", "WorkspaceFileTarget", []),
    (
        "dagster._daemon.asset_daemon",
        "AssetDaemon._run_iteration_impl",
        ["workspace_process_context", "threadpool_executor", "amp_tick_futures", "debug_crash_flags"],
    ),
    ("dagster._daemon.asset_daemon", "AssetDaemon", ["settings", "pre_sensor_interval_seconds"]),
    ("dagster._daemon.controller", "create_daemon_of_type", ["daemon_type", "instance"]),
    ("dagster._daemon.controller", "daemon_controller_from_instance", ["instance", "workspace_load_target", "gen_daemons"]),
    (
        "dagster._daemon.sensor",
        "execute_sensor_iteration",
        ["workspace_process_context", "logger", "threadpool_executor", "submit_threadpool_executor", "sensor_tick_futures"],
    ),
    ("dagster._daemon.utils", "DaemonErrorCapture.process_exception", ["exc_info", "logger", "log_message"]),
    ("dagster._grpc.client", "DagsterGrpcClient.can_cancel_execution", ["can_cancel_execution_request", "timeout"]),
    ("dagster._utils.interrupts", "capture_interrupts", []),
    ("dagster._core.launcher", "DefaultRunLauncher._get_grpc_client_for_termination", ["run_id"]),
]


@pytest.mark.parametrize(("module", "name", "parameters"), USED, ids=[f"{m}.{n}" for m, n, _ in USED])
def test_what_is_called_is_there_and_takes_what_it_is_given(module: str, name: str, parameters: list[str]) -> None:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
        assert found is not None, f"Dagster has no {module}.{name} any more"
    taken = [each for each in inspect.signature(found).parameters if each in parameters]
    assert taken == parameters, f"{module}.{name} takes other parameters: {inspect.signature(found)}"


def test_a_run_launcher_has_no_duty_that_ours_does_not_know() -> None:
    from dagster._core.launcher.base import RunLauncher

    known = {
        *("launch_run", "terminate", "dispose", "join", "supports_check_run_worker_health", "check_run_worker_health"),
        *("get_run_worker_debug_info", "supports_resume_run", "resume_run"),
    }
    assert {name for name in vars(RunLauncher) if not name.startswith("_")} == known


def test_the_daemons_that_are_replaced_are_those_that_an_instance_asks_for() -> None:
    from dagster._daemon.daemon import MonitoringDaemon, SensorDaemon
    from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

    kinds = {each.daemon_type() for each in (MonitoringDaemon, SensorDaemon, QueuedRunCoordinatorDaemon)}
    assert kinds == {"MONITORING", "SENSOR", "QUEUED_RUN_COORDINATOR"}
    for method in (SensorDaemon.core_loop, QueuedRunCoordinatorDaemon.core_loop):
        assert list(inspect.signature(method).parameters) == ["self", "workspace_process_context", "shutdown_event"]
    for method in (MonitoringDaemon.run_iteration, QueuedRunCoordinatorDaemon.run_iteration):
        assert list(inspect.signature(method).parameters)[:2] == ["self", "workspace_process_context"]
    daemon = SensorDaemon({})
    assert all(hasattr(daemon, name) for name in ("_threadpool_executor", "_submit_threadpool_executor", "_logger"))


def test_an_instance_makes_the_launcher_and_the_queue_that_its_settings_name(tmp_path: Any) -> None:
    from caudal.runtime.warm.launcher import WarmRunLauncher
    from caudal.runtime.warm.queue import WakingRunCoordinator

    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_launcher: {module: caudal.runtime.warm.launcher, class: WarmRunLauncher, config: {idle_exit_s: 5.0}}\n"
        "run_coordinator: {module: caudal.runtime.warm.queue, class: WakingRunCoordinator, config: {dequeue_interval_seconds: 1}}\n"
        "concurrency: {runs: {max_concurrent_runs: 2}}\n"
        "run_monitoring: {enabled: true}\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, WarmRunLauncher)
        assert isinstance(instance.run_coordinator, WakingRunCoordinator)
        assert instance.run_launcher.supports_check_run_worker_health
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == 2
        assert instance.root_directory == str(tmp_path)


def test_code_locations_of_code_servers_say_which_load_they_are() -> None:
    from dagster._core.remote_representation.code_location import GrpcServerCodeLocation

    assert isinstance(GrpcServerCodeLocation.server_id, property)
