"""Who looks at a run in the webserver sees its events as they come, whichever process stores them.

A change in write-ahead mode is not seen as a change of the database's file, so that the newest event's number is asked for
instead, which takes 50 microseconds.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

#: How often is looked while somebody watches.
EVERY_S = 0.05

#: So many events are told at a time, that a long run's first page is not waited for.
_PAGE = 1000

_ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass
class _Watcher:
    run_id: str
    cursor: str | None
    tell: Callable[[Any, str], Any]


class Watching:
    """One thread for all who watch, gone when nobody does."""

    def __init__(self, storage: SqlEventLogStorage) -> None:
        self._storage = storage
        self._changed = threading.Condition()
        self._watchers: list[_Watcher] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def watched(self) -> Mapping[str, int]:
        """How many watch each run."""
        with self._changed:
            return Counter(each.run_id for each in self._watchers)

    def add(self, run_id: str, cursor: str | None, tell: Callable[[Any, str], Any]) -> None:
        """Tell of each event of the run after `cursor`, in order."""
        with self._changed:
            self._watchers.append(_Watcher(run_id, cursor, tell))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="caudal-event-watch", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, run_id: str, tell: Callable[[Any, str], Any]) -> None:
        """Tell no more."""
        with self._changed:
            self._watchers = [each for each in self._watchers if (each.run_id, each.tell) != (run_id, tell)]
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._watchers = []
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)

    def _watch(self) -> None:
        seen: int | None = None
        known: set[int] = set()
        while True:
            with self._changed:
                if self._closed or not self._watchers:
                    self._thread = None
                    return
                watchers = list(self._watchers)
            try:
                newest = self._storage.get_maximum_record_id()
                fresh = [each for each in watchers if newest != seen or id(each) not in known]
                known = {id(each) for each in watchers}
                seen = newest
                for watcher in fresh:
                    self._tell(watcher)
            except Exception:  # Whoever looks at a run is told later.
                logging.getLogger("caudal").exception("Events of runs could not be read for those who watch them")
                seen = None
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=EVERY_S)

    def _tell(self, watcher: _Watcher) -> None:
        from dagster._core.storage.event_log.base import EventLogCursor

        while True:
            page = self._storage.get_records_for_run(watcher.run_id, watcher.cursor, limit=_PAGE)
            for record in page.records:
                with self._changed:
                    if watcher not in self._watchers:
                        return
                cursor = EventLogCursor.from_storage_id(record.storage_id).to_string()
                watcher.cursor = cursor
                try:
                    status = watcher.tell(record.event_log_entry, cursor)
                except Exception:
                    logging.getLogger("caudal").exception("What watches run %s failed", watcher.run_id)
                    continue
                if getattr(status, "value", None) in _ENDED:
                    self.remove(watcher.run_id, watcher.tell)
                    return
            if not page.has_more:
                return
