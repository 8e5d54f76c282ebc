"""Raw tables and rejects as tables of BigQuery: parts become objects of the bucket, and those rows in one job, all or none.

A transaction is the id of one job (`_commit`): a load job, where files are new or a table is made anew, which is free; else one
script that deletes and inserts in a transaction, from a staging table that load jobs filled before. Loaders write to the
dataset `loading`; what readers see as `raw` are clones of it, which publishing makes.

A table's version is the moment of its last change in milliseconds. `as_of` reads it as it was then, within the week
that BigQuery keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import GoogleCloud
from caudal.lake.records import Held
from caudal.warehouse.bigquery import erasing, limits, partitions, schema
from caudal.warehouse.bigquery.conditions import any_of, any_partition, expired, within
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.jobs import Job, job_id
from caudal.warehouse.bigquery.parts import fit, remove, upload
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.tables import Tables
from caudal.warehouse.delta import Transaction
from caudal.warehouse.raw_tables import counted_by_version, raw, rejects, renamed

if TYPE_CHECKING:
    import duckdb
    from google.cloud import bigquery

    from caudal.contracts import Column, Contract
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import LedgerFile
    from caudal.warehouse.suppression import Suppressed

#: A staging table that nobody removed goes after this.
STAGING_HOURS = 24


def physical(relation: str) -> str:
    """The relation as loaders write it: `raw.x` is `loading.x`."""
    schema_name, _, name = relation.partition(".")
    return f"loading.{name}" if schema_name == "raw" else relation


def as_of(cloud: GoogleCloud, relation: str, version: int) -> str:
    """What GoogleSQL's FROM takes of a version of the relation that is at most a week old."""
    # Within the millisecond that it was changed in.
    return f"`{cloud.table(physical(relation))}` FOR SYSTEM_TIME AS OF TIMESTAMP_MILLIS({version + 1})"


class BigQueryRawTables:
    """The `RawTables` of a project in Google Cloud."""

    kind = "bigquery"
    name = "BigQuery"

    def __init__(self, cloud: GoogleCloud, labels: Mapping[str, str] | None = None) -> None:
        self.cloud = cloud
        self.service = BigQuery(cloud, labels)
        self._tables = Tables(self.service)

    @property
    def done(self) -> Sequence[Job]:
        return self.service.done

    # Reading -----------------------------------------------------------------------------------------------------------

    def version(self, relation: str) -> int | None:
        table = self._tables.find(self._name(relation), again=True)
        return int(table.to_api_repr()["lastModifiedTime"]) if table is not None else None

    def committed(self, dataset: Dataset, transaction: Transaction) -> bool:
        if self.service.happened(self._commit(raw(dataset), transaction), or_never=True):
            return True
        self.service.happened(self._commit(rejects(dataset), transaction), or_never=True)
        return False

    def differing(self, relation: str, contract: Contract) -> list[str]:
        table = self._tables.find(self._name(relation))
        if table is None:
            return []
        found = schema.differing(table.schema, schema.fields_of(contract))
        found += renamed(contract, [field.name for field in table.schema])
        kept, wanted = _partitions(table.time_partitioning), _partitions(schema.partitioning(contract.layout))
        return found if kept == wanted else [*found, f"partitioned {kept} -> {wanted}"]

    def files_with_rows(self, relation: str) -> set[str]:
        rows = self._rows(relation, "SELECT DISTINCT _file FROM {table}")
        return {row["_file"] for row in rows}

    def read_rows(self, relation: str, columns: Sequence[str], limit: int) -> list[dict[str, object]]:
        names = ", ".join(f"`{c}`" for c in columns)
        return [dict(row.items()) for row in self._rows(relation, f"SELECT {names} FROM {{table}} LIMIT {limit}")]

    def blamed(self, relation: str) -> Mapping[str, int]:
        sql = "SELECT `column`, count(*) AS n FROM {table} WHERE `column` IS NOT NULL GROUP BY 1"
        return {row["column"]: row["n"] for row in self._rows(relation, sql)}

    def rejects_in(self, connection: duckdb.DuckDBPyConnection, relation: str) -> str | None:
        rows = self._rows(relation, "SELECT * FROM {table}")
        if not rows:
            return None
        arrow = rows.to_arrow(create_bqstorage_client=False)
        connection.register("rejects_of_bigquery", arrow)
        return "rejects_of_bigquery"

    # Writing -----------------------------------------------------------------------------------------------------------

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
        table, created = self._tables.ready(self._name(relation), schema.fields_of(contract), schema.layout_of(contract))
        commit, append = self._commit(relation, transaction), append or created
        condition = None if append else any_of(files, with_members, table.time_partitioning)
        if not parts:
            if condition is not None:
                self._script(
                    [f"DELETE FROM `{self._id(table)}` WHERE {condition[0]}"],
                    condition[1],
                    commit,
                    f"remove {len(files)} files of {relation}",
                )
            return
        fitted = fit(parts, contract)
        ranges = partitions.ranges(fitted, schema.layout_of(contract))
        groups = list(limits.jobs_of(fitted))
        urls = upload(self.cloud, fitted, self._folder(relation, transaction))
        # A load job's schema is the whole table's, and its files have all columns.
        whole = len(table.schema) == len(schema.fields_of(contract))
        if append and len(groups) == len(ranges) == 1 and whole:
            try:
                self._load(urls, self._id(table), commit, table.schema)
            except BigQueryRefused as refused:
                # A table may be loaded into 1,500 times a day, failed loads included; what statements change is not limited so:
                # https://cloud.google.com/bigquery/quotas#standard_tables
                if refused.reason != "quotaExceeded":
                    raise
            else:
                return
        self._through_staging(table, contract, urls, groups, ranges, condition, commit)

    def replace_all(self, relation: str, contract: Contract, parts: Sequence[Path], *, transaction: Transaction) -> None:
        name, fields = self._name(relation), schema.fields_of(contract)
        table, commit = self._tables.find(name), self._commit(relation, transaction)
        if table is not None and _partitions(table.time_partitioning) != _partitions(schema.partitioning(contract.layout)):
            # BigQuery never changes how a table is partitioned. Whoever dies after this finds no table, and all files pending.
            self._tables.remove(name)
        fitted = fit(parts, contract)
        groups = list(limits.jobs_of(fitted))
        ranges = partitions.ranges(fitted, contract.layout)
        urls = upload(self.cloud, fitted, self._folder(relation, transaction))
        if len(groups) == len(ranges) == 1:
            self._tables.ensure_dataset(name)
            self._load(urls, name, commit, fields, replace=True, **self._tables.layout_in_a_job(contract.layout))
        else:
            self._tables.remove(name)
            table, _ = self._tables.ready(name, fields, contract.layout)
            self._through_staging(table, contract, urls, groups, ranges, None, commit)
        self._tables.forget(name)

    def has_expired(self, relation: str, before: datetime, gone: Collection[str]) -> bool:
        condition, parameters = expired(before, gone)
        (row,) = self._rows(relation, f"SELECT count(*) AS n FROM {{table}} WHERE {condition}", parameters)
        return row["n"] > 0

    def expire(self, relation: str, before: datetime, gone: Collection[str]) -> int:
        condition, parameters = expired(before, gone)
        sql = f"DELETE FROM `{self._name(relation)}` WHERE {condition}"
        self.service.query(sql, parameters, what=f"remove rejects of {relation} that are not kept any longer")
        return self.service.done[-1].rows or 0

    def rows_of(self, relation: str, columns: Sequence[Column], listed: Suppressed) -> dict[str, list[int]]:
        query, parameters = erasing.rows_of(relation, columns, listed)
        return {row["_file"]: sorted(row["found"]) for row in self._rows(relation, query, parameters)}

    def remove_rows(self, relation: str, rows: Mapping[str, Sequence[int]]) -> None:
        table = self._tables.find(self._name(relation))
        column = table.time_partitioning.field if table is not None and table.time_partitioning is not None else None
        partition = f" AND {any_partition(column)}" if column else ""
        for condition, parameters in erasing.removals(rows):
            sql = f"DELETE FROM `{self._name(relation)}` WHERE ({condition}){partition}"
            self.service.query(sql, parameters, what=f"erase rows of {relation}")

    def counts(self, relation: str) -> dict[str, int]:
        return {row["_file"]: row["n"] for row in self._rows(relation, erasing.counts(relation))}

    def holdings(self, relation: str) -> list[Held]:
        return [Held(*row.values()) for row in self._rows(relation, counted_by_version(relation))]

    def tidy(self, dataset: Dataset, application: str) -> None:
        remove(self.cloud, f"{application}/{dataset.table}")

    def show_files(self, dataset: Dataset, files: Sequence[LedgerFile]) -> None:
        from caudal.warehouse.bigquery.lake_files import show

        show(self.service, self._tables, dataset, files)

    # Inside ------------------------------------------------------------------------------------------------------------

    def _name(self, relation: str) -> str:
        return self.cloud.table(physical(relation))

    def _commit(self, relation: str, transaction: Transaction) -> str:
        return job_id("commit", self.cloud.dataset(""), relation, transaction.application, transaction.number)

    def _folder(self, relation: str, transaction: Transaction) -> str:
        schema_name, _, name = relation.partition(".")
        return f"{transaction.application}/{name}/{transaction.number}/{schema_name}"

    @staticmethod
    def _id(table: bigquery.Table) -> str:
        return f"{table.project}.{table.dataset_id}.{table.table_id}"

    def _load(self, urls: Sequence[str], name: str, commit: str, fields: Sequence[bigquery.SchemaField], **given: Any) -> None:
        if not schema.are_plain(fields):
            given["column_name_character_map"] = "V2"
        self.service.load(urls, name, job_id=commit, schema=fields, **given)

    def _through_staging(
        self,
        table: bigquery.Table,
        contract: Contract | None,
        urls: Sequence[str],
        groups: Sequence[Sequence[int]],
        ranges: Sequence[partitions.Range],
        condition: tuple[str, list[Any]] | None,
        commit: str,
    ) -> None:
        """Load the parts into a table of their own; one script then puts its rows in the place of those of `condition`."""
        target, fields = self._id(table), schema.fields_of(contract)
        staging = f"{target}__staging_{commit[-12:]}"
        self._tables.create(staging, fields, expires=datetime.now(UTC) + timedelta(hours=STAGING_HOURS))
        for number, group in enumerate(groups):
            self._load([urls[place] for place in group], staging, job_id(commit, "staging", number), fields)
        names = ", ".join(f"`{field.name}`" for field in fields)
        insert = f"INSERT INTO `{target}` ({names}) SELECT {names} FROM `{staging}`"
        statements = [f"DELETE FROM `{target}` WHERE {condition[0]}"] if condition else []
        column = schema.layout_of(contract).partition_by
        statements += [insert + within(column, each) for each in ranges]
        self._script(statements, condition[1] if condition else [], commit, f"put the rows of {len(urls)} parts into {target}")
        self._tables.remove(staging)

    def _script(self, statements: Sequence[str], parameters: Sequence[Any], commit: str, what: str) -> None:
        script = ";\n".join(statements)
        if len(statements) > 1:
            script = f"BEGIN TRANSACTION;\n{script};\nCOMMIT TRANSACTION"
        self.service.query(script, parameters, what=what, job_id=commit)

    def _rows(self, relation: str, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The rows of a query of `{table}`; none if the table is not there."""
        name = self._name(relation)
        table = self._tables.find(name)
        if table is None:
            return ()
        source = f"`{name}`"
        if table.require_partition_filter:
            source = f"(SELECT * FROM `{name}` WHERE {any_partition(table.time_partitioning.field)})"
        return self.service.query(sql.format(table=source), parameters, what=f"read {relation}")


def _partitions(partitioning: Any) -> str:
    return f"by {partitioning.type_.lower()} of `{partitioning.field}`" if partitioning is not None else "not at all"
