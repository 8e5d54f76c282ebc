"""What is told of raw tables and rejects in Dagster: metadata of their materializations."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from caudal.contracts import LINEAGE_COLUMNS, Contract
from caudal.contracts.masking import mask_rejected
from caudal.environment import Environment
from caudal.lake.component import lake_key
from caudal.lake.dataset import Dataset
from caudal.lake.evolution import evolved_dataset
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile, Outcome, Totals
from caudal.warehouse.bigquery.jobs import Job
from caudal.warehouse.loading import Loaded
from caudal.warehouse.raw_tables import raw_tables, rejects

#: Files and rejected rows shown on an asset's page; the ledger and the quarantine table hold all.
SHOWN = 50

_LINEAGE_DESCRIPTIONS = {
    "_file": "The lake file that the row came from.",
    "_version": "The version of that file.",
    "_row": "Where in the file the row stands.",
    "_loaded_at": "When it was loaded (UTC).",
}


REJECTS_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("_file", "VARCHAR", "The lake file, or the member of one, that the row stands in."),
        dg.TableColumn("_version", "VARCHAR", "The version of the lake file."),
        dg.TableColumn("_row", "BIGINT", "Where in the file the row stands; null for a whole file."),
        dg.TableColumn("column", "VARCHAR", "The column that is to blame, if one is."),
        dg.TableColumn("value", "VARCHAR", "What stands there."),
        dg.TableColumn("reason", "VARCHAR", "Why it was refused."),
        dg.TableColumn("record", "VARCHAR", "The whole row as it stands in the file, as JSON."),
        dg.TableColumn("_loaded_at", "TIMESTAMP WITH TIME ZONE", "When it was refused (UTC)."),
    ]
)


@dataclass(frozen=True)
class Told:
    """One load, and how its dataset stands after it."""

    env: Environment
    dataset: Dataset
    ledger: Ledger
    loaded: Loaded
    totals: Totals


def lake_metadata(told: Told) -> dict[str, dg.MetadataValue]:
    """What the lake holds. Its rows are those read, whatever became of them."""
    loaded, totals = told.loaded, told.totals
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(totals.rows_read),
        **{f"files {state}": dg.MetadataValue.int(count) for state, count in sorted(totals.files.items())},
    }
    if loaded.files:
        metadata["files"] = _files_table(loaded.files)
    return metadata


def file_metadata(file: LedgerFile, outcome: Outcome) -> dict[str, dg.MetadataValue]:
    metadata = {
        "path": dg.MetadataValue.text(file.path),
        "version": dg.MetadataValue.text(file.version),
        "bytes": dg.MetadataValue.int(file.size_bytes),
        "rows read": dg.MetadataValue.int(outcome.rows_read),
        "dagster/row_count": dg.MetadataValue.int(outcome.rows_loaded),
        "rows rejected": dg.MetadataValue.int(outcome.rows_rejected),
    }
    if outcome.unreadable is not None:
        metadata["quarantined because"] = dg.MetadataValue.text(outcome.unreadable)
    if outcome.note is not None:
        metadata["quarantined in part"] = dg.MetadataValue.text(outcome.note)
    if outcome.dialect is not None:
        metadata["read as"] = dg.MetadataValue.text(outcome.dialect)
    return metadata


def raw_metadata(told: Told) -> dict[str, dg.MetadataValue]:
    """What the raw table holds, and what this load did."""
    loaded, totals = told.loaded, told.totals
    metadata = {
        "dagster/row_count": dg.MetadataValue.int(totals.rows_loaded),
        "files live": dg.MetadataValue.int(totals.files.get("loaded", 0)),
        "files in this load": dg.MetadataValue.int(len(loaded.files)),
        "rows in this load": dg.MetadataValue.int(loaded.rows_loaded),
    }
    if loaded.taken_over:
        metadata["files taken over from a ledger that was lost"] = dg.MetadataValue.int(loaded.taken_over)
    if loaded.raw_version is not None:
        metadata["raw version"] = dg.MetadataValue.int(loaded.raw_version)
    if loaded.jobs:
        metadata["jobs"] = _jobs_table(loaded.jobs)
    if loaded.files:
        metadata["files"] = _files_table(loaded.files)
    if loaded.undeclared:
        metadata["columns not in the contract"] = dg.MetadataValue.text(", ".join(sorted(loaded.undeclared)))
    if loaded.unstable:
        metadata["changed while read"] = dg.MetadataValue.text(", ".join(sorted(loaded.unstable)[:SHOWN]))
    evolved = evolved_dataset(told.dataset, told.ledger.evolved(told.dataset.id))
    metadata["dagster/column_lineage"] = column_lineage(evolved)
    if evolved is not told.dataset:
        metadata["dagster/column_schema"] = dg.MetadataValue.table_schema(table_schema(evolved.contract))
    return metadata


def rejects_metadata(told: Told) -> dict[str, dg.MetadataValue]:
    """What is in quarantine, with the first rows."""
    totals = told.totals
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(totals.rows_rejected),
        "rows rejected in this load": dg.MetadataValue.int(told.loaded.rows_rejected),
        "files quarantined": dg.MetadataValue.int(totals.files.get("quarantined", 0)),
    }
    if totals.rows_rejected or told.ledger.faulty(told.dataset.id, 1):
        rows = rejected_rows(told.env, told.dataset)
        metadata["rejects"] = dg.MetadataValue.table([dg.TableRecord(r) for r in rows])
    return metadata


def rejected_rows(env: Environment, dataset: Dataset, limit: int = SHOWN) -> list[dict[str, str | int]]:
    """Up to `limit` of the dataset's rejects: file, row, column, value, reason. What the contract classifies is masked."""
    rows = raw_tables(env).read_rows(rejects(dataset), ["_file", "_row", "column", "value", "reason"], limit)
    shown = [row | {"value": mask_rejected(dataset.contract, row["column"], row["value"])} for row in rows]
    return [{k.removeprefix("_"): v if isinstance(v, int) else str(v or "") for k, v in row.items()} for row in shown]


def _jobs_table(jobs: Sequence[Job]) -> dg.TableMetadataValue:
    """What BigQuery was asked for, the newest last. A load is free."""
    told = [(j.id, j.kind, j.rows or 0, j.bytes_billed, round(j.seconds, 3)) for j in jobs[-SHOWN:]]
    names = ("job", "kind", "rows", "bytes billed", "seconds")
    return dg.MetadataValue.table([dg.TableRecord(dict(zip(names, each, strict=True))) for each in told])


def _files_table(files: Sequence[tuple[LedgerFile, Outcome]]) -> dg.TableMetadataValue:
    shown = [
        dg.TableRecord(
            {
                "file": file.path,
                "became": "deleted" if file.gone else "quarantined" if outcome.unreadable else "loaded",
                "rows read": outcome.rows_read,
                "rows loaded": outcome.rows_loaded,
                "rows rejected": outcome.rows_rejected,
                "reason": outcome.unreadable or outcome.note or "",
            }
        )
        for file, outcome in sorted(files, key=lambda fo: not (fo[1].unreadable or fo[1].note or fo[1].rows_rejected))[:SHOWN]
    ]
    return dg.MetadataValue.table(shown)


def column_lineage(dataset: Dataset) -> dg.TableColumnLineageMetadataValue:
    """Each declared column is the one of that name in the lake files."""
    lake = lake_key(dataset)
    return dg.MetadataValue.column_lineage(
        dg.TableColumnLineage({c.name: [dg.TableColumnDep(lake, c.name)] for c in dataset.contract.columns})
    )


def table_schema(contract: Contract) -> dg.TableSchema:
    """The raw table's columns, as Dagster shows them."""
    declared = [
        dg.TableColumn(
            c.name,
            c.duckdb_type,
            description=_described(c.description, c.unit),
            constraints=dg.TableColumnConstraints(nullable=not c.required, unique=c.unique),
            tags={"classification": c.classification} if c.classification else None,
        )
        for c in contract.columns
    ]
    added = [dg.TableColumn(n, t, description=_LINEAGE_DESCRIPTIONS[n]) for n, t in LINEAGE_COLUMNS.items()]
    return dg.TableSchema([*declared, *added])


def _described(description: str, unit: str | None) -> str:
    return f"{description} Unit: {unit}." if unit else description
