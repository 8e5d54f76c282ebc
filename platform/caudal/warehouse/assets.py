"""What is told of raw tables and rejects in Dagster: metadata of their materializations, and the results of their checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from caudal.contracts import LINEAGE_COLUMNS, Contract
from caudal.environment import Environment
from caudal.lake.component import lake_key
from caudal.lake.dataset import Dataset
from caudal.lake.evolution import evolved_dataset, not_adopted
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile, Outcome, Totals
from caudal.warehouse import duplicates
from caudal.warehouse.loading import Loaded
from caudal.warehouse.quality.assets import promises_table

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


def check_specs(dataset: Dataset, raw: dg.AssetKey, rejects: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a raw table and of its rejects."""
    specs = [
        dg.AssetCheckSpec(
            "conservation", asset=raw, blocking=True, description="For each file, rows read = rows loaded + rows rejected."
        ),
        dg.AssetCheckSpec(
            "rejected_share",
            asset=rejects,
            description=f"At most {dataset.max_rejected_share:.2%} of the rows of the live files are rejected.",
        ),
        dg.AssetCheckSpec("files_readable", asset=rejects, description="No live file is in quarantine, wholly or partly."),
    ]
    if dataset.contract.drift != "freeze":
        told = "Files have no column that the contract does not declare."
        specs.append(dg.AssetCheckSpec("schema_change", asset=raw, description=told))
    if dataset.duplicates != "off":
        told = f"No {dataset.duplicates} stands in more than one file, or member of one."
        specs.append(dg.AssetCheckSpec("duplicates", asset=raw, description=told))
    return specs


def check_results(told: Told, raw: dg.AssetKey, rejects: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The results of `check_specs`."""
    dataset, totals = told.dataset, told.totals
    lost = [o.path for _, o in told.loaded.files if o.rows_read != o.rows_loaded + o.rows_rejected]
    yield dg.AssetCheckResult(
        asset_key=raw,
        check_name="conservation",
        passed=not lost and totals.rows_read == totals.rows_loaded + totals.rows_rejected,
        metadata={"rows read": totals.rows_read, "rows loaded": totals.rows_loaded, "files that differ": ", ".join(lost)},
    )
    share = totals.rows_rejected / totals.rows_read if totals.rows_read else 0.0
    yield dg.AssetCheckResult(
        asset_key=rejects,
        check_name="rejected_share",
        passed=share <= dataset.max_rejected_share,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "share": share,
            "rows rejected": totals.rows_rejected,
            "table": f"quarantine.{dataset.table}",
            "kept when files are loaded": promises_table(told.env, dataset, count=totals.rows_rejected > 0),
        },
    )
    faulty = told.ledger.faulty(dataset.id, SHOWN)
    yield dg.AssetCheckResult(
        asset_key=rejects,
        check_name="files_readable",
        passed=not faulty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "files quarantined": totals.files.get("quarantined", 0),
            "files": dg.MetadataValue.md("\n".join(f"- `{f.path}`: {f.reason or f.note}" for f in faulty) or "none"),
        },
    )
    if dataset.contract.drift != "freeze":
        yield _schema_change(told, raw)
    if dataset.duplicates != "off":
        yield _duplicates_of_load(told, raw)


def _schema_change(told: Told, raw: dg.AssetKey) -> dg.AssetCheckResult:
    """Columns that appeared and nobody has adopted yet; under the policy `ignore`, those that were left out of this load."""
    new = not_adopted(told.dataset, told.ledger.evolved(told.dataset.id))
    rows = [dg.TableRecord({"column": e.name, "first file": e.first_file, "first seen": e.at}) for e in new]
    if told.dataset.contract.drift == "ignore":
        rows = [dg.TableRecord({"column": name, "first file": "", "first seen": ""}) for name in sorted(told.loaded.undeclared)]
    advice = f"; `caudal lake adopt {told.dataset.id}` declares them" if new else ""
    return dg.AssetCheckResult(
        asset_key=raw,
        check_name="schema_change",
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} columns that the contract does not declare{advice}" if rows else None,
        metadata={"columns": dg.MetadataValue.table(rows)} if rows else {},
    )


def _duplicates_of_load(told: Told, raw: dg.AssetKey) -> dg.AssetCheckResult:
    """Counted in this load, or the newest count where counting would take longer than the load."""
    env, dataset, version = told.env, told.dataset, told.loaded.raw_version
    counted = duplicates.last_count(env, dataset)
    is_news = version is not None and (counted is None or bool(told.loaded.files))
    if is_news and duplicates.is_due(told.loaded.rows_loaded, told.totals.rows_loaded):
        counted = duplicates.count(env, dataset, version)
    return duplicates_result(dataset, raw, counted, version)


def duplicates_result(
    dataset: Dataset, raw: dg.AssetKey, counted: duplicates.Duplicates | None, version: int | None
) -> dg.AssetCheckResult:
    """What stands in more than one file; `counted` may be of an older version than `version`, the newest of the raw table."""
    if counted is None:
        why = "nothing is loaded" if version is None else "the table is large and this load small: upkeep counts it every day"
        return dg.AssetCheckResult(asset_key=raw, check_name="duplicates", passed=True, description=f"not counted yet: {why}")
    noun = f"{counted.compared}s"
    stand = f"{counted.compared} stands" if counted.shared == 1 else f"{noun} stand"
    description = f"{counted.shared:,} {stand} in more than one file" if counted.shared else f"no {stand} in more than one file"
    if counted.shared and dataset.expect_duplicates:
        description += ", which the dataset expects"
    if version is not None and counted.version != version:
        description += f", as counted in version {counted.version}; upkeep counts again every day"
    metadata: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(counted.rows),
        "rows that stand in several files": dg.MetadataValue.int(counted.shared_rows),
        "rows beyond the first": dg.MetadataValue.int(counted.beyond_first),
        "delta version": dg.MetadataValue.int(counted.version),
    }
    if counted.pairs:
        pairs = [dg.TableRecord({"file": p.one, "other file": p.other, noun: p.shared}) for p in counted.pairs]
        metadata["files"] = dg.MetadataValue.table(pairs)
    if counted.samples:
        samples = [dg.TableRecord({counted.compared: s.value, "files": ", ".join(s.files)}) for s in counted.samples]
        metadata["samples"] = dg.MetadataValue.table(samples)
    return dg.AssetCheckResult(
        asset_key=raw,
        check_name="duplicates",
        passed=dataset.expect_duplicates or not counted.shared,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


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
    if loaded.raw_version is not None:
        metadata["delta version"] = dg.MetadataValue.int(loaded.raw_version)
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
    """Up to `limit` of the dataset's rejects: file, row, column, value, reason."""
    from caudal.warehouse import delta

    rows = delta.read_rows(env.quarantine / dataset.table, ["_file", "_row", "column", "value", "reason"], limit)
    return [{k.removeprefix("_"): v if isinstance(v, int) else str(v or "") for k, v in row.items()} for row in rows]


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
