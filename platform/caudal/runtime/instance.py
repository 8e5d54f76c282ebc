"""Dagster's instance on this machine, for commands that may come before the first `caudal up`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from caudal.environment import Environment


@contextmanager
def open_instance(env: Environment) -> Generator[dg.DagsterInstance | None]:
    """The instance in `env.dagster_home`; None if there is none yet."""
    import dagster as dg

    if not (env.dagster_home / "dagster.yaml").is_file():
        yield None
        return
    with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
        yield instance
