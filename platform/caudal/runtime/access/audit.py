"""The audit: a line of JSON before a mutation, and one after it. What cannot be written down is not done."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE_NAME = "mutations.jsonl"


class AuditUnavailable(RuntimeError):
    """A line of the audit cannot be written. The message says where and why."""


def audit_folder(logs: Path) -> Path:
    """Where the audit is, beside the logs of the services."""
    return logs / "audit"


@dataclass
class Audit:
    """Appends to `folder/mutations.jsonl`, which only this account can read. Any number of processes may write.

    A line that is returned from `write` is on the disk. A file that has become large is put aside under the time at which that
    happened, and the oldest beyond `keep_files` are removed.
    """

    folder: Path
    rotate_bytes: int = 20_000_000
    keep_files: int = 50
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, with the time added.

        Raises:
            AuditUnavailable: it could not be written whole.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"at": now, **record}, default=str).encode() + b"\n"
        try:
            with self._lock:
                self._append(line)
        except OSError as problem:
            raise AuditUnavailable(f"The audit {self.path} cannot be written: {problem.strerror or problem}") from problem

    def _append(self, line: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._open()
        try:
            size = os.fstat(file).st_size
            if size >= self.rotate_bytes:
                self._put_aside()
                os.close(file)
                file = self._open()
                size = 0
            if size and not _ends_a_line(file, size):
                line = b"\n" + line  # whoever wrote last was killed in the middle
            if os.write(file, line) != len(line):
                os.ftruncate(file, size)
                raise OSError("the disk is full")
            os.fsync(file)
        finally:
            os.close(file)

    def _open(self) -> int:
        """The file at `path`, locked: no other process puts it aside or writes to it meanwhile."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), self.path.stat()):
                    return file
            os.close(file)  # it was put aside while this process waited for it

    def _put_aside(self) -> None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self.path.rename(self.folder / f"mutations.{moment}.jsonl")
        for old in self._aside()[: -self.keep_files]:
            old.unlink(missing_ok=True)

    def _aside(self) -> list[Path]:
        """What was put aside, the oldest first."""
        return sorted(self.folder.glob("mutations.*.jsonl"))

    def records(self) -> Iterator[dict[str, Any]]:
        """Everything that is kept, the oldest first. A line that was cut off is left out."""
        for path in (*self._aside(), self.path):
            with suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
                for line in lines:
                    with suppress(ValueError):
                        yield json.loads(line)


def _ends_a_line(file: int, size: int) -> bool:
    return os.pread(file, 1, size - 1) == b"\n"
