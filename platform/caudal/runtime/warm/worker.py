"""One run, in a process forked for it. What Dagster's `api execute_run` does, with the imports done."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caudal.runtime.warm.places import Places


def run(arguments: Mapping[str, Any], _: list[int]) -> int:
    """Execute a run unless it has a worker, or has ended. `arguments`: `run_id`, `instance_ref`, `home`."""
    places = Places(Path(arguments["home"]))
    run_id = arguments["run_id"]
    if not places.workers.claim(run_id):
        sys.stderr.write(f"Run {run_id} has a worker already; this one does nothing\n")
        return 0
    return _execute(run_id, arguments["instance_ref"], places)


def _execute(run_id: str, instance_ref: str, places: Places) -> int:
    import dagster as dg
    from dagster._cli.api import _execute_run_command_body
    from dagster._core.instance.ref import InstanceRef
    from dagster._serdes import deserialize_value
    from dagster._utils.interrupts import capture_interrupts

    from caudal.runtime.warm.queue import wake

    with capture_interrupts(), dg.DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef)) as instance:
        status = _execute_run_command_body(run_id, instance, lambda _event: None, set_exit_code_on_failure=True)
        record = instance.get_run_by_id(run_id)
        if record is None or record.is_finished:
            places.workers.forget(run_id)
    wake(places)  # there is room for another run
    return status
