"""Looking at the lake: what changed since the last look, and what is to be loaded for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger, Seen
from caudal.store import list_objects

#: Run tag that names the datasets whose files a run loads, with commas between.
DATASETS_TAG = "caudal/datasets"

#: Run tag of a run that also refreshes everything below what it loads, so that nothing more is owed for it.
WHOLE_TAG = "caudal/refreshes_all_below"


@dataclass(frozen=True)
class Request:
    """Datasets with pending files, to be loaded by one run.

    Attributes:
        asked: the sensor's cursor after it: for each dataset the sequence that a run was last asked for.
    """

    run_key: str
    datasets: tuple[Dataset, ...]
    asked: Mapping[str, int]


def look(env: Environment, ledger: Ledger, datasets: Sequence[Dataset]) -> dict[str, Seen]:
    """List the lake below each dataset's prefix and tell the ledger; what was seen by dataset id."""
    return {d.id: ledger.see(d, list_objects(env.lake, d.prefix)) for d in datasets}


def request_for(
    datasets: Sequence[Dataset],
    seen: Mapping[str, Seen],
    asked: Mapping[str, int],
    extracted: Collection[str] = (),
    busy: Collection[str] = (),
) -> Request | None:
    """One request for all datasets in which something became pending since a run was asked for, or None.

    One run loads them together, so that a mart which reads several of them is built once. Its key names each dataset with its
    sequence, so that asking twice starts one run.

    Args:
        asked: the cursor. While it is empty, nothing was ever asked for; then datasets that are still to be extracted come
            along, so that a new platform is filled by one run.
        extracted: ids of the datasets that an extractor lands.
        busy: ids of the datasets that an unfinished run loads. Theirs waits until it has ended, for it may well load them.
    """
    ready = [d for d in datasets if seen[d.id].pending and seen[d.id].sequence > asked.get(d.id, 0) and d.id not in busy]
    if not asked:
        ready += [d for d in datasets if d.id in extracted and seen[d.id].sequence == 0]
    if not ready:
        return None
    key = "+".join(f"{d.id}:{seen[d.id].sequence}" for d in ready)
    return Request(key, tuple(ready), {**asked, **{d.id: seen[d.id].sequence for d in ready}})
