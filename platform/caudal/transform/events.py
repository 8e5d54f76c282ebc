"""What Dagster shows of a node that was built and of a test that ran."""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from caudal.contracts.masking import mask_told
from caudal.google_cloud import GoogleCloud
from caudal.transform.columns.stored import Stored
from caudal.transform.nodes import Node
from caudal.transform.outcome import FailingRows, NodeResult
from caudal.warehouse.bigquery.costs import Figure, checks_metadata, cost_metadata
from caudal.warehouse.bigquery.jobs import Job
from caudal.warehouse.quality.assets import rule_metadata

_LONGEST_SQL = 20_000


def table_schema(columns: Sequence[tuple[str, str]], node: Node) -> dg.TableSchema:
    """`columns`, each `(name, type)`, with the descriptions that the project gives."""
    descriptions = {c.name.lower(): c.description for c in node.columns}
    return dg.TableSchema(
        [dg.TableColumn(name, kind or "?", description=descriptions.get(name.lower()) or None) for name, kind in columns]
    )


def node_metadata(node: Node, done: NodeResult, version: str | None) -> dict[str, dg.MetadataValue]:
    """What was published: rows, columns, where, and the SQL that made it."""
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/table_name": dg.MetadataValue.text(node.relation),
        "seconds": dg.MetadataValue.float(round(done.seconds, 3)),
    }
    if done.row_count is not None:
        metadata["dagster/row_count"] = dg.MetadataValue.int(done.row_count)
    if done.columns:
        metadata["dagster/column_schema"] = dg.MetadataValue.table_schema(table_schema(done.columns, node))
    if done.compiled_sql:
        metadata["SQL"] = _sql(done.compiled_sql)
    if version is not None:
        metadata["published version"] = dg.MetadataValue.text(version)
    return metadata


def node_cost(cloud: GoogleCloud | None, done: NodeResult, of_checks: Collection[Job]) -> dict[str, dg.MetadataValue]:
    """What making it and testing it was billed for; nothing where nothing costs money."""
    return figures(cost_metadata(cloud, done.jobs) | checks_metadata(cloud, of_checks))


def figures(told: Mapping[str, Figure]) -> dict[str, dg.MetadataValue]:
    """Numbers as numbers, so that their history is plotted."""
    return {name: _figure(value) for name, value in told.items()}


def _figure(value: Figure) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


def column_lineage(node: Node, stored: Stored) -> dict[str, dg.MetadataValue]:
    """Of which columns each column is made, as Dagster's pages show it; nothing if that is not known."""
    key = "/".join(node.key)
    made = stored.tables.get(key)
    if made is None or made.unknown:
        return {}
    deps = {
        column.name: [
            dg.TableColumnDep(dg.AssetKey(asset.split("/")), stored.column_name(asset, name))
            for asset, name in sorted(column.origins)
        ]
        for column in made.columns.values()
    }
    return {"dagster/column_lineage": dg.MetadataValue.column_lineage(dg.TableColumnLineage(deps))} if deps else {}


def check_metadata(
    done: NodeResult, personal: Collection[str] = (), cloud: GoogleCloud | None = None
) -> dict[str, dg.MetadataValue]:
    """How a test went: how many rows failed, the first of them, the SQL that selects them, and what it was billed for.

    Args:
        personal: columns of which only the shape of each value is told.

    """
    metadata: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(done.status),
        "seconds": dg.MetadataValue.float(round(done.seconds, 3)),
        **figures(cost_metadata(cloud, done.jobs)),
    }
    if done.failures is not None:
        metadata["failures"] = dg.MetadataValue.int(done.failures)
    if done.days is not None:
        metadata["days looked at"] = dg.MetadataValue.int(done.days)
    if done.tried is not None:
        return metadata | rule_metadata(done.tried)
    if done.failing_rows is not None:
        metadata["failing rows"] = _rows(done.failing_rows, personal)
    if done.compiled_sql:
        metadata["SQL"] = _sql(done.compiled_sql)
    return metadata


def _sql(sql: str) -> dg.MarkdownMetadataValue:
    shown = sql.strip()
    if len(shown) > _LONGEST_SQL:
        shown = f"{shown[:_LONGEST_SQL]}\n-- and {len(shown) - _LONGEST_SQL} characters more"
    return dg.MetadataValue.md(f"```sql\n{shown}\n```")


def _rows(failing: FailingRows, personal: Collection[str]) -> dg.TableMetadataValue:
    names = failing.columns
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({n: mask_told(v) if n in personal else v for n, v in zip(names, row, strict=True)})
            for row in failing.rows
        ],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in names]),
    )
