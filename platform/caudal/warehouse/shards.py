"""Much normalizing, done side by side: the files of a batch in shards, each by a process of its own.

A shard is a folder. Its plan says which files to normalize; `python -m caudal.warehouse.shards FOLDER` does it and writes the
parts, the rejects and what became of each file beside the plan. Who runs that program where is the caller's choice (`Spread`);
the folder must be on a disk that both reach. The loader alone writes to the ledger and commits.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import open_store, write_atomically
from caudal.warehouse.batch import Prepared, prepare_files
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.suppression import Suppressed, suppressed

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import LedgerFile, Repair

#: Runs the program on each of the shards' folders, and returns when all have ended.
Spread = Callable[[Sequence[Path]], None]

#: Files of less than so many bytes together are not worth the start of a process.
LEAST_BYTES = 64 << 20

_PLAN, _DONE = "plan.pickle", "prepared.pickle"

#: Memory of the database in each process. They share the machine.
_MEMORY = "1GB"


class ShardFailed(RuntimeError):
    """A process that normalized a shard ended without a result. Its batch is given up, and its files stay pending."""


@dataclass(frozen=True)
class Plan:
    """What one process is to do."""

    env: Environment
    dataset: Dataset
    files: tuple[LedgerFile, ...]
    repairs: tuple[Repair, ...]
    loaded_at: datetime
    listed: Suppressed


def split(files: Sequence[LedgerFile], workers: int) -> list[list[LedgerFile]]:
    """The files in at most `workers` groups of about the same size in bytes; one group where more are not worth it."""
    total = sum(f.size_bytes for f in files)
    count = min(workers, len(files), total // LEAST_BYTES)
    if count < 2:
        return [list(files)]
    groups: list[list[LedgerFile]] = [[] for _ in range(count)]
    sizes = [0] * count
    for file in sorted(files, key=lambda f: (-f.size_bytes, f.path)):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(file)
        sizes[smallest] += max(file.size_bytes, 1)
    return groups


def spread_out(
    env: Environment,
    dataset: Dataset,
    groups: Sequence[Sequence[LedgerFile]],
    repairs: Sequence[Repair],
    work: Path,
    spread: Spread,
) -> Prepared:
    """Have each group normalized as a shard of its own, in folders of `work`.

    Raises:
        ShardFailed: one of them has no result.

    """
    now, listed = datetime.now(UTC), suppressed(env)
    folders = []
    for number, group in enumerate(groups):
        folder = work / str(number)
        folder.mkdir()
        paths = {f.path for f in group}
        mine = tuple(r for r in repairs if r.path in paths)
        (folder / _PLAN).write_bytes(pickle.dumps(Plan(env, dataset, tuple(group), mine, now, listed)))
        folders.append(folder)
    spread(folders)
    return Prepared.of([_result(folder) for folder in folders])


def run(folder: Path) -> Prepared:
    """Do what the plan in `folder` says, and write the result beside it."""
    plan: Plan = pickle.loads((folder / _PLAN).read_bytes())  # noqa: S301 - written by the loader, in its own folder
    prepared = prepare_files(
        lambda: connect_memory(plan.env, memory_limit=_MEMORY),
        open_store(plan.env.lake_url, plan.env.acts_as),
        plan.dataset,
        plan.files,
        repairs=plan.repairs,
        copies=lambda contents: {},  # noqa: ARG005 - a dataset that refuses copies has one worker
        loaded_at=plan.loaded_at,
        work=folder,
        listed=plan.listed,
    )
    with write_atomically(folder / _DONE) as temporary:
        temporary.write_bytes(pickle.dumps(prepared))
    return prepared


def _result(folder: Path) -> Prepared:
    try:
        return pickle.loads((folder / _DONE).read_bytes())  # noqa: S301 - written by `run`
    except FileNotFoundError:
        raise ShardFailed(
            f"the process that normalized shard {folder.name} ended without a result; its output is in the run's log. "
            "Nothing of its batch was loaded; the files are tried again"
        ) from None


def main(folder: Path) -> None:
    """Do a shard, as a process that Dagster Pipes has started or a person has."""
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        prepared = run(folder)
        rows = sum(o.rows_read for o in prepared.outcomes)
        pipes.log.info("shard %s: %d files, %d rows", folder.name, len(prepared.outcomes), rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
