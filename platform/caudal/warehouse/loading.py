"""Lake files into the raw table: claim, normalize, commit, finish. Whatever is killed in between, each file is loaded once.

One loader works on a dataset at a time, under a lock that dies with its holder; the protocol is in `caudal.lake.ledger`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.lake.records import Batch, LedgerFile, Outcome
from caudal.lake.watch import look
from caudal.store import exclusive_lock, version_of
from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Normalized, Quarantined, normalize_many, reject_schema, write_unreadable

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: Files that become one commit at most.
BATCH_FILES = 2_000


@dataclass(frozen=True)
class Loaded:
    """What one call of `load_pending` did.

    Attributes:
        files: each file that was finished, with what became of it; a deleted file has an empty version.
        unstable: files that changed or vanished while they were read; the next look at the lake will tell.
        raw_version: of the raw table now, None if it was never written.

    """

    files: list[tuple[LedgerFile, Outcome]] = field(default_factory=list)
    unstable: set[str] = field(default_factory=set)
    undeclared: set[str] = field(default_factory=set)
    raw_version: int | None = None

    @property
    def rows_read(self) -> int:
        return sum(o.rows_read for _, o in self.files)

    @property
    def rows_loaded(self) -> int:
        return sum(o.rows_loaded for _, o in self.files)

    @property
    def rows_rejected(self) -> int:
        return sum(o.rows_rejected for _, o in self.files)

    @property
    def quarantined(self) -> list[tuple[LedgerFile, Outcome]]:
        return [(f, o) for f, o in self.files if o.unreadable is not None]


def load_pending(env: Environment, dataset: Dataset, run_id: str, batch_files: int = BATCH_FILES) -> Loaded:
    """Look at the dataset's files and load what is pending, in batches, after settling what a killed loader left behind."""
    ledger = Ledger(env.state / "ledger.db")
    table = env.raw / dataset.table
    loaded = Loaded()
    with exclusive_lock(env.state / "locks" / f"{dataset.table}.lock"):
        for number, prepared in ledger.unfinished(dataset):
            if prepared and delta.committed(table, delta.Transaction(_application(ledger), number)):
                ledger.finish(number)
            else:
                ledger.abandon(number)
        look(env, ledger, [dataset])
        while batch := ledger.claim(dataset, run_id, batch_files, leave=loaded.unstable):
            _load_batch(env, dataset, ledger, batch, loaded)
        return Loaded(loaded.files, loaded.unstable, loaded.undeclared, delta.version_of_table(table))


def _load_batch(env: Environment, dataset: Dataset, ledger: Ledger, batch: Batch, loaded: Loaded) -> None:
    table, rejects = env.raw / dataset.table, env.quarantine / dataset.table
    transaction = delta.Transaction(_application(ledger), batch.number)
    work = env.state / "parts" / dataset.table
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    loaded_at = datetime.now(UTC)
    held = {f.path: h for f in batch.files if not f.gone and (h := _hold(env, f, work)) is not None}
    with connect_memory(env) as connection:
        files = [LakeFile(f.path, f.version, held[f.path]) for f in batch.files if f.path in held]
        results = list(normalize_many(connection, dataset, files, loaded_at=loaded_at, into=work))
    unstable = {f.path for f in batch.files if not f.gone and not _unchanged(f, held.get(f.path))}
    loaded.unstable.update(unstable)
    if unstable & held.keys():
        ledger.abandon(batch.number)
        return
    outcomes = list(_outcomes(results))
    parts = [r.part for r in results if isinstance(r, Normalized) and r.part is not None]
    reject_parts = [r.rejects for r in results if isinstance(r, Normalized) and r.rejects is not None]
    unreadable = {o.path: o.unreadable for o in outcomes if o.unreadable is not None}
    if unreadable:
        reject_parts.append(write_unreadable(unreadable, {f.path: f.version for f in files}, loaded_at, work))
    ledger.prepare(batch, outcomes)
    _replace_rejects(rejects, reject_parts, batch, outcomes, transaction)
    replaced = [f.path for f in batch.files if f.path not in unreadable and (f.gone or f.path in held)]
    if replaced:
        known = delta.last_transaction(table, transaction.application) is not None or delta.is_empty(table)
        fresh = known and not any(f.may_have_rows for f in batch.files)
        delta.replace_files(table, dataset.contract.arrow_schema(), parts, replaced, transaction=transaction, append=fresh)
    ledger.finish(batch.number)
    by_path = {o.path: o for o in outcomes}
    for file in batch.files:
        if file.gone or file.path in by_path:
            loaded.files.append((file, by_path.get(file.path, Outcome(file.path))))
    for result in results:
        if isinstance(result, Normalized):
            loaded.undeclared.update(c.name for c in result.undeclared)
    shutil.rmtree(work, ignore_errors=True)


def _outcomes(results: Sequence[Normalized | Quarantined]) -> Iterator[Outcome]:
    for result in results:
        if isinstance(result, Normalized):
            for counts in result.files:
                yield Outcome(counts.path, counts.rows_read, counts.rows_loaded, counts.rows_rejected)
        else:
            yield Outcome(result.path, unreadable=result.reason)


def _replace_rejects(
    table: Path, parts: list[Path], batch: Batch, outcomes: Sequence[Outcome], transaction: delta.Transaction
) -> None:
    """Replace the files' rejects. Doing so again gives the same, so this needs no transaction of its own."""
    concerned = {o.path for o in outcomes if o.rows_rejected or o.unreadable}
    concerned |= {f.path for f in batch.files if f.may_have_rows}
    if parts or (concerned and delta.version_of_table(table) is not None):
        delta.replace_files(table, reject_schema(), parts, sorted(concerned), transaction=transaction)


def _hold(env: Environment, file: LedgerFile, work: Path) -> Path | None:
    """A second name for the file, so that it stays what it is while it is read; None if it is no longer that version."""
    path = env.lake / file.path
    link = work / f"{abs(hash(file.path)):x}{''.join(path.suffixes[-2:])}"
    try:
        os.link(path, link)
    except FileNotFoundError:
        return None
    except OSError:
        link = path
    return link if _unchanged(file, link) else None


def _unchanged(file: LedgerFile, held: Path | None) -> bool:
    if held is None:
        return False
    try:
        return version_of(held.stat()) == file.version
    except FileNotFoundError:
        return False


def _application(ledger: Ledger) -> str:
    return f"caudal-ledger-{ledger.id}"
