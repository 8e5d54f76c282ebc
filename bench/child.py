"""One measurement, in a process of its own: `python child.py module:function JSON-list-of-arguments`.

Prints seconds, CPU seconds and the peak memory of this process and of those that it waited for. Runs on any interpreter of
Python 3, with nothing installed, for peers live in environments of their own.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path


def measure(function: str, arguments: list) -> dict:
    """Call the function to get ready, then measure what it returns."""
    module, name = function.split(":")
    timed = getattr(importlib.import_module(module), name)(*arguments)
    started, cpu = time.perf_counter(), _cpu_s()
    timed()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu_s": _cpu_s() - cpu, "peak_mib": _peak_mib()}


def _cpu_s() -> float:
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _peak_mib() -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print("\n" + json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
