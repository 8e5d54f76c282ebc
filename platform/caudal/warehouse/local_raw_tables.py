"""Raw tables and rejects as Delta Lake tables in the environment's warehouse folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.lake.records import Held
from caudal.warehouse import delta
from caudal.warehouse.delta import Transaction
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import reject_schema
from caudal.warehouse.raw_tables import counted_by_version, renamed
from caudal.warehouse.sql import text

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Column, Contract
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import LedgerFile
    from caudal.warehouse.bigquery.jobs import Job
    from caudal.warehouse.suppression import Suppressed

#: Files named in one condition.
_FILES_AT_ONCE = 500
#: Rows, and pieces of so many rows, named in one condition.
_ROWS_AT_ONCE, _PIECES_AT_ONCE = 1_000, 20


class LocalRawTables:
    """The `RawTables` of this machine."""

    kind = "deltalake"
    name = "Delta Lake"
    done: Sequence[Job] = ()

    def __init__(self, env: Environment) -> None:
        self._env = env

    def path(self, relation: str) -> Path:
        """The folder of the table."""
        schema, _, name = relation.partition(".")
        return {"raw": self._env.raw, "quarantine": self._env.quarantine}[schema] / name

    def version(self, relation: str) -> int | None:
        return delta.version_of_table(self.path(relation))

    def committed(self, dataset: Dataset, transaction: Transaction) -> bool:
        return delta.committed(self._env.raw / dataset.table, transaction)

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
        schema = reject_schema() if contract is None else contract.arrow_schema()
        table = self.path(relation)
        delta.replace_files(table, schema, parts, files, transaction=transaction, append=append, with_members=with_members)

    def replace_all(self, relation: str, contract: Contract, parts: Sequence[Path], *, transaction: Transaction) -> None:
        delta.replace_all(self.path(relation), contract.arrow_schema(), parts, transaction=transaction)

    def differing(self, relation: str, contract: Contract) -> list[str]:
        types = delta.differing_types(self.path(relation), contract.arrow_schema())
        return [*types, *renamed(contract, self._columns(relation))]

    def files_with_rows(self, relation: str) -> set[str]:
        return delta.files_with_rows(self.path(relation))

    def read_rows(self, relation: str, columns: Sequence[str], limit: int) -> list[dict[str, object]]:
        return delta.read_rows(self.path(relation), columns, limit)

    def blamed(self, relation: str) -> Mapping[str, int]:
        table = self.path(relation)
        version = delta.version_of_table(table)
        files = delta.data_files(table, version) if version is not None else []
        if not files:
            return {}
        listed = ", ".join(text(str(f)) for f in files)
        with connect_memory(self._env) as connection:
            sql = f'SELECT "column", count(*) FROM read_parquet([{listed}]) WHERE "column" IS NOT NULL GROUP BY 1'
            return dict(connection.execute(sql).fetchall())

    def rejects_in(self, connection: duckdb.DuckDBPyConnection, relation: str) -> str | None:  # noqa: ARG002 - it scans files
        table = self.path(relation)
        return f"delta_scan({text(str(table))})" if delta.version_of_table(table) is not None else None

    def expire(self, relation: str, before: datetime, gone: Collection[str]) -> int:
        return sum(_remove(self.path(relation), condition) for condition in _conditions(before, gone))

    def has_expired(self, relation: str, before: datetime, gone: Collection[str]) -> bool:
        """Whether there is something to `expire`."""
        return any(_count(self.path(relation), condition) for condition in _conditions(before, gone))

    def rows_of(self, relation: str, columns: Sequence[Column], listed: Suppressed) -> dict[str, list[int]]:
        is_raw = relation.startswith("raw.")
        there = self._columns(relation)
        columns = [c for c in columns if c.name in there] if is_raw else columns
        if not there or not columns:
            return {}
        condition = listed.in_rows(columns) if is_raw else listed.in_rejects(columns)
        sql = f"SELECT _file, list(DISTINCT _row) FROM {{}} WHERE _row IS NOT NULL AND ({condition}) GROUP BY 1"
        return {file: sorted(rows) for file, rows in self._asked(relation, sql)}

    def remove_rows(self, relation: str, rows: Mapping[str, Sequence[int]]) -> None:
        from deltalake import DeltaTable

        pieces = [
            f"(_file = {text(file)} AND _row IN ({', '.join(map(str, found[start : start + _ROWS_AT_ONCE]))}))"
            for file, found in sorted(rows.items())
            for start in range(0, len(found), _ROWS_AT_ONCE)
        ]
        for start in range(0, len(pieces), _PIECES_AT_ONCE):
            DeltaTable(str(self.path(relation))).delete(" OR ".join(pieces[start : start + _PIECES_AT_ONCE]))

    def counts(self, relation: str) -> dict[str, int]:
        counted = "count(*)" if relation.startswith("raw.") else "count(DISTINCT _row)"
        return dict(self._asked(relation, f"SELECT _file, {counted} FROM {{}} GROUP BY 1")) if self._columns(relation) else {}

    def holdings(self, relation: str) -> list[Held]:
        if not self._columns(relation):
            return []
        return [Held._make(row) for row in self._asked(relation, counted_by_version(relation).format(table="{}"))]

    def _columns(self, relation: str) -> frozenset[str]:
        version = self.version(relation)
        return frozenset() if version is None else delta.column_names(self.path(relation), version)

    def _asked(self, relation: str, sql: str) -> list[tuple[str, Any]]:
        with connect_memory(self._env) as connection:
            source = self.rejects_in(connection, relation)
            return connection.execute(sql.format(source)).fetchall()

    def tidy(self, dataset: Dataset, application: str) -> None:
        """Nothing: parts become the table's own files."""

    def show_files(self, dataset: Dataset, files: Sequence[LedgerFile]) -> None:
        """Nothing: the ledger is beside the tables."""


def _conditions(before: datetime, gone: Collection[str]) -> list[str]:
    named, starts = sorted(gone), range(0, len(gone), _FILES_AT_ONCE)
    older = f"_loaded_at < arrow_cast('{before:%Y-%m-%dT%H:%M:%SZ}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return [older, *(delta.any_of(named[start : start + _FILES_AT_ONCE]) for start in starts)]


def _remove(table: Path, condition: str) -> int:
    from deltalake import DeltaTable

    if rows := _count(table, condition):
        DeltaTable(str(table)).delete(condition)
    return rows


def _count(table: Path, condition: str) -> int:
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    sql = f"SELECT count(*) AS n FROM t WHERE {condition}"
    return pa.table(QueryBuilder().register("t", DeltaTable(str(table))).execute(sql).read_all())["n"][0].as_py()
