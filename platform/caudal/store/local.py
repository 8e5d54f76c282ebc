"""A lake in a local folder, and the atomic writing, listing and locking of local files that every stage uses."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import os
import shutil
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caudal.store.objects import Found, LakeObject, StoreError, checked, is_unfinished, local_name


class LocalStore:
    """A folder. Versions are sizes and modification times: `<size>-<mtime in ns>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.absolute().as_uri()

    def list(self, prefix: str) -> Iterator[LakeObject]:
        return list_objects(self.folder, prefix)

    def find(self, path: str) -> LakeObject | None:
        try:
            status = (self.folder / checked(path)).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return LakeObject(path, version_of(status), status.st_size)

    def unchanged(self, path: str, version: str) -> bool:
        live = self.find(path)
        return live is not None and live.version == version

    def fetch(self, found: Found, into: Path) -> Path | None:
        """A second name (hard link) for the file; where the file system has none, or `into` is on another one, a copy."""
        source, target = self.folder / checked(found.path), into / local_name(found)
        if source.is_symlink():
            source = source.resolve()
        into.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as refused:
            if refused.errno not in {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}:
                raise
            return target if self._copied(found, target) else None
        if version_of(target.stat()) == found.version:
            return target
        target.unlink()
        return None

    def create(self, path: str, source: Path) -> bool:
        target = self.folder / checked(path)
        if target.exists():
            return False
        with _beside(target) as temporary:
            shutil.copyfile(source, temporary)
            _flush(temporary)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as refused:
                raise StoreError(
                    f"{target}: cannot be created: {refused.strerror}. The lake's file system needs hard links, so that of "
                    "several writers one succeeds; put the lake on one that has them"
                ) from refused
        return True

    def replace(self, path: str, source: Path) -> None:
        with write_atomically(self.folder / checked(path)) as temporary:
            shutil.copyfile(source, temporary)

    def exchange(self, path: str, version: str, source: Path) -> bool:
        target = self.folder / checked(path)
        with _beside(target) as temporary:
            shutil.copyfile(source, temporary)
            is_live = self.unchanged(path, version)
            if is_live:
                _put(temporary, target)
        return is_live

    def delete(self, path: str) -> None:
        (self.folder / checked(path)).unlink(missing_ok=True)

    @contextmanager
    def write(self, path: str, *, keep_same: bool = False) -> Generator[Path]:
        target = self.folder / checked(path)
        with _beside(target) as temporary:
            yield temporary
            if not (keep_same and target.is_file() and filecmp.cmp(temporary, target, shallow=False)):
                _put(temporary, target)

    def _copied(self, found: Found, target: Path) -> bool:
        """Whether `target` is now a copy of that version. One that is written to meanwhile has another version afterwards."""
        try:
            with (self.folder / found.path).open("rb") as source:
                if version_of(os.fstat(source.fileno())) == found.version:
                    with target.open("wb") as copy:
                        shutil.copyfileobj(source, copy, 1 << 20)
                    if version_of(os.fstat(source.fileno())) == found.version and self.unchanged(found.path, found.version):
                        return True
        except FileNotFoundError:
            pass
        target.unlink(missing_ok=True)
        return False


@contextmanager
def write_atomically(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; when the block ends, flush it to disk and rename it to `path`.

    If the block raises, the temporary file is removed and `path` is as it was. A reader sees the old file or the new one.
    """
    with _beside(path) as temporary:
        yield temporary
        _put(temporary, path)


def list_objects(lake: Path, prefix: str) -> Iterator[LakeObject]:
    """Yield the finished objects below `prefix`, in no particular order. A missing prefix holds nothing.

    A file that vanishes or cannot be examined while it is listed is left out: the next listing will tell.
    """
    start = prefix.strip("/")
    pending = [f"{start}/" if start else ""]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(lake / folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            name = entry.name
            if is_unfinished(name):
                continue
            try:
                if entry.is_dir():
                    pending.append(f"{folder}{name}/")
                    continue
                status = entry.stat()
            except FileNotFoundError:
                continue
            yield LakeObject(folder + name, version_of(status), status.st_size)


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


@contextmanager
def _beside(path: Path) -> Generator[Path]:
    """A name for a temporary file beside `path`, which is removed afterwards if it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _put(temporary: Path, target: Path) -> None:
    """Rename the finished file. Where the clock ticks so slowly that it would have the old one's version, it is made newer."""
    _flush(temporary)
    with suppress(FileNotFoundError):
        status, old = temporary.stat(), target.stat()
        if version_of(status) == version_of(old):
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    temporary.replace(target)


def _flush(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())
