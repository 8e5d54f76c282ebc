"""What a store promises, and what its objects are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

#: What somebody's unfinished work ends in; the last is Hadoop's.
UNFINISHED_SUFFIXES = (".tmp", ".part", ".crdownload", "._COPYING_")

#: What of a name's endings a local copy of the object keeps, for readers that go by them.
_ENDINGS = re.compile(r"(?:\.[A-Za-z0-9]{1,10}){1,2}$")


class StoreError(RuntimeError):
    """The store refused, or something that it needs is missing. The message says what, where, and what to do."""


class StoreUnreachable(StoreError):
    """The store did not answer, several times over. Nothing is known of what was asked for; the next attempt may pass."""


class LakeObject(NamedTuple):
    """One listed object. There may be a hundred thousand of them in a listing.

    Attributes:
        path: relative to the lake, with forward slashes.
        version: differs whenever the content does. Its form is the store's own; compare it, and nothing else.
        size_bytes: its length.

    """

    path: str
    version: str
    size_bytes: int


class Found(Protocol):
    """An object in a version, such as a `LakeObject` or a file of the ledger."""

    @property
    def path(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


class Store(Protocol):
    """The objects of a lake, each written whole or not at all. Paths are relative to the lake, with forward slashes.

    Every method raises `StoreError` where the store refuses, and `StoreUnreachable` where it does not answer. A store may be
    used by several threads, and not across a fork: `open_store` gives each process its own.
    """

    url: str

    def list(self, prefix: str) -> Iterator[LakeObject]:
        """Yield the finished objects below the folder `prefix`, in no particular order. A missing folder holds nothing.

        Each is as it was at some moment of the listing. What another program is still writing is left out: see `is_unfinished`.
        """
        ...

    def find(self, path: str) -> LakeObject | None:
        """The object at `path` as it is now; None if there is none."""
        ...

    def unchanged(self, path: str, version: str) -> bool:
        """Whether `version` is still the live version of `path`."""
        ...

    def fetch(self, found: Found, into: Path) -> Path | None:
        """Exactly that version as a local file in the folder `into`; None if it is no longer the live version.

        The file keeps the endings of the object's name (`.csv.gz`), and the bytes are those that are stored. It is the
        caller's to delete, and not to write to: locally it is the lake file itself under a second name.
        """
        ...

    def create(self, path: str, source: Path) -> bool:
        """Make an object of the content of `source`, unless there is one: then False. Of several creators one gets True."""
        ...

    def replace(self, path: str, source: Path) -> None:
        """Make the content of `source` the object at `path`. A reader sees the old object or the new one."""
        ...

    def exchange(self, path: str, version: str, source: Path) -> bool:
        """Replace the object if `version` is its live one: else False, and nothing is changed.

        Google Cloud Storage decides that itself; other stores are asked just before, and who writes in between is lost.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove the object. Doing so again does nothing."""
        ...

    def write(self, path: str, *, keep_same: bool = False) -> AbstractContextManager[Path]:
        """Yield a temporary local file; when the block ends without error, it becomes the object at `path`, replacing any.

        Args:
            path: where.
            keep_same: leave an object that holds the same bytes as it is, in the version that it has.

        """
        ...


def is_unfinished(name: str) -> bool:
    """Whether the name of a file or folder says that somebody is still writing it, or that it is not meant for others."""
    return name.startswith(".") or name.endswith(UNFINISHED_SUFFIXES) or name == "_temporary"


def is_finished(path: str) -> bool:
    """Whether `path` names an object that is listed. An empty part marks what object stores show as a folder."""
    return not any(not part or is_unfinished(part) for part in path.split("/"))


def checked(path: str) -> str:
    """`path`, if it names an object of every store.

    Raises:
        ValueError: it is absolute, empty, or has an empty, `.` or `..` part, or a line break.

    """
    if not path or any(part in {"", ".", ".."} for part in path.split("/")) or "\n" in path or "\r" in path:
        raise ValueError(f"{path!r} cannot name an object of the lake: expected a relative path such as shop/orders/2024.csv")
    return path


def local_name(found: Found) -> str:
    """A file name of its own for one version of one object, with the object's endings."""
    digest = hashlib.sha256(f"{found.path}\0{found.version}".encode(errors="surrogateescape")).hexdigest()
    return digest[:24] + endings(found.path)


def endings(path: str) -> str:
    """The last one or two endings of a name, such as `.csv.gz`, of letters and digits only."""
    found = _ENDINGS.search(PurePosixPath(path).name.lstrip("."))
    return found.group() if found else ""
