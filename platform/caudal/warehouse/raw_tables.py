"""Raw tables and rejects, wherever they are: Delta Lake tables on this machine, or tables of BigQuery.

A relation is `raw.<source>__<dataset>` or `quarantine.<source>__<dataset>`. Whoever writes holds the dataset's lock, so that a
table has one writer at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from caudal.contracts import Column, Contract
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import Held, LedgerFile
    from caudal.warehouse.bigquery.jobs import Job
    from caudal.warehouse.delta import Transaction
    from caudal.warehouse.suppression import Suppressed


class RawTables(Protocol):
    """One environment's raw tables and rejects, for one piece of work.

    Attributes:
        kind: what Dagster shows as the kind of such a table.
        name: what people call what such tables are in.
        done: the jobs that were done for it, in order; locally there are none.

    """

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def done(self) -> Sequence[Job]: ...

    def version(self, relation: str) -> int | None:
        """What rises with every change of the table; None if it was never written."""
        ...

    def committed(self, dataset: Dataset, transaction: Transaction) -> bool:
        """Whether `transaction` is in the raw table. If not, nothing of it will come any more, there or to the rejects.

        Only of a writer that has ended, be it that its last request is still on its way.
        """
        ...

    def replace_files(
        self,
        relation: str,
        contract: Contract | None,
        parts: Sequence[Path],
        files: Sequence[str],
        *,
        transaction: Transaction,
        append: bool = False,
        with_members: Collection[str] = (),
    ) -> None:
        """Put the rows of `parts` in the place of all rows of the lake files `files`, all or nothing.

        The table is made, and gets the columns of the contract that it does not have; they hold nulls.

        Args:
            contract: of a raw table; None for rejects, which are all alike.
            parts: Parquet files; every row's `_file` is one of `files`, or a member of one. They may be moved away. Without
                any, rows are only removed.
            append: the table is known to hold no row of `files`, so that nothing needs to be looked for.
            with_members: those of `files` that may have rows under the names of members.

        """
        ...

    def replace_all(self, relation: str, contract: Contract, parts: Sequence[Path], *, transaction: Transaction) -> None:
        """Put the rows of `parts` in the place of all rows, whatever their types were, all or nothing."""
        ...

    def differing(self, relation: str, contract: Contract) -> list[str]:
        """What of the contract the table cannot become as it is, each told with both: a column's type or name, say."""
        ...

    def files_with_rows(self, relation: str) -> set[str]:
        """The lake files, and members of such, that the table has rows of."""
        ...

    def read_rows(self, relation: str, columns: Sequence[str], limit: int) -> list[dict[str, object]]:
        """Up to `limit` rows of the table."""
        ...

    def blamed(self, relation: str) -> Mapping[str, int]:
        """How many rejects each column is to blame for."""
        ...

    def rejects_in(self, connection: duckdb.DuckDBPyConnection, relation: str) -> str | None:
        """What DuckDB's FROM takes of the rejects; None if there are none."""
        ...

    def has_expired(self, relation: str, before: datetime, gone: Collection[str]) -> bool:
        """Whether there is something to `expire`."""
        ...

    def expire(self, relation: str, before: datetime, gone: Collection[str]) -> int:
        """Remove rejects that are older, or of the lake files or members `gone`; how many rows that were."""
        ...

    def rows_of(self, relation: str, columns: Sequence[Column], listed: Suppressed) -> dict[str, list[int]]:
        """By `_file`, the `_row` of the rows of people of the list, whom `columns` identify."""
        ...

    def remove_rows(self, relation: str, rows: Mapping[str, Sequence[int]]) -> None:
        """Remove these rows, given by `_file`; doing so again does nothing. Nothing of their values is written anywhere."""
        ...

    def counts(self, relation: str) -> dict[str, int]:
        """How many rows there are of each `_file`; of rejects, how many rows were rejected."""
        ...

    def holdings(self, relation: str) -> list[Held]:
        """What the table holds of each file's versions."""
        ...

    def tidy(self, dataset: Dataset, application: str) -> None:
        """Remove what batches of that application, all of which are over, left on their way into the dataset's tables."""
        ...

    def show_files(self, dataset: Dataset, files: Sequence[LedgerFile]) -> None:
        """Show analysts what the ledger says of the dataset's files, where it is not beside the tables anyway."""
        ...


def raw_tables(env: Environment, labels: Mapping[str, str] | None = None) -> RawTables:
    """The raw tables of the environment. Connects to nothing yet.

    Args:
        labels: of each job on BigQuery: `asset`, `run`, `owner`.

    """
    if env.cloud is None:
        from caudal.warehouse.local_raw_tables import LocalRawTables

        return LocalRawTables(env)
    from caudal.warehouse.bigquery.raw_tables import BigQueryRawTables

    return BigQueryRawTables(env.cloud, labels)


def raw(dataset: Dataset) -> str:
    """The relation of the dataset's raw table."""
    return f"raw.{dataset.table}"


def rejects(dataset: Dataset) -> str:
    """The relation of the dataset's rejects."""
    return f"quarantine.{dataset.table}"


def renamed(contract: Contract, columns: Collection[str]) -> list[str]:
    """The columns of a contract that a table of these `columns` has under an older name alone, each told with both."""
    there, declared = {name.lower() for name in columns}, {column.name.lower() for column in contract.columns}
    return [
        f"`{older}` -> `{column.name}`"
        for column in contract.columns
        for older in column.renamed_from
        if column.name.lower() not in there and older.lower() in there - declared
    ]


def counted_by_version(relation: str) -> str:
    """A query of `{table}` in the SQL of every engine, for `RawTables.holdings`.

    Of rejects it counts the rejected rows; 0 where something was refused as a whole.
    """
    rejected = "count(DISTINCT _row) * min(CASE WHEN _row IS NULL THEN 0 ELSE 1 END)"
    counted = "count(*)" if relation.startswith("raw.") else rejected
    return f"SELECT _file, _version, {counted} AS n, max(_loaded_at) AS newest FROM {{table}} GROUP BY 1, 2"


def as_stored(env: Environment, dataset: Dataset) -> Dataset:
    """The dataset with a contract that refuses the values which the environment's raw tables cannot hold."""
    if env.cloud is None:
        return dataset
    from caudal.warehouse.bigquery.storable import without_null_items

    return replace(dataset, contract=without_null_items(dataset.contract))
