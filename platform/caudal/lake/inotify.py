"""Linux tells when something changes in a folder: inotify, without a thread, a library or a look.

What it tells is never taken for the truth, only for a reason to look at once: see `caudal.lake.watch`. It says nothing of
folders that another machine writes to over a network, and there may be more folders than it is allowed to watch.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import select
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from caudal.store import is_unfinished

# What linux/inotify.h calls IN_ATTRIB, IN_CLOSE_WRITE, and so on.
_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
_MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED, _IS_FOLDER = 0x800, 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_FOLDERS = 0x01000000
_WANTED = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _MOVE_SELF | _ONLY_FOLDERS

_EVENT = struct.Struct("iIII")
_READ_BYTES = 1 << 16

#: No such folder, or one that may not be read: whoever looks at it will say so.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES)

_LOG = logging.getLogger("caudal.lake")


@dataclass
class Heard:
    """What was told since the last time.

    Attributes:
        written: files that somebody has written to, or touched, where they stand.
        lost: there was more than the system keeps, so that anything may have changed.
    """

    written: set[str] = field(default_factory=set)
    lost: bool = False


class FolderEvents:
    """Changes in folders below `lake`, as the system tells of them.

    A file that is new and open for writing is no change: its closing is. Where the system tells nothing (not Linux, or too many
    folders are watched already), `working` is False, and the reason is logged once.
    """

    def __init__(self, lake: Path) -> None:
        self._lake = str(lake)
        self._descriptor = -1
        self._lock = threading.RLock()  # Of whoever reads, opens or closes the descriptor; nobody waits with it.
        self._numbers: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._heard = Heard()
        self._rung = False
        self.working = sys.platform == "linux"
        if self.working:
            self._open()

    def watch(self, path: str) -> None:
        """Tell of the folder `path` too, relative to the lake, and of it coming to be. To be called before it is looked at."""
        if not self.working or path in self._numbers:
            return
        with self._lock:
            for parent in _upwards(path):
                if parent in self._numbers:
                    continue
                number = _libc().inotify_add_watch(self._descriptor, os.fsencode(f"{self._lake}/{parent}"), _WANTED)
                if number >= 0:
                    self._numbers[parent] = number
                    self._paths[number] = parent
                elif ctypes.get_errno() not in _NOT_THERE:
                    self._give_up(ctypes.get_errno())
                    return

    def wait(self, most_s: float, settle_s: float, settle_most_s: float) -> bool:
        """Whether something changed within `most_s`; told when it has been quiet for `settle_s`, or `settle_most_s` later."""
        deadline = time.monotonic() + most_s
        self._drain()
        while not self._rung:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._descriptor < 0:
                return False
            self._drain(left_s)
        deadline = time.monotonic() + settle_most_s
        while (left_s := deadline - time.monotonic()) > 0 and self._drain(min(settle_s, left_s)):
            pass
        self._rung = False
        return True

    def collect(self) -> Heard:
        """What was told since the last call, up to now."""
        self._drain()
        with self._lock:
            heard, self._heard, self._rung = self._heard, Heard(), False
        return heard

    def give_back(self, heard: Heard) -> None:
        """Tell this again: nobody could make use of it."""
        with self._lock:
            self._heard = Heard(heard.written | self._heard.written, heard.lost or self._heard.lost)

    def close(self) -> None:
        """Be told of nothing any more."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1
            self._numbers.clear()
            self._paths.clear()

    def _open(self) -> None:
        self._descriptor = _libc().inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            self._give_up(ctypes.get_errno())

    def _give_up(self, reason: int) -> None:
        self.close()
        self.working = False
        self._heard.lost = True
        why = "more folders than fs.inotify.max_user_watches" if reason == errno.ENOSPC else os.strerror(reason)
        _LOG.warning("%s: the system cannot tell of changes here (%s), so it is looked at over and over", self._lake, why)

    def _drain(self, wait_s: float = 0.0) -> bool:
        """Take what is there, or else the first that comes within `wait_s`; whether there was anything."""
        descriptor = self._descriptor
        if descriptor < 0:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(wait_s * 1000):
            return False
        with self._lock, suppress(BlockingIOError):
            while descriptor == self._descriptor:
                for number, mask, name in _events(os.read(descriptor, _READ_BYTES)):
                    self._take(number, mask, name)
        return True

    def _take(self, number: int, mask: int, name: str) -> None:
        if mask & (_OVERFLOW | _MOVE_SELF | _UNMOUNT):
            self._start_anew()
            return
        folder = self._paths.get(number)
        if folder is None:
            return
        if mask & _IGNORED:
            self._forget(folder)
            self._rung = True
            return
        if not name or is_unfinished(name):
            return
        path = f"{folder}/{name}" if folder else name
        if path in self._numbers and not mask & _ATTRIB:
            self._forget(path)  # Another folder may stand there now, or a link to one.
        if mask & _IS_FOLDER:
            self._rung |= not mask & _ATTRIB
        elif not mask & _CREATE or self._is_whole(path):
            self._rung = True
            if mask & (_CLOSE_WRITE | _ATTRIB):
                self._heard.written.add(path)

    def _start_anew(self) -> None:
        """Watch nothing until asked again: what is told may be of folders that stand elsewhere by now."""
        self.close()
        self._open()
        self._heard.lost = self._rung = True

    def _forget(self, path: str) -> None:
        number = self._numbers.pop(path)
        if self._paths.get(number) == path:
            del self._paths[number]
            _libc().inotify_rm_watch(self._descriptor, number)

    def _is_whole(self, path: str) -> bool:
        """Whether a new file came to be whole: as another name of a file, or a link to one. Others will be closed."""
        try:
            status = os.lstat(f"{self._lake}/{path}")
        except OSError:
            return False
        return status.st_nlink > 1 or os.path.islink(f"{self._lake}/{path}")


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    place = 0
    while place < len(data):
        number, mask, _, length = _EVENT.unpack_from(data, place)
        place += _EVENT.size
        yield number, mask, os.fsdecode(data[place : place + length].rstrip(b"\0"))
        place += length


def _upwards(path: str) -> Iterator[str]:
    """The lake itself, and every folder on the way to `path`, that included."""
    yield ""
    parts = path.split("/") if path else []
    for i in range(len(parts)):
        yield "/".join(parts[: i + 1])


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
