"""One platform at a time on the same data."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class AlreadyUp(RuntimeError):
    """Another `caudal up` holds the lock. The message says which, and where it serves."""


@dataclass
class Lock:
    """The held lock. What is told of the holder can be changed as it becomes known."""

    _file: IO[str]

    def tell(self, holder: Mapping[str, object]) -> None:
        """Say who holds the lock, for whoever finds it held."""
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), **holder}, self._file)
        self._file.flush()


@contextmanager
def only_one(path: Path) -> Generator[Lock]:
    """Hold the lock at `path`. The system releases it when this process ends, however it does.

    Raises:
        AlreadyUp: it is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(_describe(path)) from None
        lock = Lock(opened)
        lock.tell({})
        yield lock
        lock.tell({"stopped": True})


def holder(path: Path) -> dict[str, object]:
    """What the present or last holder of the lock told of itself; empty if that cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _describe(path: Path) -> str:
    told = holder(path)
    where = f" at {told['dagster']}" if "dagster" in told else ""
    return (
        f"Caudal is already up on {path.parent.parent}{where} (process {told.get('pid', 'unknown')}). "
        "Use that one, or stop it with Ctrl-C in its terminal; CAUDAL_DATA names another folder for another one."
    )
