"""Data to begin with, put where the lake is: `python -m caudal.runtime.quickstart shop.quickstart:land <company>`.

A company's function lands files below the company's folder, as its systems would drop them. A lake that is elsewhere is given
what it does not have yet.
"""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from caudal.environment import Environment
from caudal.store import Store, local_folder, open_store
from caudal.store.objects import is_finished

#: Files on their way at a time. Each waits for an answer most of the time.
_AT_ONCE = 16


def begin(env: Environment, function: str) -> int:
    """Call `module:function` with the company's folder; how many files were then brought to a lake elsewhere."""
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(env.home)
    if local_folder(env.lake_url) is not None:
        return 0
    return carry(env.lake, open_store(env.lake_url, env.acts_as))


def carry(folder: Path, lake: Store) -> int:
    """Bring each file below `folder` to the lake, unless it has one of that name and length; how many were brought."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    known = {found.path: found.size_bytes for found in lake.list("")}
    new = [n for n, path in names.items() if is_finished(n) and known.get(n) != path.stat().st_size]
    with ThreadPoolExecutor(_AT_ONCE) as several:
        list(several.map(lambda name: lake.replace(name, names[name]), new))
    return len(new)


if __name__ == "__main__":
    begin(Environment.current(sys.argv[2]), sys.argv[1])
