"""The process that runs of one load of a code location are forked from: it has imported the location, and does nothing."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What a run needs that importing definitions does not bring; each of these a run would otherwise import itself.
_OF_A_RUN = (
    "alembic.command",
    "alembic.script",
    "caudal.runtime.compute_logs",
    "caudal.runtime.storage",
    "caudal.runtime.warm.worker",
    "dagster._cli.api",
    "dagster._core.definitions.external_asset",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.resume_retry",
    "dagster._core.execution.run_metrics_thread",
    "dagster._core.execution.telemetry",
    "dagster._core.instance.factory",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.remote_representation.external",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "fsspec.implementations.local",
    "multiprocessing.popen_forkserver",
    "multiprocessing.queues",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "structlog",
    "tqdm",
    "upath",
)
#: What is imported once a run has needed it: libraries that start nothing and keep nothing at import.
PRELOADABLE = frozenset(
    {
        *("pandas", "pandas.io.formats.style", "numpy", "numpy.random", "pyarrow", "pyarrow.dataset", "pyarrow.parquet"),
        *("pyarrow.pandas_compat", "pyarrow.csv", "pyarrow.json", "pyarrow.compute", "deltalake", "duckdb"),
        *("python_calamine", "fastavro", "scipy.sparse", "scipy.stats", "scipy.sparse.csgraph", "lightgbm", "sklearn"),
        *("mlflow", "mlflow.tracking", "mlflow.lightgbm", "mlflow.pyfunc", "matplotlib", "matplotlib.pyplot"),
        *("matplotlib.figure", "matplotlib.backends.backend_agg", "nbclient", "nbformat", "jupyter_client", "yaml"),
        *("dbt.cli.main", "sqlglot", "fsspec", "sqlite3", "openpyxl"),
    }
)
_PREPARATIONS = {"dbt.cli.main": "caudal.transform.preloading:preload"}
_TASKS = frozenset({"caudal.runtime.warm.worker:run", "caudal.transform.dbt_child:serve", "caudal.transform.dbt_child:parse"})


def serve(arguments: Mapping[str, Any], _: list[int]) -> int:
    """Import the code location and fork what is asked for. `arguments`: `socket`, `origin`, `idle_s`."""
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.origin import RepositoryPythonOrigin
    from dagster._serdes import deserialize_value

    from caudal.forking.server import AlreadyServed, Server

    origin = deserialize_value(arguments["origin"], RepositoryPythonOrigin)
    if origin.code_pointer is not None and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in _OF_A_RUN:
        importlib.import_module(name)
    repository = ReconstructableRepository(
        origin.code_pointer, origin.container_image, origin.executable_path, origin.entry_point, origin.container_context
    )
    assert repository.get_definition().asset_graph is not None  # it is made when it is first asked for
    try:
        Server(Path(arguments["socket"]), PRELOADABLE, _PREPARATIONS, arguments["idle_s"], _TASKS).serve()
    except AlreadyServed:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(serve(json.loads(sys.argv[1]), []))
