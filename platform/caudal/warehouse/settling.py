"""What is true whenever nobody loads: no batch is unfinished, and the ledger knows whose rows the tables hold."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.lake.records import Held, Holding
from caudal.lake.watch import look
from caudal.store import exclusive_lock
from caudal.warehouse.delta import Transaction, lake_file
from caudal.warehouse.raw_tables import RawTables, raw, raw_tables, rejects

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


def writing(env: Environment, dataset: Dataset) -> AbstractContextManager[None]:
    """The lock of whoever writes to the dataset's tables."""
    return exclusive_lock(env.state / "locks" / f"{dataset.table}.lock")


@contextmanager
def settled(env: Environment, dataset: Dataset, ledger: Ledger, tables: RawTables | None = None) -> Generator[int]:
    """Hold the dataset's lock, with no unfinished batch; how many files were taken over from a ledger that was lost."""
    tables = tables or raw_tables(env)
    with writing(env, dataset):
        unfinished = ledger.unfinished(dataset.id)
        for batch in unfinished:
            if batch.prepared and tables.committed(dataset, transaction_of(ledger, batch.number)):
                note_unshown(env, dataset)
                ledger.finish(batch.number)
            else:
                ledger.abandon(batch.number)
        if unfinished:
            tables.tidy(dataset, application_of(ledger))
        taken_over = 0
        if not ledger.knows_table(dataset.id):
            holdings = _holdings(tables, dataset)
            if holdings:
                look(env, ledger, [dataset])
            taken_over = ledger.adopt_table(dataset, holdings)
        yield taken_over


def _holdings(tables: RawTables, dataset: Dataset) -> list[Holding]:
    """What the tables hold of each lake file: the ledger that loaded it may have been lost.

    Rejects are written before the raw table, so that a version is whole if the raw table has it. No version is told of files
    that must be read again for what a ledger knows beside their rows: columns that appeared, and contents to find copies by.
    """
    loaded, rejected = tables.holdings(raw(dataset)), tables.holdings(rejects(dataset))
    must_be_read = dataset.contract.drift == "evolve" or dataset.copies == "refuse"
    by_file: dict[str, tuple[list[Held], list[Held]]] = {}
    for place, held in enumerate((loaded, rejected)):
        for each in held:
            by_file.setdefault(lake_file(each.name), ([], []))[place].append(each)
    found = []
    for path, (good, bad) in sorted(by_file.items()):
        versions = {each.version for each in good + bad}
        is_whole = len(versions) == 1 and bool(good) and all(each.rows for each in bad)
        newest = max(each.newest for each in good + bad)
        found.append(
            Holding(
                path,
                version=versions.pop() if is_whole and not must_be_read else None,
                rows_loaded=sum(each.rows for each in good),
                rows_rejected=sum(each.rows for each in bad),
                has_members=any(each.name != path for each in good + bad),
                loaded_at=newest.astimezone(UTC).isoformat(timespec="microseconds"),
            )
        )
    return found


def application_of(ledger: Ledger) -> str:
    return f"caudal-ledger-{ledger.id}"


def transaction_of(ledger: Ledger, number: int) -> Transaction:
    return Transaction(application_of(ledger), number)


def note_unshown(env: Environment, dataset: Dataset) -> None:
    """What is shown of the ledger is older than what a batch is about to change."""
    if env.cloud is not None:
        note = env.state / "unshown" / dataset.table
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


def show_files(env: Environment, dataset: Dataset, ledger: Ledger, tables: RawTables, *, changed: bool) -> None:
    note = env.state / "unshown" / dataset.table
    if changed or note.exists():
        tables.show_files(dataset, ledger.files(dataset.id) if env.cloud else ())
        note.unlink(missing_ok=True)
