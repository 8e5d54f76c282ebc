"""Folders that this process may only read: what opens files there for writing, renames, links or removes is refused.

Python tells an audit hook of each such call, whoever makes it. Libraries that open files by themselves (DuckDB, deltalake) do
not tell; they write where an `Environment` has its places, of which none of a branch is in production's folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

#: (folder, what within it may be written), both resolved.
_protected: list[tuple[str, str]] = []

#: Calls that change something: which of their arguments name what is changed, and the open folder that the name is relative to.
_CHANGED: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "shutil.rmtree": ((0, 1),),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Unwritable(PermissionError):
    """Something was about to be changed that this process may only read. The message names it."""


def only_read(folder: Path, besides: Path) -> None:
    """From now on, for as long as this process lives, refuse what changes anything in `folder`, except within `besides`."""
    entry = (os.path.realpath(folder), os.path.realpath(besides))
    if entry in _protected:
        return
    if not _protected:
        sys.addaudithook(_look)
    _protected.append(entry)


def _look(event: str, given: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = given
        if isinstance(flags, int) and flags & _WRITING:
            _refuse(path)
    elif event in _CHANGED:
        for place, folder in _CHANGED[event]:
            _refuse(given[place], given[folder] if folder is not None and folder < len(given) else None)
    elif event == "sqlite3.connect" and "mode=ro" not in str(given[0]):
        _refuse(str(given[0]).removeprefix("file:").partition("?")[0])


def _refuse(path: Any, folder_descriptor: Any = None) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)) or path in {"", b""}:
        return  # An open file, which was looked at when it was opened.
    name = os.fsdecode(path)
    if isinstance(folder_descriptor, int) and folder_descriptor >= 0:
        name = os.path.join(f"/proc/self/fd/{folder_descriptor}", name)
    # What is opened is what a link points at; it is refused to change such a link as well.
    resolved = os.path.realpath(name)
    for folder, besides in _protected:
        if _within(resolved, folder) and not _within(resolved, besides):
            raise Unwritable(
                f"{name} is production's, and this process works in a branch's environment ({besides}): it is not written to. "
                "Unset CAUDAL_BRANCH to work in production"
            )


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}{os.sep}")
