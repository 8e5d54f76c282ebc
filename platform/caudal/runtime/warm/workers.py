"""Which run has a worker, and that no run has two.

A run is claimed by a file named for it, which appears in one step, and only if nobody was first. A warm worker's file is
locked by its process: the kernel releases the lock when the process ends, whatever ends it, so that a claim whose lock is
free is a dead worker's. A run that was given to the stock launcher is claimed too, without a lock: a warm worker that is late
finds the claim and does nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_SUFFIX = ".worker"


class By(Enum):
    """Who was given the run."""

    WARM = "warm"
    STOCK = "stock"
    #: The run was ended before anybody began it.
    NOBODY = "nobody"


@dataclass(frozen=True)
class Claim:
    """What is known of a run's worker: its process id is of interest only while `alive`."""

    by: By
    pid: int
    alive: bool


@dataclass(frozen=True)
class Workers:
    """The claims below `folder`, one file a run. Any number of processes may use it at once."""

    folder: Path

    def claim(self, run_id: str, by: By = By.WARM) -> bool:
        """Take the run, for as long as this process lives if `by` is WARM; False if somebody was first."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unseen = self.folder / f".{run_id}.{uuid.uuid4().hex}"
        descriptor = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        won = False
        try:
            os.write(descriptor, json.dumps({"by": by.value, "pid": os.getpid()}).encode())
            if by is By.WARM:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileExistsError):
                os.link(unseen, self._path(run_id))
                won = True
        finally:
            unseen.unlink()
            if not (won and by is By.WARM):
                os.close(descriptor)
        return won

    def look(self, run_id: str) -> Claim | None:
        """The claim on a run, or None if there is none."""
        try:
            with self._path(run_id).open("rb") as opened:
                told = json.loads(opened.read())
                by = By(told["by"])
                return Claim(by, int(told["pid"]), alive=by is By.WARM and _is_locked(opened.fileno()))
        except FileNotFoundError:
            return None

    def is_alive(self, run_id: str) -> bool:
        """Whether a warm worker of the run is alive."""
        claim = self.look(run_id)
        return claim is not None and claim.alive

    def send_signal(self, run_id: str, number: int) -> bool:
        """Signal a living warm worker; False if there is none. What it has started of its own is not reached."""
        claim = self.look(run_id)
        if claim is None or not claim.alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(claim.pid, number)
        return True

    def forget(self, run_id: str) -> None:
        """Remove the claim. Do so when the run is final, or nobody was told to begin it."""
        self._path(run_id).unlink(missing_ok=True)

    def claimed(self) -> Iterator[str]:
        """The ids of all runs with a claim."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    yield entry.name.removesuffix(_SUFFIX)

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}{_SUFFIX}"


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
