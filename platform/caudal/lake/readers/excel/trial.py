"""Trying in a process of its own whether calamine opens a workbook.

Of a damaged workbook calamine may ask for any amount of memory, as the file says; a process that is refused it ends at once:
nothing can be caught. So the first to open it is a process that nobody needs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: What the trial may take: this, and so many times the size of the workbook.
_MEMORY_BYTES, _MEMORY_TIMES = 2 << 30, 60

#: How long it may take: this, and so much for each MiB.
_SECONDS, _SECONDS_A_MIB = 60, 10

_TRIAL = """
import io, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from python_calamine import CalamineWorkbook
with open(sys.argv[1], "rb") as opened:
    data = io.BytesIO(opened.read())
try:
    workbook = CalamineWorkbook.from_filelike(data)
    for name in workbook.sheet_names:
        workbook.get_sheet_by_name(name)
except Exception:
    pass
"""


def refuse_what_ends_a_process(file: Path) -> None:
    """Open the workbook elsewhere first. What calamine raises of it is raised again where it is read.

    Raises:
        ValueError: it ends the process, or takes too long.

    """
    size = file.stat().st_size
    allowed = _MEMORY_BYTES + _MEMORY_TIMES * size
    command = [sys.executable, "-I", "-c", _TRIAL, str(file), str(allowed)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS + _SECONDS_A_MIB * (size >> 20), check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("opening it takes too long") from None
    if done.returncode:
        raise ValueError(f"opening it takes more memory than the {allowed >> 20} MiB that a workbook of its size may")
