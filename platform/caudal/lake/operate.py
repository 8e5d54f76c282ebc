"""What a person can have done with the files of a dataset. The ledger is told; the next run of the raw table does it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile, State


class Refused(ValueError):
    """What was asked cannot be done. The message is for people."""


def retry(env: Environment, dataset_id: str | None, paths: Sequence[str] = ()) -> int:
    """Have the quarantined files read again, of one dataset or all, or only those at `paths`; how many.

    Raises:
        Refused: there is no such dataset or file.

    """
    ledger = _ledger(env)
    ids = [_known(ledger, dataset_id)] if dataset_id else ledger.dataset_ids()
    count = 0
    for name in ids:
        faulty = _chosen(ledger.faulty(name), name, paths if dataset_id else (), "in quarantine")
        count += ledger.ask_again(name, paths=faulty)
    return count


def replay(env: Environment, dataset_id: str, paths: Sequence[str] = (), partitions: Sequence[str] = ()) -> int:
    """Have files read again whatever became of them: all of the dataset, or those named; how many. Their rows are replaced.

    Raises:
        Refused: there is no such dataset, file or partition.

    """
    ledger = _ledger(env)
    there = [f for f in ledger.files(_known(ledger, dataset_id)) if f.state in ("loaded", "quarantined")]
    if partitions:
        unknown = sorted(set(partitions) - {f.partition for f in there})
        if unknown:
            raise Refused(f"{dataset_id}: no file of the partition {unknown[0]} was loaded")
        there = [f for f in there if f.partition in partitions]
    return ledger.ask_again(dataset_id, paths=_chosen(there, dataset_id, paths, "loaded or in quarantine"))


def forget(env: Environment, dataset_id: str, paths: Sequence[str] = (), *, gone: bool = False) -> int:
    """Have the rows of files removed that are no longer in the lake, and the files forgotten; how many.

    Args:
        paths: of the files.
        gone: all files of the dataset that are gone, instead.

    Raises:
        Refused: there is no such dataset or file, or it is still in the lake.

    """
    ledger = _ledger(env)
    files = ledger.files(_known(ledger, dataset_id))
    if gone:
        return ledger.forget(dataset_id, [f.path for f in files if f.state == "deleted"])
    if not paths:
        raise Refused("name the files to forget, or say --gone for all that are gone from the lake")
    chosen = _chosen(files, dataset_id, paths, "known")
    there = [f.path for f in files if f.path in set(chosen) and f.state != "deleted"]
    if there:
        raise Refused(
            f"{there[0]} is {_in_words(files, there[0])}. Only what is gone can be forgotten: delete it from the lake first, "
            "and wait until `caudal lake status` says so"
        )
    return ledger.forget(dataset_id, chosen)


def _ledger(env: Environment) -> Ledger:
    return Ledger(env.state / "ledger.db")


def _known(ledger: Ledger, dataset_id: str) -> str:
    ids = ledger.dataset_ids()
    if dataset_id not in ids:
        raise Refused(f"no file of a dataset `{dataset_id}` was ever seen; there are: {', '.join(ids) or 'none yet'}")
    return dataset_id


def _chosen(files: Collection[LedgerFile], dataset_id: str, paths: Sequence[str], what: str) -> list[str]:
    """The files at `paths`, all without any. A path may be given without the dataset's folder."""
    there = {f.path for f in files}
    if not paths:
        return sorted(there)
    chosen = [p if p in there else f"{dataset_id}/{p}" for p in paths]
    missing = [p for p in chosen if p not in there]
    if missing:
        raise Refused(f"{missing[0]}: no such file of {dataset_id} is {what}. See `caudal lake status {dataset_id}`")
    return chosen


def _in_words(files: Collection[LedgerFile], path: str) -> str:
    words: dict[State, str] = {"pending": "waiting to be loaded", "loading": "being loaded", "loaded": "in the lake"}
    return next((words.get(f.state, "in quarantine") for f in files if f.path == path), "unknown")
