"""Where the runtime keeps its sockets, claims and logs: below Dagster's home."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from caudal.runtime.sockets import mark_of, place_of_socket
from caudal.runtime.warm.workers import Workers

#: How much a server appends to the path of its socket.
_APPENDED = 6


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
        return place_of_socket(self.folder / f"{name}.sock", f"{mark_of(self.home)}/{name}.sock", spare=_APPENDED)

    def prepare(self) -> None:
        """Create the folders, for this user only."""
        for folder in (self.folder / "runs", self.folder / "logs", self.nursery.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
