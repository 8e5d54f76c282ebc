"""One measurement, in a process of its own: `python child.py module:function JSON-list-of-arguments`.

Prints seconds, CPU seconds and the peak memory of this process and of those that it waited for; what is measured may return a
mapping with better ones, where the work is done elsewhere. Runs on any interpreter of
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
    known = timed()
    seconds = time.perf_counter() - started
    found = {"seconds": seconds, "cpu_s": _cpu_s() - cpu, "peak_mib": _peak_mib()}
    return found | {name: known[name] for name in found if isinstance(known, dict) and name in known}


def _cpu_s() -> float:
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _peak_mib() -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print("\n" + json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
