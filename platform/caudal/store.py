"""Objects of the lake on a file system: written whole or not at all, listed with what tells one version from the next.

Every stage that writes files which others watch uses `write_atomically`. A name that starts with a dot or ends in `.tmp`,
`.part` or `.crdownload` is somebody's unfinished work and is never listed.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UNFINISHED_SUFFIXES = (".tmp", ".part", ".crdownload")


@dataclass(frozen=True)
class LakeObject:
    """One listed object.

    Attributes:
        path: relative to the lake, with forward slashes.
        version: differs whenever the content does: size and modification time in nanoseconds.
        size_bytes: its length.

    """

    path: str
    version: str
    size_bytes: int


@contextmanager
def write_atomically(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; when the block ends, flush it to disk and rename it to `path`.

    If the block raises, the temporary file is removed and `path` is as it was. A reader sees the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def list_objects(lake: Path, prefix: str) -> Iterator[LakeObject]:
    """Yield the finished objects below `prefix`, in no particular order. A missing prefix holds nothing.

    A file that vanishes or cannot be examined while it is listed is left out: the next listing will tell.
    """
    pending = [lake / prefix]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED_SUFFIXES):
                continue
            try:
                if entry.is_dir():
                    pending.append(Path(entry.path))
                    continue
                status = entry.stat()
            except FileNotFoundError:
                continue
            path = Path(entry.path).relative_to(lake).as_posix()
            yield LakeObject(path, version_of(status), status.st_size)


def version_of(status: os.stat_result) -> str:
    """The version of a file with this status: `<size>-<mtime in ns>`."""
    return f"{status.st_size}-{status.st_mtime_ns}"


@contextmanager
def exclusive_lock(path: Path) -> Generator[None]:
    """Hold an exclusive lock on `path` among processes, waiting for it. The system releases it if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
