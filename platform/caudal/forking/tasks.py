"""What a server can be asked for by anybody."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import runpy
import signal
import sys
from collections.abc import Mapping
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: A buffer from this size on is given back to the system as soon as it is done with.
_BUFFER_BYTES = 1 << 18


def module(arguments: Mapping[str, Any], extra: list[int]) -> int:
    """What `python -m MODULE ARGUMENT...` does. `arguments`: `module` and `arguments`; descriptors are the last of them."""
    faulthandler.register(signal.SIGUSR1)  # tells in its log what each thread does
    _keep_little()
    sys.argv = [arguments["module"], *arguments["arguments"], *(str(descriptor) for descriptor in extra)]
    runpy.run_module(arguments["module"], run_name="__main__", alter_sys=True)
    return 0


def _keep_little() -> None:
    """Have the C library (glibc) keep one heap for all threads, and of it what is used: who serves does not compute."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _BUFFER_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _BUFFER_BYTES)
