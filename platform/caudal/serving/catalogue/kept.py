"""The catalogue as the API keeps it: read anew when its file changes, and made anew, elsewhere, when it is old.

Making it takes Dagster's definitions and its records, which this process has no memory for: `caudal catalogue` does it in a
process of its own, one at a time, and only when somebody looks. Who looks is answered with what there is; only who would see
another version than the published one waits a moment.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.serving.catalogue.values import Catalogue, NoCatalogue, catalogue_path, read_catalogue
from caudal.warehouse import versions

if TYPE_CHECKING:
    from caudal.environment import Environment

log = logging.getLogger("caudal.catalogue")

#: What has happened since is looked for this often: checks, lateness, profiles.
NEWS_S = 60.0
#: Who asks for a version that is not described yet waits this long at most, and then sees the one before.
PATIENCE_S = 6.0
#: Between two attempts, so that one that fails is no loop.
PAUSE_S = 5.0
#: A process that makes it and takes longer is ended.
LIMIT_S = 300.0


class KeptCatalogue:
    """The catalogue of one company. `make` writes its file, or raises; it runs in a thread."""

    def __init__(self, env: Environment, make: Callable[[], None] | None = None, patience_s: float = PATIENCE_S) -> None:
        self._env = env
        self._make = make or (lambda: make_elsewhere(env))
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, ...], Catalogue] | None = None
        self._made = threading.Event()
        self._going = False
        self._tried_s = float("-inf")

    def current(self) -> Catalogue | None:
        """The newest there is; None where there is none yet."""
        found = self._newest()
        if found is not None and not self._is_old(found):
            return found
        self._start()
        if found is None or found.version != (versions.current(self._env) or ""):
            self._made.wait(self._patience_s)
            found = self._newest()
        return found

    def _newest(self) -> Catalogue | None:
        path = catalogue_path(self._env)
        try:
            status = path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            with self._lock:
                if self._read is None or self._read[0] != seen:
                    self._read = (seen, read_catalogue(path))
                return self._read[1]
        except (FileNotFoundError, NoCatalogue):
            return None

    def _is_old(self, found: Catalogue) -> bool:
        age = datetime.now(UTC) - datetime.fromisoformat(found.made_at)
        return found.version != (versions.current(self._env) or "") or age.total_seconds() > NEWS_S

    def _start(self) -> None:
        with self._lock:
            if self._going or time.monotonic() - self._tried_s < PAUSE_S:
                return
            self._going = True
            self._tried_s = time.monotonic()
            self._made.clear()
        threading.Thread(target=self._run, name="catalogue", daemon=True).start()

    def _run(self) -> None:
        try:
            self._make()
        except Exception:
            log.exception("The catalogue could not be made; it is tried again when somebody looks")
        finally:
            with self._lock:
                self._going = False
            self._made.set()


def make_elsewhere(env: Environment) -> None:
    """Run `caudal catalogue` for `env`.

    Raises:
        RuntimeError: with what it said.

    """
    command = (sys.executable, "-m", "caudal.cli", "catalogue", "--company", env.company)
    places = {"CAUDAL_ENV": env.name, "CAUDAL_ROOT": str(env.root), "CAUDAL_DATA": str(env.data)}
    done = subprocess.run(
        command,
        env={**os.environ, **places},
        cwd=env.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"`caudal catalogue` ended with {done.returncode}: {done.stderr[-2000:].strip()}")
