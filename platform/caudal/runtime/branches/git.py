"""Which branches the checkout knows."""

from __future__ import annotations

import subprocess
from pathlib import Path


class NoBranches(RuntimeError):
    """Which branches there are cannot be told, so that none may be said to be gone."""


def branches(root: Path) -> set[str]:
    """The branches of the checkout at `root`: its own, and those of its remotes as they were fetched last.

    Raises:
        NoBranches: it is no checkout of git, git is not there, or there is no branch at all.

    """
    command = ["git", "-C", str(root), "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as failed:
        why = (getattr(failed, "stderr", "") or str(failed)).strip()
        raise NoBranches(f"git cannot say which branches {root} has: {why}") from failed
    found = {_branch(name) for name in told.split()} - {"HEAD"}
    if not found:
        raise NoBranches(f"git knows no branch in {root}; fetch them first: git fetch --prune")
    return found


def _branch(reference: str) -> str:
    kind, name = reference.removeprefix("refs/").split("/", 1)
    return name if kind == "heads" else name.partition("/")[2]
