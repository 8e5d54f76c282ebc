"""Logs that processes write: files that are appended to, and put aside when they have become large."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LOG_LIMIT_BYTES = 10_000_000


@contextmanager
def appended(path: Path) -> Generator[BinaryIO]:
    """The log at `path`, opened to append. One that is too long becomes `<name>.log.1`, in place of the one before it."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as opened:
        yield opened
