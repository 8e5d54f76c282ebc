"""How long rejects are kept, where a dataset says so: those that are too old go, and those of lake files that are gone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.warehouse import delta

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: Files named in one condition.
_FILES_AT_ONCE = 500


def expire_rejects(env: Environment, dataset: Dataset, writing: Callable[[], AbstractContextManager[None]]) -> int:
    """Remove the dataset's rejects that it does not keep; how many rows that were.

    Args:
        writing: holds off loaders; entered only if there is something to remove.

    """
    table = env.quarantine / dataset.table
    if dataset.rejects_retention_days is None or delta.version_of_table(table) is None:
        return 0
    before = datetime.now(UTC) - timedelta(days=dataset.rejects_retention_days)
    conditions = [f"_loaded_at < arrow_cast('{before:%Y-%m-%dT%H:%M:%SZ}', 'Timestamp(Microsecond, Some(\"UTC\"))')"]
    gone = {file.path for file in Ledger(env.state / "ledger.db").files(dataset.id, "deleted")}
    orphans = sorted(name for name in delta.files_with_rows(table) if delta.lake_file(name) in gone or name in gone)
    starts = range(0, len(orphans), _FILES_AT_ONCE)
    conditions += [delta.any_of(orphans[start : start + _FILES_AT_ONCE]) for start in starts]
    return sum(_remove(table, condition, writing) for condition in conditions)


def _remove(table: Path, condition: str, writing: Callable[[], AbstractContextManager[None]]) -> int:
    from deltalake import DeltaTable

    if not _count(table, condition):
        return 0
    with writing():
        rows = _count(table, condition)
        DeltaTable(str(table)).delete(condition)
    return rows


def _count(table: Path, condition: str) -> int:
    return _query(table, f"SELECT count(*) AS n FROM t WHERE {condition}")["n"][0].as_py()


def _query(table: Path, sql: str) -> pa.Table:
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    return pa.table(QueryBuilder().register("t", DeltaTable(str(table))).execute(sql).read_all())
