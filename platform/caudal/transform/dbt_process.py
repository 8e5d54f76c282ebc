"""Starting a process in which dbt runs: forked where a warm parent can be asked for it, else a new interpreter.

What the process does, and how it is spoken to, is the same either way (`dbt_child`). A fork has dbt imported, and what
`preloading` prepared in its parent; importing dbt alone takes 1.5 to 3 s of a processor.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from caudal.forking import client

_LOGGER = logging.getLogger(__name__)
_MODULE = "caudal.transform.dbt_child"
_GRACE_S = 5.0


class DbtProcess(Protocol):
    """A started process, as `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def start(
    task: str,
    *,
    stdin: int,
    stdout: int = 1,
    stderr: int = 2,
    extra: Sequence[int] = (),
    environment: Mapping[str, str],
    folder: Path,
) -> DbtProcess:
    """Have the function `task` of `dbt_child` called in a process of its own, with these file descriptors."""
    if client.available():
        try:
            return client.fork(
                f"{_MODULE}:{task}",
                {},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                extra=extra,
                environment=environment,
                folder=folder,
                name=f"dbt {task}",
            )
        except client.ForkingFailed as problem:
            _LOGGER.warning("dbt is started as a new interpreter, which takes seconds longer: %s", problem)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, task, *map(str, extra)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(extra),
        cwd=folder,
        env=environment,
    )


def end(process: DbtProcess) -> None:
    """Whatever the process does, it has ended when this returns."""
    if process.poll() is not None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
        return
    process.kill()
    process.wait()


def how_it_ended(status: int) -> str:
    """The exit status in words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    if status == client.UNKNOWN_STATUS:
        return "has ended, and so has the process that could have told how"
    return f"ended with status {status}"
