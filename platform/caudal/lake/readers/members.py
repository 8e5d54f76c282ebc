"""What is to be read of a lake file: itself, or the members that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import LakeFile

if TYPE_CHECKING:
    from caudal.lake.dataset import Dataset


@dataclass(frozen=True)
class Refused:
    """A member that cannot be had, and why, for people."""

    path: str
    version: str
    member: str | None
    reason: str


def members(dataset: Dataset, file: LakeFile, into: Path) -> Iterator[LakeFile | Refused]:  # noqa: ARG001
    """Yield what is to be read of `file`, unpacked into `into` where need be.

    Raises:
        Unreadable: nothing of it can be had.

    """
    yield file
