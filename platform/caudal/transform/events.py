"""What Dagster shows of a node that was built and of a test that ran."""

from collections.abc import Sequence

import dagster as dg

from caudal.transform.nodes import Node
from caudal.transform.outcome import FailingRows, NodeResult

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


def check_metadata(done: NodeResult) -> dict[str, dg.MetadataValue]:
    """How a test went: how many rows failed, the first of them, and the SQL that selects them."""
    metadata: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(done.status),
        "seconds": dg.MetadataValue.float(round(done.seconds, 3)),
    }
    if done.failures is not None:
        metadata["failures"] = dg.MetadataValue.int(done.failures)
    if done.failing_rows is not None:
        metadata["failing rows"] = _rows(done.failing_rows)
    if done.compiled_sql:
        metadata["SQL"] = _sql(done.compiled_sql)
    return metadata


def _sql(sql: str) -> dg.MarkdownMetadataValue:
    shown = sql.strip()
    if len(shown) > _LONGEST_SQL:
        shown = f"{shown[:_LONGEST_SQL]}\n-- and {len(shown) - _LONGEST_SQL} characters more"
    return dg.MetadataValue.md(f"```sql\n{shown}\n```")


def _rows(failing: FailingRows) -> dg.TableMetadataValue:
    names = failing.columns
    return dg.MetadataValue.table(
        records=[dg.TableRecord(dict(zip(names, row, strict=True))) for row in failing.rows],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in names]),
    )
