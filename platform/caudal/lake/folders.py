"""Watching a local folder of lake files: what changed since the last look, without looking at what did not.

A folder's modification time tells when a file was added to it, renamed or removed; one that has not changed is not listed
again. In one that has, a file of a known name and inode is taken for the known one at first, and examined at the next look,
when the folder is listed once more. No folder tells when a file was written in place: those that changed lately are examined
at every look, and all of them every `RECONCILE_S` seconds; where the system tells of it (`caudal.lake.inotify`), at once.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import LakeObject, Store, is_unfinished

if TYPE_CHECKING:
    from caudal.lake.inotify import FolderEvents

#: All files are examined so often, for those written in place.
RECONCILE_S = 60.0

#: A folder, or a file, that changed less than so long ago may change again within the resolution of its time.
SETTLED_NS = 2_000_000_000

#: A file that changed less than so long ago may be in the making: it is examined at every look.
_LATELY_NS = 60_000_000_000
_MOST_RECENT = 256

#: There is no such folder, or it is a link that leads around in a circle.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

#: Size, modification time in nanoseconds, and inode.
Status = tuple[int, int, int]


@dataclass(frozen=True)
class Changes:
    """What changed since the last look. `gone` are paths."""

    found: list[LakeObject] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.found or self.gone)


class ListingWatch:
    """The objects below `prefix` of a store that must be listed to know of any change."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._known: dict[str, str] = {}

    def look(self) -> Changes:
        """What changed since the last look; everything at the first one."""
        listed = {o.path: o for o in self._store.list(self._prefix)}
        found = [o for path, o in listed.items() if self._known.get(path) != o.version]
        gone = [path for path in self._known if path not in listed]
        self._known = {path: o.version for path, o in listed.items()}
        return Changes(found, gone)


@dataclass
class _Folder:
    """What a folder held when it was last listed.

    Attributes:
        modified_ns: its own time then; -1 if it must be listed again, and all its files examined, whatever it is now.
    """

    modified_ns: int = -1
    files: dict[str, Status] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)


class FolderWatch:
    """The files below `prefix` of the folder `lake`. Keeps some 200 bytes a file in memory.

    Args:
        events: are to tell of every folder that is looked at.
    """

    def __init__(self, lake: Path, prefix: str, events: FolderEvents | None = None) -> None:
        self._lake = str(lake)
        self._prefix = prefix
        self._events = events
        self._folders: dict[str, _Folder] = {}
        self._reconciled_at = -float("inf")

    def look(self, written: Iterable[str] = (), *, thorough: bool = False) -> Changes:
        """What changed since the last look; everything at the first one.

        Args:
            written: paths of files that were written in place, of which no folder's time tells.
            thorough: examine all files.
        """
        thorough = thorough or time.monotonic() - self._reconciled_at >= RECONCILE_S
        if thorough:
            self._reconciled_at = time.monotonic()
        changes = Changes()
        for path in written:
            folder, _, name = path.rpartition("/")
            if folder in self._folders and name in self._folders[folder].files:
                self._examine(folder, name, self._folders[folder], changes)
        seen: set[str] = set()
        pending = [self._prefix]
        while pending:
            path = pending.pop()
            seen.add(path)
            known = self._folders.setdefault(path, _Folder())
            if self._events is not None:
                self._events.watch(path)  # Before looking: what changes from here on is told.
            try:
                modified_ns = os.stat(f"{self._lake}/{path}").st_mtime_ns
                if thorough or modified_ns != known.modified_ns:
                    self._list(path, known, modified_ns, changes, thorough=thorough or known.modified_ns == -1)
                elif known.recent:
                    self._examine_recent(path, known, changes)
            except OSError as failed:
                if failed.errno not in _NO_FOLDER:
                    raise
                seen.discard(path)
                continue
            pending += known.folders
        for path in self._folders.keys() - seen:
            changes.gone.extend(f"{path}/{name}" for name in self._folders.pop(path).files)
        return changes

    def _list(self, path: str, known: _Folder, modified_ns: int, changes: Changes, *, thorough: bool) -> None:
        """List a folder; if `thorough`, examine all its files, and else those of a new name or inode."""
        now_ns = time.time_ns()
        files, folders = known.files, []
        recent: list[str] = [] if thorough else known.recent
        lately_ns = now_ns - _LATELY_NS
        names = []
        descriptor = os.open(f"{self._lake}/{path}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = entry.name
                    if not thorough and name in files and files[name][2] == entry.inode():
                        names.append(name)
                        continue
                    if is_unfinished(name):
                        continue
                    try:
                        if entry.is_dir():
                            folders.append(f"{path}/{name}")
                            continue
                        status = entry.stat()
                    except FileNotFoundError:
                        continue
                    names.append(name)
                    found = (status.st_size, status.st_mtime_ns, entry.inode())
                    if files.get(name) != found:
                        files[name] = found
                        changes.found.append(_object(path, name, found))
                    if found[1] > lately_ns:
                        recent.append(name)
        finally:
            os.close(descriptor)
        if len(names) != len(files):
            for name in files.keys() - names:
                del files[name]
                changes.gone.append(f"{path}/{name}")
        known.folders = folders
        known.recent = sorted((n for n in recent if n in files), key=lambda n: files[n][1])[-_MOST_RECENT:]
        known.modified_ns = modified_ns if thorough and modified_ns < now_ns - SETTLED_NS else -1

    def _examine_recent(self, path: str, known: _Folder, changes: Changes) -> None:
        lately_ns = time.time_ns() - _LATELY_NS
        examined = ((name, self._examine(path, name, known, changes)) for name in known.recent)
        known.recent = [name for name, modified_ns in examined if modified_ns > lately_ns]

    def _examine(self, path: str, name: str, known: _Folder, changes: Changes) -> int:
        """Note a file that is not as it is known; when it was modified. That one is gone is told by its folder."""
        try:
            status = os.stat(f"{self._lake}/{path}/{name}")
        except FileNotFoundError:
            return 0
        found = (status.st_size, status.st_mtime_ns, status.st_ino)
        if known.files.get(name) != found:
            known.files[name] = found
            changes.found.append(_object(path, name, found))
        return found[1]


def _object(path: str, name: str, status: Status) -> LakeObject:
    return LakeObject(f"{path}/{name}", f"{status[0]}-{status[1]}", status[0])
