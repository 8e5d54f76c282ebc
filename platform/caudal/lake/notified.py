"""Watching a lake that notifies: after one listing, only the objects that notifications told of are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from caudal.lake.folders import Changes
from caudal.store import LakeObject, Store

#: Objects that are asked for at a time.
AT_ONCE = 16


class NotifiedWatch:
    """The objects below `prefix` of a store, of which something else tells which have changed.

    A notification that never comes is not made up for here: list anew, by a new watch, now and then.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._known: dict[str, str] | None = None

    def look(self, told: Iterable[str]) -> Changes:
        """What changed at the paths that were told of; everything at the first look."""
        if self._known is None:
            listed = list(self._store.list(self._prefix))
            self._known = {o.path: o.version for o in listed}
            return Changes(listed)
        changes = Changes()
        paths = sorted(set(told))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for path, live in zip(paths, pool.map(self._store.find, paths), strict=True):
                self._compare(path, live, self._known, changes)
        return changes

    @staticmethod
    def _compare(path: str, live: LakeObject | None, known: dict[str, str], changes: Changes) -> None:
        if live is None:
            if known.pop(path, None) is not None:
                changes.gone.append(path)
        elif known.get(path) != live.version:
            known[path] = live.version
            changes.found.append(live)
