"""Lake files into the raw table: claim, normalize, commit, finish. Whatever is killed in between, each file is loaded once.

One loader works on a dataset at a time, under a lock that dies with its holder; the protocol is in `caudal.lake.ledger`. It may
have its files normalized by other processes (`caudal.warehouse.shards`), and commits what they have written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.evolution import evolved_dataset, record_of
from caudal.lake.ledger import Ledger
from caudal.lake.records import Batch, LedgerFile, Outcome
from caudal.lake.watch import look
from caudal.store import open_store
from caudal.warehouse.batch import Prepared, prepare_files
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.raw_tables import RawTables, as_stored, raw, raw_tables, rejects
from caudal.warehouse.settling import note_unshown, settled, show_files, transaction_of
from caudal.warehouse.shards import Spread, split, spread_out
from caudal.warehouse.suppression import suppressed

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.bigquery.jobs import Job
    from caudal.warehouse.delta import Transaction

#: Files that become one commit at most.
BATCH_FILES = 2_000

#: Passes over a batch in which columns appear, before that is an error: each finds those of all files.
_EVOLUTIONS = 3


class ChangedTypes(ValueError):
    """The contract gives columns other types or names than the table has, and files that are gone cannot be read again."""


@dataclass(frozen=True)
class Loaded:
    """What one call of `load_pending` did.

    Attributes:
        files: each file that was finished, with what became of it; a deleted file has an empty version.
        unstable: files that changed or vanished while they were read; the next look at the lake will tell.
        undeclared: names of columns that files have and the contract does not, and paths of such keys inside structs.
        taken_over: how many files another ledger had loaded, which is lost; their rows stay in the raw table as they are.
        raw_version: of the raw table now, None if it was never written.
        jobs: that BigQuery did for it; locally there are none.

    """

    files: list[tuple[LedgerFile, Outcome]] = field(default_factory=list)
    unstable: set[str] = field(default_factory=set)
    undeclared: set[str] = field(default_factory=set)
    taken_over: int = 0
    raw_version: int | None = None
    jobs: tuple[Job, ...] = ()

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
    def rows_erased(self) -> int:
        """Rows of people whose rows are erased, which were left out."""
        return sum(o.rows_erased for _, o in self.files)

    @property
    def quarantined(self) -> list[tuple[LedgerFile, Outcome]]:
        return [(f, o) for f, o in self.files if o.unreadable is not None]


def load_pending(
    env: Environment,
    dataset: Dataset,
    run_id: str,
    batch_files: int = BATCH_FILES,
    *,
    look_first: bool = True,
    spread: Spread | None = None,
) -> Loaded:
    """Load what is pending, in batches, after settling what a killed loader left behind.

    Args:
        look_first: look at the dataset's files before; else what the ledger knows is loaded.
        spread: has shards of much work done by other processes, where the dataset declares `workers`.

    Raises:
        ChangedTypes: see there.

    """
    ledger = Ledger(env.state / "ledger.db")
    loaded = Loaded()
    tables = raw_tables(env, {"asset": f"raw/{dataset.id}", "run": run_id, "owner": next(iter(dataset.owners), "")})
    with settled(env, dataset, ledger, tables) as taken_over:
        if look_first:
            look(env, ledger, [dataset])
        rebuild = _rebuilt(tables, dataset, ledger)
        while batch := ledger.claim(dataset, run_id, -1 if rebuild else batch_files, leave=loaded.unstable):
            _load_batch(env, dataset, ledger, batch, loaded, spread, tables, rebuild=rebuild)
            if rebuild and not loaded.files:
                break  # A file changed meanwhile, so the table is as it was. The next run tries again.
            rebuild = False
        show_files(env, dataset, ledger, tables, changed=bool(loaded.files or taken_over))
        return replace(loaded, taken_over=taken_over, raw_version=tables.version(raw(dataset)), jobs=tuple(tables.done))


def prepare_batch(
    env: Environment, dataset: Dataset, ledger: Ledger, files: Sequence[LedgerFile], work: Path, spread: Spread | None = None
) -> Prepared:
    """Normalize `files` into the folder `work`, which is made anew."""
    dataset = as_stored(env, dataset)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    present = [f for f in files if not f.gone]
    repairs = ledger.repairs(dataset.id)
    if spread is not None and len(groups := split(present, dataset.workers)) > 1:
        return spread_out(env, dataset, groups, repairs, work, spread)
    return prepare_files(
        lambda: connect_memory(env),
        open_store(env.lake_url, env.acts_as),
        dataset,
        present,
        repairs=repairs,
        copies=lambda contents: ledger.live_copies(dataset.id, contents),
        loaded_at=datetime.now(UTC),
        work=work,
        listed=suppressed(env),
    )


def commit_batch(
    env: Environment,
    dataset: Dataset,
    ledger: Ledger,
    batch: Batch,
    prepared: Prepared,
    tables: RawTables | None = None,
    *,
    rebuild: bool = False,
) -> list[tuple[LedgerFile, Outcome]]:
    """Make what was prepared of a batch visible, and finish it; what became of each of its files.

    Nothing is committed, and the batch given up, if a file changed while it was read, or somebody has given it up already.
    """
    tables = tables or raw_tables(env)
    transaction = transaction_of(ledger, batch.number)
    by_path = {o.path: o for o in prepared.outcomes}
    if prepared.unstable & by_path.keys():
        ledger.abandon(batch.number)
        return []
    if not ledger.prepare(batch, prepared.outcomes, dataset.fingerprint):
        return []
    _replace_rejects(tables, dataset, prepared, batch, transaction)
    replaced = [f for f in batch.files if f.gone or (f.path in by_path and by_path[f.path].unreadable is None)]
    if rebuild:
        tables.replace_all(raw(dataset), dataset.contract, prepared.parts, transaction=transaction)
    elif replaced:
        fresh = not any(f.may_have_rows for f in batch.files)
        paths = [f.path for f in replaced]
        members = _with_members(batch.files, prepared.outcomes) & set(paths)
        tables.replace_files(
            raw(dataset),
            dataset.contract,
            prepared.parts,
            paths,
            transaction=transaction,
            append=fresh,
            with_members=members,
        )
    note_unshown(env, dataset)
    ledger.finish(batch.number)
    tables.tidy(dataset, transaction.application)
    return [(f, by_path.get(f.path, Outcome(f.path))) for f in batch.files if f.gone or f.path in by_path]


def evolve(ledger: Ledger, dataset: Dataset, prepared: Prepared) -> bool:
    """Write down the columns that files brought, where the contract lets the table evolve; whether there were any."""
    if dataset.contract.drift != "evolve" or not prepared.undeclared:
        return False
    ledger.evolve(dataset.id, [record_of(column, path) for column, path in prepared.undeclared.values()])
    return True


def _load_batch(
    env: Environment,
    dataset: Dataset,
    ledger: Ledger,
    batch: Batch,
    loaded: Loaded,
    spread: Spread | None,
    tables: RawTables,
    *,
    rebuild: bool,
) -> None:
    home = env.state / "parts" / dataset.table
    shutil.rmtree(home, ignore_errors=True)
    work = home / str(batch.number)
    for _ in range(_EVOLUTIONS):
        effective = evolved_dataset(dataset, ledger.evolved(dataset.id))
        prepared = prepare_batch(env, effective, ledger, batch.files, work, spread)
        loaded.undeclared.update(prepared.undeclared, prepared.left_out)
        if not evolve(ledger, dataset, prepared):
            break
    else:
        raise RuntimeError(f"{dataset.id}: columns keep appearing while the same files are read again; deliver them anew")
    loaded.unstable.update(prepared.unstable)
    loaded.files.extend(commit_batch(env, effective, ledger, batch, prepared, tables, rebuild=rebuild))
    shutil.rmtree(home, ignore_errors=True)


def _rebuilt(tables: RawTables, dataset: Dataset, ledger: Ledger) -> bool:
    """Whether the raw table has columns of other types or names than the contract; then all files are pending anew."""
    contract = evolved_dataset(dataset, ledger.evolved(dataset.id)).contract
    changed = tables.differing(raw(dataset), contract)
    if not changed:
        return False
    kept = [f.path for f in ledger.files(dataset.id, "deleted") if f.live_version]
    if kept:
        raise ChangedTypes(
            f"{dataset.id}: the contract gives columns other types or names than the raw table has ({'; '.join(changed)}), so "
            f"all files must be read again, and {len(kept)} of them are gone from the lake while their rows are kept, such as "
            f"{kept[0]}. Put them back, give their rows up with `caudal lake forget {dataset.id} --gone`, or declare new "
            "columns instead"
        )
    ledger.ask_again(dataset.id, announce=False)
    return True


def _replace_rejects(tables: RawTables, dataset: Dataset, prepared: Prepared, batch: Batch, transaction: Transaction) -> None:
    """Replace the files' rejects. Doing so again gives the same, so this needs no transaction of its own."""
    concerned = {o.path for o in prepared.outcomes if o.rows_rejected or o.unreadable or o.note}
    concerned |= {f.path for f in batch.files if f.may_have_rows}
    members = _with_members(batch.files, prepared.outcomes)
    if prepared.rejects or (concerned and tables.version(rejects(dataset)) is not None):
        tables.replace_files(
            rejects(dataset),
            None,
            prepared.rejects,
            sorted(concerned),
            transaction=transaction,
            append=not any(f.may_have_rows for f in batch.files),
            with_members=members & concerned,
        )


def _with_members(files: Iterable[LedgerFile], outcomes: Iterable[Outcome]) -> set[str]:
    return {f.path for f in files if f.has_members} | {o.path for o in outcomes if o.has_members}
