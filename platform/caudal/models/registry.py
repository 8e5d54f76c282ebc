"""The model registry: MLflow on SQLite, without a server.

An evaluation is one finished MLflow run of the experiment that bears the model's name: its parameters, errors
and verdict, and `evaluation.json`. A promoted evaluation gets `model.json` and a registered version of its
own run; the alias `champion` says which version serves, and moving it is one committed statement, so a
process killed at any moment leaves the champion as it was or as it shall be. Unfinished runs and versions
without the alias are never read.

Only this module knows MLflow. Importing it costs 2 to 4 s and creating the database another 3 s, once;
recording an evaluation or promoting takes some 30 ms.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock, write_atomically

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from caudal.environment import Environment

CHAMPION = "champion"
EVALUATION_FILE = "evaluation.json"
MODEL_FILE = "model.json"


@dataclass(frozen=True)
class RecordedEvaluation:
    """A finished evaluation: the id of its MLflow run and the text that was recorded."""

    run_id: str
    text: str


@dataclass(frozen=True)
class Champion:
    """The version that serves: its number, the run that made it, the model's text and that of its evaluation."""

    version: int
    run_id: str
    model: str
    evaluation: str


def record_evaluation(
    env: Environment,
    model: str,
    text: str,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    verdict: str,
) -> RecordedEvaluation:
    """Record an evaluation as one MLflow run. Metrics that are not finite are left out; MLflow would store
    them as 0.
    """
    import math
    import time

    with _client(env) as client:
        from mlflow.entities import Metric, Param, RunTag

        experiment = client.get_experiment_by_name(model)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(model, artifact_location=str(_artifacts(env)))
        )
        run = client.create_run(experiment_id)
        run_id = run.info.run_id
        now_ms = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items() if math.isfinite(value)],
            params=[Param(name, str(value)) for name, value in parameters.items()],
            tags=[RunTag("verdict", verdict)],
        )
        _write(env, run_id, EVALUATION_FILE, text)
        client.set_terminated(run_id)
    return RecordedEvaluation(run_id, text)


def latest_evaluation(env: Environment, model: str) -> RecordedEvaluation | None:
    """The evaluation of `model` that finished last, or None."""
    if not _database(env).exists():
        return None
    with _client(env) as client:
        experiment = client.get_experiment_by_name(model)
        if experiment is None:
            return None
        finished = client.search_runs(
            [experiment.experiment_id],
            "attributes.status = 'FINISHED'",
            order_by=["attributes.end_time DESC"],
            max_results=1,
        )
    if not finished:
        return None
    run_id = finished[0].info.run_id
    return RecordedEvaluation(run_id, _read(env, run_id, EVALUATION_FILE))


def promote(env: Environment, model: str, evaluation: RecordedEvaluation, text: str) -> Champion:
    """Register `text` as the next version of `model`, and make it the champion."""
    with _client(env) as client:
        from mlflow.exceptions import MlflowException

        _write(env, evaluation.run_id, MODEL_FILE, text)
        try:
            client.create_registered_model(model)
        except MlflowException as known:
            if known.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = str(_artifact_path(env, evaluation.run_id, MODEL_FILE))
        version = int(client.create_model_version(model, source, evaluation.run_id).version)
        client.set_registered_model_alias(model, CHAMPION, str(version))
    return Champion(version, evaluation.run_id, text, evaluation.text)


def champion(env: Environment, model: str) -> Champion | None:
    """The version of `model` that serves, or None where none was ever promoted."""
    if not _database(env).exists():
        return None
    with _client(env) as client:
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(model, CHAMPION)
        except MlflowException as missing:
            if missing.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    run_id = str(version.run_id)
    return Champion(int(version.version), run_id, _read(env, run_id, MODEL_FILE), _read(env, run_id, EVALUATION_FILE))


def _database(env: Environment) -> Path:
    return env.registry / "mlflow.db"


def _artifacts(env: Environment) -> Path:
    return env.registry / "artifacts"


@contextmanager
def _client(env: Environment) -> Generator[MlflowClient]:
    """A client of the registry, alone: creating the tables, and SQLite's writers, do not bear company."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # Read when MLflow is first imported.
    import logging

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{_database(env)}"
    with exclusive_lock(env.registry / "registry.lock"):
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)


def _artifact_path(env: Environment, run_id: str, name: str) -> Path:
    """Where MLflow, too, looks for the artifact: the experiment's location is this environment's folder."""
    return _artifacts(env) / run_id / "artifacts" / name


def _write(env: Environment, run_id: str, name: str, text: str) -> None:
    with write_atomically(_artifact_path(env, run_id, name)) as path:
        path.write_text(text, encoding="utf-8")


def _read(env: Environment, run_id: str, name: str) -> str:
    path = _artifact_path(env, run_id, name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the registry knows run {run_id}, but not its {name}. Restore the folder "
            f"{_artifacts(env)} from a backup, or remove {env.registry} and evaluate again."
        )
    return path.read_text(encoding="utf-8")
