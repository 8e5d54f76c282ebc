"""What is true whenever nobody loads: no batch is unfinished, and the ledger knows whose rows the tables hold."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
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
def settled(env: Environment, dataset: Dataset, ledger: Ledger, tables: RawTables | None = None) -> Generator[None]:
    """Hold the dataset's lock, with no unfinished batch."""
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
        if not ledger.knows_table(dataset.id):
            _adopt_table(tables, dataset, ledger)
        yield


def _adopt_table(tables: RawTables, dataset: Dataset, ledger: Ledger) -> None:
    """Have the ledger know whose rows the raw table and the rejects hold: its predecessor may have been lost."""
    names = {n for relation in (raw(dataset), rejects(dataset)) for n in tables.files_with_rows(relation)}
    paths = {lake_file(name) for name in names}
    ledger.adopt_table(dataset.id, names | paths, with_members={lake_file(n) for n in names if lake_file(n) != n})


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
