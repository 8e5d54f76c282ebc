"""Shards normalized through Dagster Pipes: by processes of this machine, or by pods of a Kubernetes cluster."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg

from caudal.environment import Environment
from caudal.warehouse.shards import Spread


def pipes_spread(context: dg.AssetExecutionContext, env: Environment) -> Spread:
    """Runs the program of each shard at once, its output and messages in the log of the step `context`.

    Where `CAUDAL_SHARD_POD` names a pod's spec, that is in pods (`dagster_k8s.PipesK8sClient`), and else in processes.
    """
    start = _in_pod(context, env.shard_pod) if env.shard_pod else _in_process(context)

    def spread(folders: Sequence[Path]) -> None:
        with ThreadPoolExecutor(len(folders), thread_name_prefix="shard") as pool:
            for ended in [pool.submit(start, [sys.executable, "-m", "caudal.warehouse.shards", str(f)]) for f in folders]:
                ended.result()

    return spread


def _in_process(context: dg.AssetExecutionContext) -> Callable[[list[str]], object]:
    client = dg.PipesSubprocessClient()
    return lambda command: client.run(context=context, command=command)


def _in_pod(context: dg.AssetExecutionContext, spec: Path) -> Callable[[list[str]], object]:
    import yaml
    from dagster_k8s import PipesK8sClient  # ty: ignore[import-not-found]

    pod: dict[str, Any] = yaml.safe_load(spec.read_text())
    client = PipesK8sClient()
    return lambda command: client.run(context=context, command=["python", *command[1:]], base_pod_spec=pod)
