"""Exploration as assets: thin functions around the cores of this package, and what they show on their pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from caudal.environment import Environment
from caudal.explore import markdown
from caudal.explore.drawing import shortened
from caudal.explore.graph import count_links, network_in_common
from caudal.explore.notebook import run_notebook
from caudal.explore.page import table_page
from caudal.explore.plots import network_plot
from caudal.explore.profile import MOST_COLUMNS_SHOWN, SUMMARY
from caudal.explore.scan import quoted_relation
from caudal.precedence import precedence
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import PublishedTable, connect, read_arrow

GROUP = "explore"
MOST_IMPORTANT = 20
#: A table on an asset's page has room for about 70 characters.
NARROW = 20


def profile_assets(tables: Sequence[PublishedTable], env: Environment) -> dg.Definitions:
    """For each table an asset `profile/<domain>/<name>` below it, each a step of its own: one that fails stops no other."""
    return dg.Definitions(assets=[profile_asset(table, env) for table in tables])


def profile_asset(table: PublishedTable, env: Environment) -> dg.AssetsDefinition:
    """The profile of one published table."""

    @dg.asset(
        op_tags=precedence("explore"),
        key=["profile", table.domain, table.name],
        deps=[dg.AssetKey(table.key)],
        description=f"What `{table.relation}` holds: counts, nulls, distinct values, quantiles, and pictures of them.\n\n"
        f"{table.description}".strip(),
        group_name=GROUP,
        kinds={"duckdb", "python"},
        owners=list(table.owners),
        tags={"domain": table.domain},
        metadata={"dagster/relation_identifier": table.relation},
    )
    def profile() -> dg.MaterializeResult:
        with connect(env) as connection:
            found, page = table_page(connection, table.relation)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": found.rows,
                "profile": dg.MetadataValue.md(page),
                "columns": _table([_excerpt(line) for line in found.summary()[:MOST_COLUMNS_SHOWN]]),
                "empty cells": round(found.null_share, 6),
                "figures": dg.MetadataValue.json(found.to_dict()),
            }
        )

    return profile


def notebook_asset(
    spec: dg.AssetSpec, source: Path, env: Environment, parameters: Mapping[str, Any], timeout_s: float
) -> dg.AssetsDefinition:
    """A notebook that is executed, and kept in the environment's reports."""
    target = env.reports / "notebooks" / spec.key.path[1] / f"{spec.key.path[-1]}.ipynb"
    variables = {
        "CAUDAL_ENV": env.name,
        "CAUDAL_COMPANY": env.company,
        "CAUDAL_ROOT": str(env.root),
        "CAUDAL_DATA": str(env.data),
    }

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], op_tags=precedence("explore"))
    def notebook() -> dg.MaterializeResult:
        run = run_notebook(source, target, parameters, variables, timeout_s)
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.md(run.report),
                "executed notebook": dg.MetadataValue.notebook(str(run.path)),
                "cells": run.cells,
                "seconds": run.seconds,
            }
        )

    return notebook


def network_asset(
    spec: dg.AssetSpec, table: str, node: str, common: str, relation: str, env: Environment
) -> dg.AssetsDefinition:
    """The measures of a network, published as the table `relation`."""

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], op_tags=precedence("explore"))
    def network() -> dg.MaterializeResult:
        measured = network_in_common(read_arrow(env, f"SELECT * FROM {quoted_relation(table)}"), node, common)
        version = publish_tables(env, {relation: measured})
        top = measured.slice(0, MOST_IMPORTANT).to_pylist()
        shown: dict[str, dg.MetadataValue[Any]] = {}
        if top:
            shown["most important"] = _table(
                [{name: f"{v:.4f}" if isinstance(v, float) else str(v) for name, v in row.items()} for row in top]
            )
            shown["importance"] = dg.MetadataValue.md(markdown.image(network_plot(measured, node), relation))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": measured.num_rows,
                "dagster/column_schema": _with_types(spec.metadata["dagster/column_schema"], env, relation),
                "links": count_links(measured),
                **shown,
                "published version": version,
            }
        )

    return network


def _excerpt(line: Sequence[str]) -> dict[str, str]:
    """As much of a summary's line as fits on an asset's page."""
    fields = dict(zip(SUMMARY, line, strict=True))
    return {name: shortened(fields[name], NARROW) for name in ("column", "null", "distinct", "minimum", "maximum")}


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
