"""Ends every process of one `caudal up`, when that ends or dies.

    guardian.py watch MARKER

reads its standard input, which only the supervisor holds open. When that closes, by whatever death of the supervisor, it
ends what is left: processes that carry the supervisor's marker in their environment, wherever they have moved in the
process tree, and the process groups named on its input (systems without `/proc` have only these).

    guardian.py become PARENT PROGRAM ARGUMENT...

asks the kernel (Linux) to be killed together with PARENT, and becomes PROGRAM.

Standard library only, and nothing else of the platform: watching costs a few megabytes as long as the platform runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

#: The environment variable that marks a process: `<the supervisor's home>#<which supervisor>`.
MARKER = "CAUDAL_SUPERVISED_BY"
PROC = Path("/proc")


def marked(marker: str, *, prefix: bool = False) -> list[int]:
    """Processes that carry `marker`, or with `prefix` one that starts with it; never this one. Empty without `/proc`."""
    if not PROC.is_dir():
        return []
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if any(each.startswith(wanted) if prefix else each == wanted for each in variables):
            found.append(int(folder.name))
    return found


def end(marker: str, groups: Iterable[int] = (), *, grace_s: float, prefix: bool = False) -> int:
    """Ask the marked processes and the groups to stop, and after `grace_s` seconds end them. How many had to be asked."""
    asked = _signal(marker, groups, signal.SIGTERM, prefix=prefix)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and _alive(marker, groups, prefix=prefix):
        time.sleep(0.05)
    while _signal(marker, groups, signal.SIGKILL, prefix=prefix) and time.monotonic() < deadline + 5:
        time.sleep(0.05)
    return asked


def _alive(marker: str, groups: Iterable[int], *, prefix: bool) -> bool:
    return bool(marked(marker, prefix=prefix)) or any(_group_exists(group) for group in groups)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return not PROC.is_dir()  # a group of zombies still exists; where there is /proc, the marker tells


def _signal(marker: str, groups: Iterable[int], number: int, *, prefix: bool) -> int:
    reached = 0
    if not PROC.is_dir():
        for group in groups:
            try:
                os.killpg(group, number)
                reached += 1
            except (ProcessLookupError, PermissionError):
                continue
    for process in marked(marker, prefix=prefix):
        try:
            os.kill(process, number)
            reached += 1
        except (ProcessLookupError, PermissionError):
            continue
    return reached


def watch(marker: str) -> None:
    """Wait for the supervisor's end, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the supervisor does, not before
    groups = {int(line) for line in sys.stdin if line.strip().isdigit()}
    end(marker, groups, grace_s=5)


def become(parent: int, command: list[str]) -> None:
    """Replace this process by `command`, which the kernel kills when `parent` dies, where the kernel is Linux."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the command is the platform's own


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(sys.argv[2])
    else:
        become(int(sys.argv[2]), sys.argv[3:])
