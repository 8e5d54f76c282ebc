"""Where the runtime keeps its sockets, claims and logs: below Dagster's home."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from caudal.runtime.warm.workers import Workers

#: What a Unix socket's path may have on the narrowest system (macOS), with what a server appends to it.
_LONGEST_SOCKET = 97


@dataclass(frozen=True)
class Places:
    """The folder `warm` of one Dagster home."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "warm"

    @property
    def workers(self) -> Workers:
        return Workers(self.folder / "runs")

    @property
    def nursery(self) -> Path:
        """The socket of the process that `caudal up` forks its services from."""
        return self.socket("nursery")

    @property
    def queue(self) -> Path:
        """The socket on which the daemon hears that a run was queued."""
        return self.socket("queue")

    def parent(self, location: str, server_id: str) -> Path:
        """The socket of the process that runs of one load of a code location are forked from."""
        return self.socket(f"parent-{hashlib.sha256(f'{location}@{server_id}'.encode()).hexdigest()[:12]}")

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def socket(self, name: str) -> Path:
        """Where a socket called `name` is: beside the rest, or below the system's temporary folder if the path is too long."""
        beside = self.folder / f"{name}.sock"
        if len(os.fsencode(beside)) > _LONGEST_SOCKET:
            mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
            beside = Path(tempfile.gettempdir()) / f"caudal-{os.getuid()}" / mark / f"{name}.sock"
        return beside

    def prepare(self) -> None:
        """Create the folders, for this user only."""
        for folder in (self.folder / "runs", self.folder / "logs", self.nursery.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
