"""Looking at the lake: what changed since the last look, and what is to be loaded for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger, Seen
from caudal.store import list_objects


@dataclass(frozen=True)
class Request:
    """Datasets with pending files, to be loaded by one run."""

    run_key: str
    datasets: tuple[Dataset, ...]
    sequence: int


def look(env: Environment, ledger: Ledger, datasets: Sequence[Dataset]) -> dict[str, Seen]:
    """List the lake below each dataset's prefix and tell the ledger; what was seen by dataset id."""
    return {d.id: ledger.see(d, list_objects(env.lake, d.prefix)) for d in datasets}


def request_for(
    datasets: Sequence[Dataset], seen: Mapping[str, Seen], cursor: int, extracted: Collection[str] = ()
) -> Request | None:
    """One request for all datasets in which something became pending after `cursor`, or None.

    One run loads them together, so that a mart which reads several of them is built once. Its key names each dataset with its
    sequence, so that asking twice starts one run. The first request of all (`cursor` 0) takes along the datasets in
    `extracted` that have no file yet: the run extracts them, so that a new platform is filled by one run.
    """
    ready = [d for d in datasets if seen[d.id].pending and seen[d.id].sequence > cursor]
    if cursor == 0:
        ready += [d for d in datasets if d.id in extracted and seen[d.id].sequence == 0]
    if not ready:
        return None
    key = "+".join(f"{d.id}:{seen[d.id].sequence}" for d in ready)
    return Request(key, tuple(ready), max(1, *(seen[d.id].sequence for d in ready)))
