"""What a server can be asked for by anybody."""

from __future__ import annotations

import faulthandler
import runpy
import signal
import sys
from collections.abc import Mapping
from typing import Any


def module(arguments: Mapping[str, Any], extra: list[int]) -> int:
    """What `python -m MODULE ARGUMENT...` does. `arguments`: `module` and `arguments`; descriptors are the last of them."""
    faulthandler.register(signal.SIGUSR1)  # tells in its log what each thread does
    sys.argv = [arguments["module"], *arguments["arguments"], *(str(descriptor) for descriptor in extra)]
    runpy.run_module(arguments["module"], run_name="__main__", alter_sys=True)
    return 0
