"""How long rejects are kept, where a dataset says so: those that are too old go, and those of lake files that are gone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.warehouse.delta import lake_file
from caudal.warehouse.raw_tables import raw_tables, rejects

if TYPE_CHECKING:
    from collections.abc import Callable

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


def expire_rejects(env: Environment, dataset: Dataset, writing: Callable[[], AbstractContextManager[None]]) -> int:
    """Remove the dataset's rejects that it does not keep; how many rows that were.

    Args:
        writing: holds off loaders; entered only if there is something to remove.

    """
    tables, relation = raw_tables(env), rejects(dataset)
    if dataset.rejects_retention_days is None or tables.version(relation) is None:
        return 0
    before = datetime.now(UTC) - timedelta(days=dataset.rejects_retention_days)
    deleted = {file.path for file in Ledger(env.state / "ledger.db").files(dataset.id, "deleted")}
    gone = {name for name in tables.files_with_rows(relation) if lake_file(name) in deleted or name in deleted}
    if not tables.has_expired(relation, before, gone):
        return 0
    with writing():
        return tables.expire(relation, before, gone)
