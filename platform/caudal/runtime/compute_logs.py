"""What steps print, captured without a process beside each step.

Dagster's own local capture starts two `tail` processes and two Python interpreters a step, to repeat on the terminal what the
files get. That took most of the time of a small step. It is done here only where somebody sits at that terminal.

In the environment `gcp` they are kept in its bucket, by the same line of dagster.yaml: see `cloud_compute_logs`.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.execution.compute_logs import mirror_stream_to_file, redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

from caudal.environment import Environment

if TYPE_CHECKING:
    from dagster._config.config_schema import UserConfigSchema

#: How often a page that shows a step's output looks for more.
_LOOK_AGAIN_S = 1.0


class ComputeLogs(LocalComputeLogManager):
    """Dagster's local compute logs, below the home of the instance unless `base_dir` names another folder."""

    def __init__(self, base_dir: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir or "", _LOOK_AGAIN_S, inst_data)

    @classmethod
    def config_type(cls) -> "UserConfigSchema":
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Compute logs of the environment: these, or in `gcp` those that are kept in its bucket."""
        cloud = Environment.current().cloud
        if cloud is None:
            return cls(inst_data=inst_data, **config_value)
        from caudal.runtime.cloud_compute_logs import CloudComputeLogs

        return CloudComputeLogs(cloud, config_value.get("base_dir"), inst_data)

    def register_instance(self, instance: Any) -> None:
        """Below the instance's folder, where Dagster's own are too, unless another one was said."""
        super().register_instance(instance)
        self._base_dir = self._base_dir or str(Path(instance.root_directory) / "storage")

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        with ExitStack() as redirected:
            for stream, kind in ((sys.stdout, ComputeIOType.STDOUT), (sys.stderr, ComputeIOType.STDERR)):
                path = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
                path.parent.mkdir(parents=True, exist_ok=True)
                into = mirror_stream_to_file if stream.isatty() else redirect_to_file
                redirected.enter_context(into(stream, str(path)))
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()
