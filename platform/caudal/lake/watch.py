"""Looking at the lake: what changed since the last look, and what is to be loaded for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.folders import Changes, FolderWatch, ListingWatch
from caudal.lake.inotify import FolderEvents, Heard
from caudal.lake.ledger import Ledger
from caudal.lake.notified import NotifiedWatch
from caudal.lake.records import Seen
from caudal.store import StoreUnreachable, local_folder, open_store
from caudal.store.notifications import Notifications, Told

#: Run tag that names the datasets whose files a run loads, with commas between.
DATASETS_TAG = "caudal/datasets"

#: Run tag of a run that also refreshes everything below what it loads, so that nothing more is owed for it.
WHOLE_TAG = "caudal/refreshes_all_below"

#: So often the whole lake is compared with the ledger anew, whatever was seen of it before.
CONFIRM_S = 900.0

#: What comes within so long of something else comes with it, for this long at most: a burst of files is one change.
SETTLE_S, SETTLE_MOST_S = 0.05, 0.5

#: A look that the system gave no reason for is taken this often nevertheless: it does not tell of another machine's writing,
#: nor the ledger of what a person asks for. Where it tells nothing at all, looks are as frequent as the second.
UNTOLD_S, POLL_S = 1.0, 0.2

#: Runs that are asked for the same files, the first included, before somebody has to look.
ATTEMPTS = 3

#: The sensor's cursor: for each dataset the sequence that a run was last asked for, and how often.
Asked = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Request:
    """Datasets with pending files, to be loaded by one run.

    Attributes:
        asked: the sensor's cursor after it.
    """

    run_key: str
    datasets: tuple[Dataset, ...]
    asked: Asked


class LakeWatch:
    """A lake that is looked at over and over: only what has changed since the last look is compared with the ledger.

    Where the lake's bucket sends notifications (`CAUDAL_LAKE_NOTIFICATIONS`), only what they tell of is looked at. All of it is
    listed at first, every `CONFIRM_S` seconds, and whenever notifications cannot be had.
    """

    def __init__(self, env: Environment, datasets: Sequence[Dataset]) -> None:
        self._env = env
        self._datasets = datasets
        self._watches: dict[str, FolderWatch | ListingWatch | NotifiedWatch] = {}
        self._confirmed_at = -float("inf")
        self._folder = local_folder(env.lake_url)
        self._events: FolderEvents | None = None
        self._process = 0
        self._looking = threading.Lock()
        self._look_s = 0.0
        subscription = env.lake_notifications
        self._notifications = Notifications(subscription, env.lake_url, env.acts_as) if subscription else None

    def look(self, ledger: Ledger) -> dict[str, Seen]:
        """Look at every dataset and tell the ledger what changed; how each stands, by its id.

        Raises:
            caudal.store.StoreError: the lake cannot be listed. What changed meanwhile is found by a later look.

        """
        with self._looking:
            began = time.monotonic()
            if began - self._confirmed_at >= CONFIRM_S or os.getpid() != self._process:
                self._start_anew()
            told = self._told()
            with self._heard() as heard:
                for dataset in self._datasets:
                    first = dataset.id not in self._watches
                    watch = self._watches.pop(dataset.id, None) or self._watch(dataset)
                    changes = _look(watch, dataset.prefix, told, heard)
                    if first:
                        ledger.see(dataset, changes.found)
                    elif changes:
                        ledger.note(dataset, changes.found, changes.gone)
                    self._watches[dataset.id] = watch  # Not before the ledger has it: else a failure would forget the changes.
            if self._notifications and told.receipts:
                self._notifications.acknowledge(told)
            seen = ledger.standing([d.id for d in self._datasets])
            self._look_s = time.monotonic() - began
        return seen

    def wait(self, most_s: float) -> None:
        """Return when it is time to look again, after `most_s` seconds at the latest: at once when a file has landed.

        Looking never takes more than a tenth of the time, unless there is a reason to.
        """
        rest_s, events = 10 * self._look_s, self._events
        if events is not None and events.working:
            events.wait(min(most_s, max(UNTOLD_S, rest_s)), SETTLE_S, SETTLE_MOST_S)
        else:
            time.sleep(max(0.0, min(most_s, max(POLL_S, rest_s))))

    def close(self) -> None:
        """Leave the lake alone; a later look begins anew."""
        if self._events is not None:
            self._events.close()
        self._process = 0

    def _start_anew(self) -> None:
        self._confirmed_at = time.monotonic()
        self._process = os.getpid()
        self._watches.clear()
        if self._events is not None:
            self._events.close()
        self._events = FolderEvents(self._folder) if self._folder is not None else None

    @contextmanager
    def _heard(self) -> Generator[Heard]:
        """What the system told of folders. If the block fails, it is told again."""
        heard = self._events.collect() if self._events else Heard()
        try:
            yield heard
        except BaseException:
            if self._events:
                self._events.give_back(heard)
            raise

    def _told(self) -> Told:
        if self._notifications is None:
            return Told()
        try:
            return self._notifications.pull()
        except StoreUnreachable:
            self._watches.clear()
            return Told()

    def _watch(self, dataset: Dataset) -> FolderWatch | ListingWatch | NotifiedWatch:
        if self._folder is not None:
            return FolderWatch(self._folder, dataset.prefix, self._events)
        kind = NotifiedWatch if self._notifications else ListingWatch
        return kind(open_store(self._env.lake_url, self._env.acts_as), dataset.prefix)


def _look(watch: FolderWatch | ListingWatch | NotifiedWatch, prefix: str, told: Told, heard: Heard) -> Changes:
    if isinstance(watch, NotifiedWatch):
        return watch.look(told.below(prefix))
    if isinstance(watch, FolderWatch):
        return watch.look(heard.written, thorough=heard.lost)
    return watch.look()


def look(env: Environment, ledger: Ledger, datasets: Sequence[Dataset]) -> dict[str, Seen]:
    """List the lake below each dataset's prefix and tell the ledger; what was seen by dataset id."""
    store = open_store(env.lake_url, env.acts_as)
    return {d.id: ledger.see(d, store.list(d.prefix)) for d in datasets}


def request_for(
    datasets: Sequence[Dataset],
    seen: Mapping[str, Seen],
    asked: Asked,
    untold: Collection[str] = (),
    busy: Collection[str] = (),
) -> Request | None:
    """One request for all datasets in which something became pending since a run was asked for, or None.

    One run loads them together, so that a mart which reads several of them is built once. Its key names each dataset with its
    sequence and the attempt, so that asking twice starts one run. Files that are pending still, though the run that was asked
    for is over, are asked for again, `ATTEMPTS` times in all.

    Args:
        asked: the cursor. While it is empty, nothing was ever asked for.
        untold: ids of the datasets that come along, so that a new platform is filled by one run, because Dagster was never told
            of them: they are still to be extracted, or were loaded by another machine or before a branch was made.
        busy: ids of the datasets that an unfinished run loads. Theirs waits until it has ended, for it may well load them.
    """
    attempts: dict[str, tuple[int, int]] = {}
    for dataset in datasets:
        now = seen[dataset.id]
        sequence, times = asked.get(dataset.id, (0, 0))
        attempt = 1 if now.sequence > sequence else times + 1
        owed = (now.pending and attempt <= ATTEMPTS) or dataset.id in untold
        if owed and dataset.id not in busy:
            attempts[dataset.id] = (now.sequence, attempt)
    if not attempts:
        return None
    key = "+".join(f"{name}:{sequence}" + f".{n}" * (n > 1) for name, (sequence, n) in attempts.items())
    return Request(key, tuple(d for d in datasets if d.id in attempts), {**asked, **attempts})
