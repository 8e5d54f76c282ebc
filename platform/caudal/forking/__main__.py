"""`python -m caudal.forking SOCKET [MODULE...]`: import the modules, then fork what is asked for, until it is ended."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from caudal.forking.server import AlreadyServed, Server


def main(arguments: list[str]) -> int:
    """Serve; the exit status."""
    for name in arguments[1:]:
        importlib.import_module(name)
    try:
        Server(Path(arguments[0])).serve()
    except AlreadyServed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
