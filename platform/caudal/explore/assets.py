"""Exploration as assets: thin functions around the cores of this package, and what they show on their pages."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.contracts.masking import mask_text
from caudal.environment import Environment
from caudal.explore import markdown
from caudal.explore.document import html_report
from caudal.explore.drawing import shortened
from caudal.explore.findings import TIMEOUT_S, examine
from caudal.explore.graph import count_links, network_in_common
from caudal.explore.marimo_notebook import run_marimo
from caudal.explore.notebook import run_notebook
from caudal.explore.page import drift_lines, table_page
from caudal.explore.plots import network_plot
from caudal.explore.profile import MOST_COLUMNS_SHOWN, SUMMARY
from caudal.explore.report import notebook_html
from caudal.explore.scan import quoted_relation
from caudal.lake.dataset import Dataset
from caudal.precedence import precedence
from caudal.store import write_atomically
from caudal.warehouse.audited import Event, audit_specs, publish_audited
from caudal.warehouse.audits import not_null, unique
from caudal.warehouse.published import PublishedTable, bring, connect, read_arrow
from caudal.warehouse.raw_views import newest_raw
from caudal.warehouse.sql import one_row

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

GROUP = "explore"
MOST_IMPORTANT = 20
#: A table on an asset's page has room for about 70 characters.
NARROW = 20
#: DuckDB's memory for a profile; it writes to disk what does not fit.
MEMORY = "1500MB"


def profile_assets(
    tables: Sequence[PublishedTable], env: Environment, timeout_s: float = TIMEOUT_S, raw: Mapping[str, Dataset] | None = None
) -> dg.Definitions:
    """For each table an asset `profile/<domain>/<name>` below it, each a step of its own: one that fails stops no other.

    Args:
        raw: the datasets whose raw tables are among `tables`, by their relations.

    """
    return dg.Definitions(assets=[profile_asset(t, env, timeout_s, (raw or {}).get(t.relation)) for t in tables])


def profile_asset(
    table: PublishedTable, env: Environment, timeout_s: float = TIMEOUT_S, dataset: Dataset | None = None
) -> dg.AssetsDefinition:
    """The profile of one published table, compared with the last one; its report is in the environment's reports.

    Args:
        dataset: of a raw table.

    """
    stage = () if table.key[0] == "marts" else (table.key[0],)
    report = env.reports.joinpath("profiles", *stage, table.domain, f"{table.name}.html")
    history = env.state.joinpath("profiles", *table.key[:-1], f"{table.name}.json")

    @dg.asset(
        op_tags=precedence("explore"),
        key=["profile", *stage, table.domain, table.name],
        deps=[dg.AssetKey(table.key)],
        description=f"What `{table.relation}` holds: counts, nulls, distinct values, quantiles, and pictures of them; and what "
        f"of it changed.\n\n{table.description}".strip(),
        group_name=GROUP,
        kinds={"duckdb", "python"},
        owners=list(table.owners),
        tags={"domain": table.domain},
        metadata={"dagster/relation_identifier": table.relation},
    )
    def profile() -> dg.MaterializeResult:
        with _opened(env, table, dataset) as (connection, version):
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            found = examine(connection, table.relation, table.personal, timeout_s, history, version)
        report.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(report) as temporary:
            temporary.write_text(html_report(found, table.description, f"{datetime.now(UTC):%Y-%m-%d %H:%M}"), encoding="utf-8")
        measured = found.profile
        return dg.MaterializeResult(
            metadata={
                "drift": len(found.drift),
                **({"differences": _table([_differing(line) for line in drift_lines(found.drift)])} if found.drift else {}),
                "dagster/row_count": measured.rows,
                "profile": dg.MetadataValue.md(table_page(found, str(report))),
                "columns": _table([_excerpt(line) for line in measured.summary()[:MOST_COLUMNS_SHOWN]]),
                "empty cells": round(measured.null_share, 6),
                "report": dg.MetadataValue.path(str(report)),
                "figures": dg.MetadataValue.json(measured.to_dict()),
            }
        )

    return profile


@contextmanager
def _opened(
    env: Environment, table: PublishedTable, dataset: Dataset | None
) -> Generator[tuple["duckdb.DuckDBPyConnection", str]]:
    """A connection that reads the table, and which version of it; a raw table as it was loaded last."""
    if dataset is not None:
        with newest_raw(env, dataset) as (connection, version):
            bring(connection, table.relation)
            yield connection, version
        return
    with connect(env) as connection:
        bring(connection, table.relation)
        yield connection, one_row(connection, "SELECT version FROM caudal.published")[0]


def notebook_asset(
    spec: dg.AssetSpec, source: Path, env: Environment, parameters: Mapping[str, Any], timeout_s: float
) -> dg.AssetsDefinition:
    """A notebook, Jupyter's or marimo's, that is executed, and kept in the environment's reports."""
    execute = run_marimo if source.suffix == ".py" else run_notebook
    target = env.reports / "notebooks" / spec.key.path[1] / f"{spec.key.path[-1]}.ipynb"
    variables = {
        "CAUDAL_ENV": env.name,
        "CAUDAL_COMPANY": env.company,
        "CAUDAL_ROOT": str(env.root),
        "CAUDAL_DATA": str(env.data),
    }

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], op_tags=precedence("explore"))
    def notebook() -> dg.MaterializeResult:
        import nbformat

        run = execute(source, target, parameters, variables, timeout_s)
        document = target.with_suffix(".html")
        with write_atomically(document) as temporary:
            read = nbformat.read(run.path, as_version=4)
            temporary.write_text(notebook_html(read, spec.key.to_user_string()), encoding="utf-8")
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.md(run.report),
                "executed notebook": dg.MetadataValue.notebook(str(run.path)),
                "document": dg.MetadataValue.path(str(document)),
                "cells": run.cells,
                "seconds": run.seconds,
            }
        )

    return notebook


def network_asset(
    spec: dg.AssetSpec,
    table: str,
    node: str,
    common: str,
    relation: str,
    env: Environment,
    hidden: Callable[[], Collection[str]] = tuple,
) -> dg.AssetsDefinition:
    """The measures of a network, published as the table `relation`; of the columns `hidden` no value is shown."""
    audits = [unique(relation, node), not_null(relation, node, "degree", "pagerank", "betweenness")]

    @dg.multi_asset(
        name="__".join(spec.key.path),
        specs=[spec],
        op_tags=precedence("explore"),
        check_specs=audit_specs(spec.key, audits),
    )
    def network(context: dg.AssetExecutionContext) -> Iterator[Event | dg.MaterializeResult]:
        measured = network_in_common(read_arrow(env, f"SELECT * FROM {quoted_relation(table)}"), node, common)
        published = yield from publish_audited(context, env, spec.key, {relation: measured}, audits, hidden)
        seen = _masked(measured, node) if node in hidden() else measured
        top = seen.slice(0, MOST_IMPORTANT).to_pylist()
        shown: dict[str, dg.MetadataValue[Any]] = {}
        if top:
            shown["most important"] = _table(
                [{name: f"{v:.4f}" if isinstance(v, float) else str(v) for name, v in row.items()} for row in top]
            )
            shown["importance"] = dg.MetadataValue.md(markdown.image(network_plot(seen, node), relation))
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                "dagster/row_count": measured.num_rows,
                "dagster/column_schema": _with_types(spec.metadata["dagster/column_schema"], env, relation),
                "dagster/column_lineage": spec.metadata["dagster/column_lineage"],
                "links": count_links(measured),
                **shown,
                **published,
            },
        )

    return network


def _masked(network: "pa.Table", node: str) -> "pa.Table":
    """With the shape of each node in its place."""
    import pyarrow as pa

    shapes = pa.array([mask_text(value) for value in network[node].to_pylist()], pa.string())
    return network.set_column(network.column_names.index(node), node, shapes)


def _excerpt(line: Sequence[str]) -> dict[str, str]:
    """As much of a summary's line as fits on an asset's page."""
    fields = dict(zip(SUMMARY, line, strict=True))
    return {name: shortened(fields[name], NARROW) for name in ("column", "null", "distinct", "minimum", "maximum")}


def _differing(line: Sequence[str]) -> dict[str, str]:
    """As much of a difference as fits on an asset's page."""
    return {name: shortened(cell, NARROW + 8) for name, cell in zip(("column", "drift", "before", "now"), line, strict=True)}


def _table(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    """Texts as a table: as numbers the viewer would round what is beyond its own."""
    schema = dg.TableSchema([dg.TableColumn(name) for name in rows[0]])
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema)


def _with_types(schema: dg.TableSchema, env: Environment, relation: str) -> dg.TableSchema:
    """The declared columns with the types that they have in the published table."""
    described = read_arrow(env, f"SELECT column_name, column_type FROM (DESCRIBE {quoted_relation(relation)})").to_pylist()
    types = {row["column_name"]: row["column_type"].lower() for row in described}
    columns = [dg.TableColumn(c.name, types[c.name], c.description, c.constraints) for c in schema.columns]
    return dg.TableSchema(columns)
