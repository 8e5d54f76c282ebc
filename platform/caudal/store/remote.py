"""What the stores that are reached over a network have in common: staged writing, comparing, hashing and trying again."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import importlib
import random
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from caudal.store.objects import Found, LakeObject, StoreError, StoreUnreachable, checked, endings, local_name

T = TypeVar("T")

#: How often a request is sent before the store counts as unreachable, and the longest pause in between.
ATTEMPTS, LONGEST_PAUSE_S = 6, 16.0

#: For a connection to be made, and for each next piece of an answer. A whole transfer may take as long as it moves.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 60.0

#: An object up to this size is sent in one request; a larger one in pieces of this size.
PIECE_BYTES = 16 << 20


class Transient(Exception):
    """A request failed in a way that may pass: the store was busy, or the connection broke."""


class RemoteStore:
    """The part of a `Store` that is the same wherever it is, over `find`, `replace` and `_download`."""

    url: str

    def find(self, path: str) -> LakeObject | None:
        raise NotImplementedError

    def replace(self, path: str, source: Path) -> None:
        raise NotImplementedError

    def _download(self, found: Found, into: Path) -> bool:
        """Write that version to the file `into`; False if it is not the live one."""
        raise NotImplementedError

    def unchanged(self, path: str, version: str) -> bool:
        live = self.find(path)
        return live is not None and live.version == version

    def exchange(self, path: str, version: str, source: Path) -> bool:
        if not self.unchanged(path, version):
            return False
        self.replace(path, source)
        return True

    def fetch(self, found: Found, into: Path) -> Path | None:
        into.mkdir(parents=True, exist_ok=True)
        target = into / local_name(found)
        unfinished = into / f".{target.name}.tmp"
        try:
            if not self._download(found, unfinished):
                return None
            unfinished.replace(target)
        except OSError as failed:
            if failed.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise StoreError(
                f"{self.url}: {found.path} ({found.size_bytes:,} bytes) does not fit on the disk of {into}; make room there"
            ) from failed
        finally:
            unfinished.unlink(missing_ok=True)
        return target

    @contextmanager
    def write(self, path: str, *, keep_same: bool = False) -> Generator[Path]:
        checked(path)
        with tempfile.TemporaryDirectory(prefix="caudal-write-") as folder:
            temporary = Path(folder) / f"content{endings(path)}"
            yield temporary
            if not (keep_same and self._holds(path, temporary, Path(folder))):
                self.replace(path, temporary)

    def _holds(self, path: str, file: Path, work: Path) -> bool:
        """Whether the object at `path` holds the bytes of `file`. One of another length is not fetched for that."""
        live = self.find(path)
        if live is None or live.size_bytes != file.stat().st_size:
            return False
        held = self.fetch(live, work)
        return held is not None and filecmp.cmp(file, held, shallow=False)


def persistently(what: str, attempt: Callable[[], T]) -> T:
    """What `attempt` returns, tried again with growing pauses as long as it raises `Transient`.

    Raises:
        StoreUnreachable: it never passed. `what` says what was tried, and on which store.

    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except Transient as failed:
            last = failed
            if number < ATTEMPTS - 1:
                time.sleep(min(2.0**number, LONGEST_PAUSE_S) * random.uniform(0.25, 0.75))  # noqa: S311 - only spreads load
    raise StoreUnreachable(f"{what}: no answer in {ATTEMPTS} attempts, at last: {last}") from last


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The bucket, and the prefix that the names of all objects begin with: empty, or ending in a slash.

    Raises:
        StoreError: the URL names no bucket.

    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise StoreError(f"{url}: names no bucket; a lake there is written {scheme}://bucket/prefix")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def client(module: str, extra: str, url: str) -> ModuleType:
    """The store's client library.

    Raises:
        StoreError: it is not installed; says what installs it.

    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise StoreError(
            f"{url}: its client is not installed ({missing.name} is missing); install caudal with the extra {extra!r}, "
            f"such as by: uv sync --inexact --extra {extra}"
        ) from missing


def md5_of(file: Path) -> bytes:
    """The MD5 digest of a file, which stores compare what arrived with."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
