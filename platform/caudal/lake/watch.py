"""Looking at the lake: what changed since the last look, and what is to be loaded for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import Seen
from caudal.store import list_objects

#: Run tag that names the datasets whose files a run loads, with commas between.
DATASETS_TAG = "caudal/datasets"

#: Run tag of a run that also refreshes everything below what it loads, so that nothing more is owed for it.
WHOLE_TAG = "caudal/refreshes_all_below"


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


def look(env: Environment, ledger: Ledger, datasets: Sequence[Dataset]) -> dict[str, Seen]:
    """List the lake below each dataset's prefix and tell the ledger; what was seen by dataset id."""
    return {d.id: ledger.see(d, list_objects(env.lake, d.prefix)) for d in datasets}


def request_for(
    datasets: Sequence[Dataset],
    seen: Mapping[str, Seen],
    asked: Asked,
    extracted: Collection[str] = (),
    busy: Collection[str] = (),
) -> Request | None:
    """One request for all datasets in which something became pending since a run was asked for, or None.

    One run loads them together, so that a mart which reads several of them is built once. Its key names each dataset with its
    sequence and the attempt, so that asking twice starts one run. Files that are pending still, though the run that was asked
    for is over, are asked for again, `ATTEMPTS` times in all.

    Args:
        asked: the cursor. While it is empty, nothing was ever asked for; then datasets that are still to be extracted come
            along, so that a new platform is filled by one run.
        extracted: ids of the datasets that an extractor lands.
        busy: ids of the datasets that an unfinished run loads. Theirs waits until it has ended, for it may well load them.
    """
    attempts: dict[str, tuple[int, int]] = {}
    for dataset in datasets:
        now = seen[dataset.id]
        sequence, times = asked.get(dataset.id, (0, 0))
        attempt = 1 if now.sequence > sequence else times + 1
        unextracted = not asked and dataset.id in extracted and now.sequence == 0
        if (now.pending and dataset.id not in busy and attempt <= ATTEMPTS) or unextracted:
            attempts[dataset.id] = (now.sequence, attempt)
    if not attempts:
        return None
    key = "+".join(f"{name}:{sequence}" + f".{n}" * (n > 1) for name, (sequence, n) in attempts.items())
    return Request(key, tuple(d for d in datasets if d.id in attempts), {**asked, **attempts})
