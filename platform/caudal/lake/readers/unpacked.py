"""Files that were unpacked to be read, and are deleted when nothing is read of them any more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from caudal.lake.readers.rows import LakeFile


class UnpackedFiles:
    """Temporary files in use. Several tables of one, such as the sheets of a workbook, come one after the other.

    Leaving the context deletes all that are left.
    """

    def __init__(self) -> None:
        self._uses: Counter[Path] = Counter()
        self._latest: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._uses:
            file.unlink(missing_ok=True)

    def take(self, file: LakeFile) -> None:
        """A table of `file` is going to be read."""
        if self._latest != file.file:
            self._release(self._latest)
            self._latest = file.file if file.temporary else None
            if self._latest:
                self._uses[self._latest] += 1
        if file.temporary:
            self._uses[file.file] += 1

    def done(self, *files: LakeFile) -> None:
        """The tables will not be read again."""
        for file in files:
            if file.temporary:
                self._release(file.file)

    def _release(self, file: Path | None) -> None:
        if file is None:
            return
        self._uses[file] -= 1
        if self._uses[file] <= 0:
            del self._uses[file]
            file.unlink(missing_ok=True)
