"""Where Unix sockets are: the system limits how long their paths may be."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

#: What a Unix socket's path may have on the narrowest system (macOS).
SOCKET_PATH_LIMIT = 103


def place_of_socket(beside: Path, below: str, spare: int = 0) -> Path:
    """`beside`, or `below` this user's part of the system's temporary folder if that path is too long.

    Args:
        beside: where the socket belongs.
        below: a relative path that no other socket has.
        spare: how much a server appends to the path.

    """
    if len(os.fsencode(beside)) <= SOCKET_PATH_LIMIT - spare:
        return beside
    return folder_of_user() / below


def folder_of_user() -> Path:
    """The user's part of the system's temporary folder, which all environments of this machine share."""
    return Path(tempfile.gettempdir()) / f"caudal-{os.getuid()}"


def mark_of(path: Path) -> str:
    """A short name that only this path has."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
