"""Raw tables, rejects and published tables to BigQuery, each read back and compared."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.contracts import LINEAGE_COLUMNS
from caudal.lake.evolution import as_it_is
from caudal.runtime.migration.fingerprint import Fingerprint, fingerprint
from caudal.runtime.migration.journal import Journal, Step
from caudal.runtime.migration.ledger import live_versions
from caudal.runtime.migration.objects import Differs
from caudal.warehouse import delta, versions
from caudal.warehouse.bigquery.conditions import any_partition
from caudal.warehouse.bigquery.raw_tables import physical
from caudal.warehouse.bigquery.reading import TableReader
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.connection import quoted
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import reject_schema
from caudal.warehouse.published import connect
from caudal.warehouse.raw_tables import raw, raw_tables, rejects
from caudal.warehouse.raw_views import REJECT_COLUMNS, _body
from caudal.warehouse.sql import identifier
from caudal.warehouse.versions import Cause

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.environment import Environment
    from caudal.google_cloud import GoogleCloud
    from caudal.lake.dataset import Dataset

#: Rows of a part, and of what is read at a time.
_PART_ROWS, _BATCH_ROWS = 1_000_000, 100_000


def load_raw(journal: Journal, source: Environment, target: Environment, dataset: Dataset) -> Iterator[Step]:
    """Load the dataset's raw table and its rejects, if there are any; what is done already is left out.

    Each is one job whose id says which version of the table it loads, so that it happens once.

    Raises:
        Differs: what is there then is not what was loaded.

    """
    dataset, into, done = as_it_is(source, dataset), raw_tables(target), journal.steps()
    for relation, contract in ((raw(dataset), dataset.contract), (rejects(dataset), None)):
        version = _version(source, relation)
        if version is None or (relation in done and done[relation].version == str(version)):
            continue
        transaction = delta.Transaction(f"caudal-migration-{journal.id}", version + 1)
        with _parts(source, target, dataset, relation) as (parts, schema):
            given = fingerprint(_read(parts), schema)
            if contract is not None:
                into.replace_all(relation, contract, parts(), transaction=transaction)
            elif given.rows:
                files = into.files_with_rows(relation) | delta.files_with_rows(_table(source, relation))
                into.replace_files(relation, None, parts(), sorted(files), transaction=transaction)
            made = _fingerprint_there(target, physical(relation), schema) if given.rows else given
        _compared(relation, given, made)
        yield Step(relation, str(version), *_of(given))


def raw_differences(source: Environment, target: Environment, dataset: Dataset) -> Iterator[tuple[str, Fingerprint, str]]:
    """For each table of the dataset its fingerprint in the source, and how the target's differs, or ""."""
    dataset = as_it_is(source, dataset)
    for relation in (raw(dataset), rejects(dataset)):
        if _version(source, relation) is None:
            continue
        with _parts(source, target, dataset, relation) as (parts, schema):
            given = fingerprint(_read(parts), schema)
        made = _fingerprint_there(target, physical(relation), schema) if given.rows else given
        yield relation, given, _difference(relation, given, made)


def publish(journal: Journal, source: Environment, target: Environment, datasets: Sequence[Dataset]) -> Iterator[Step]:
    """Publish the published tables, all in one version, whose cause says so; views are made by the first run of dbt there.

    Raises:
        Differs: what is there then is not what was published.

    """
    version = versions.current(source)
    if version is None or ((done := journal.steps().get("published")) and done.version == version):
        return
    cause = Cause(versions.MIGRATION, note=f"{journal.id} of {version}")
    seen = versions.current(target)
    record = versions.named(target, seen) if seen else None
    if record is None or record.cause.note != cause.note:
        with open_candidate(target, datasets) as candidate:
            for relation in published_tables(source):
                candidate.write({relation: _storable(source, relation)})
            candidate.publish(published_tables(source), cause)
    total = 0
    for relation, given, difference in published_differences(source, target):
        if difference:
            raise Differs(difference)
        total += given.rows
        yield Step(relation, version, *_of(given))
    yield Step("published", version, total, "")


def published_differences(source: Environment, target: Environment) -> Iterator[tuple[str, Fingerprint, str]]:
    """For each published table its fingerprint in the source, and how the target's differs, or ""."""
    for relation in published_tables(source):
        rows = _storable(source, relation)
        given = fingerprint(rows.to_batches(), rows.schema)
        yield relation, given, _difference(relation, given, _fingerprint_there(target, relation, rows.schema))


def published_tables(source: Environment) -> list[str]:
    """The tables of the published version; views are none."""
    if versions.current(source) is None:
        return []
    with connect(source) as connection:
        rows = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = current_database() "
            "AND schema_name <> 'caudal' AND NOT temporary ORDER BY ALL"
        ).fetchall()
    return [row[0] for row in rows]


def rows_here(source: Environment, relation: str) -> int:
    """How many rows a raw table or rejects of this machine have."""
    import pyarrow as pa
    from deltalake import DeltaTable

    return sum(pa.table(DeltaTable(str(_table(source, relation))).get_add_actions(flatten=True))["num_records"].to_pylist())


def rows_published(source: Environment, relation: str) -> int:
    """How many rows a published table of this machine has."""
    with connect(source) as connection:
        row = connection.execute(f"SELECT count(*) FROM {quoted(relation)}").fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _parts(source: Environment, target: Environment, dataset: Dataset, relation: str) -> Generator[tuple[_Parts, pa.Schema]]:
    """The table's rows as files, of the dataset's types, each with the version that its lake file has in the target."""
    rejected = relation.startswith("quarantine.")
    schema = reject_schema() if rejected else dataset.contract.arrow_schema()
    columns = REJECT_COLUMNS if rejected else {c.name: c.duckdb_type for c in dataset.contract.columns} | LINEAGE_COLUMNS
    work = target.state / "migration" / relation
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    old, new = (live_versions(env.state / "ledger.db", dataset.id) for env in (source, target))
    body = _body(_table(source, relation), _version(source, relation), columns)
    try:
        yield _Parts(source, f"SELECT {', '.join(map(identifier, schema.names))} FROM ({body})", schema, work, old, new), schema
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Parts:
    """Files in the folder `work` with the rows of a query, written when they are first asked for."""

    def __init__(
        self, env: Environment, sql: str, schema: pa.Schema, work: Path, old: Mapping[str, str], new: Mapping[str, str]
    ) -> None:
        self._env, self._sql, self._schema, self._work = env, sql, schema, work
        self._moved = {(path, version): new[path] for path, version in old.items() if path in new}

    def __call__(self) -> list[Path]:
        if not (found := sorted(self._work.glob("*.parquet"))):
            self._write()
            found = sorted(self._work.glob("*.parquet"))
        return found

    def _write(self) -> None:
        import pyarrow.parquet as pq

        writer, number, rows = None, 0, 0
        with connect_memory(self._env) as connection:
            for batch in connection.execute(self._sql).to_arrow_reader(_BATCH_ROWS):
                if writer is None or rows >= _PART_ROWS:
                    if writer is not None:
                        writer.close()
                    writer, number, rows = pq.ParquetWriter(self._work / f"{number:05}.parquet", self._schema), number + 1, 0
                writer.write_batch(self._renamed(batch.cast(self._schema)))
                rows += batch.num_rows
            if writer is not None:
                writer.close()

    def _renamed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        files, told = batch["_file"].to_pylist(), batch["_version"].to_pylist()
        found = [self._moved.get((delta.lake_file(f or ""), v), v) for f, v in zip(files, told, strict=True)]
        place = self._schema.get_field_index("_version")
        column = pa.array(found, pa.string()).cast(self._schema.field(place).type)
        return batch.set_column(place, self._schema.field(place), column)


def _read(parts: _Parts) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for part in parts():
        with pq.ParquetFile(part) as opened:
            yield from opened.iter_batches(_BATCH_ROWS)


def _fingerprint_there(target: Environment, relation: str, schema: pa.Schema) -> Fingerprint:
    return fingerprint(_read_back(BigQuery(_cloud(target)), relation, schema.names), schema)


def _read_back(service: BigQuery, relation: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All rows of a table, as they are now, through the Storage Read API."""
    cloud = service.cloud
    table = service.client.get_table(cloud.table(relation), retry=service.busy)
    if cloud.bigquery_url and not cloud.bigquery_read_host:  # A server that knows REST alone.
        yield from service.client.list_rows(table).to_arrow_iterable()
        return
    partitioned = table.time_partitioning.field if table.require_partition_filter else None
    reader = TableReader(service)
    try:
        session = reader.begin(cloud.table(relation), columns, any_partition(partitioned) if partitioned else "")
        for stream in session.streams:
            yield from reader.batches(session, stream.name)
    finally:
        reader.close()


def _cloud(target: Environment) -> GoogleCloud:
    assert target.cloud is not None
    return target.cloud


def _storable(source: Environment, relation: str) -> pa.Table:
    from caudal.warehouse.bigquery.arrow_fields import storable

    with connect(source) as connection:
        return storable(connection.execute(f"SELECT * FROM {quoted(relation)}").to_arrow_table())


def _table(env: Environment, relation: str) -> Path:
    schema, name = relation.split(".", 1)
    return {"raw": env.raw, "quarantine": env.quarantine}[schema] / name


def _version(env: Environment, relation: str) -> int | None:
    return delta.version_of_table(_table(env, relation))


def _compared(relation: str, given: Fingerprint, made: Fingerprint) -> None:
    if difference := _difference(relation, given, made):
        raise Differs(difference)


def _difference(relation: str, given: Fingerprint, made: Fingerprint) -> str:
    if given == made:
        return ""
    return f"{relation}: {given.rows:,} rows here, {made.rows:,} there; checksums {given.checksum} and {made.checksum}"


def _of(given: Fingerprint) -> tuple[int, str]:
    return given.rows, given.checksum
