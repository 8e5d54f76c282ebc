"""Columns that files bring beside those of their contract, where it lets the table evolve.

They are written into the ledger when they first appear, and belong to the dataset from then on, nullable, until a person adopts
them into the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from caudal.contracts import Column
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import Evolved


def evolved_dataset(dataset: Dataset, evolved: Sequence[Evolved]) -> Dataset:
    """The dataset as its files are: with the columns that they brought, if its contract lets it evolve."""
    if dataset.contract.drift != "evolve" or not evolved:
        return dataset
    return replace(dataset, contract=dataset.contract.with_columns(Column.from_json(e.declared) for e in evolved))


def as_it_is(env: Environment, dataset: Dataset) -> Dataset:
    """The dataset with the columns that the environment's ledger knows its files to have brought."""
    if dataset.contract.drift != "evolve":
        return dataset
    return evolved_dataset(dataset, Ledger(env.state / "ledger.db").evolved(dataset.id))


def record_of(column: Column, file: str) -> Evolved:
    """What the ledger keeps of a column that appears in the lake file `file` now."""
    return Evolved(column.name, column.to_json(), file, datetime.now(UTC).isoformat(timespec="microseconds"))


def not_adopted(dataset: Dataset, evolved: Sequence[Evolved]) -> list[Evolved]:
    """Those that the contract does not have yet."""
    known = {name.lower() for name in dataset.contract.column_names}
    return [e for e in evolved if e.name.lower() not in known]
