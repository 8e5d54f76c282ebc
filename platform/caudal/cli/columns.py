"""`caudal lineage` and `caudal trace`: where a column, or a row, comes from."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company


class LineageFormat(StrEnum):
    """How `caudal lineage` prints."""

    text = "text"
    json = "json"
    mermaid = "mermaid"


def lineage(
    column: Annotated[str, typer.Argument(metavar="ASSET.COLUMN", help="Such as marts/sales/daily_sales.sales.")],
    down: Annotated[bool, typer.Option("--down/--up", help="What is made of it, or what it is made of (default).")] = False,
    depth: Annotated[int | None, typer.Option("--depth", min=1, help="At most so many steps; default all.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Follow also columns that only decide which rows there are.")] = False,
    output: Annotated[LineageFormat, typer.Option("--format", "-f", help="How to print it.")] = LineageFormat.text,
    company: Company = None,
) -> None:
    """Show of which columns a column is made, up to the lake, or what is made of it. Nothing is run."""
    from caudal.runtime.column_graph import column_graph
    from caudal.transform.columns.walk import NoSuchColumn, as_mermaid, as_text, as_value, walk

    graph = column_graph(Environment.current(company))
    try:
        start = graph.find(column)
    except NoSuchColumn as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None
    walked = walk(graph, start, "down" if down else "up", depth=depth, rows=rows)
    if output is LineageFormat.json:
        typer.echo(json.dumps(as_value(walked, graph), indent=1))
    else:
        typer.echo((as_mermaid if output is LineageFormat.mermaid else as_text)(walked, graph))


class TraceFormat(StrEnum):
    """How `caudal trace` prints."""

    text = "text"
    json = "json"


def trace(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Such as daily_sales, or marts/sales/daily_sales.")],
    where: Annotated[str, typer.Option("--where", "-w", help="Which of its rows, as in SQL: \"day = '2017-03-01'\".")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many files.")] = 50,
    output: Annotated[TraceFormat, typer.Option("--format", "-f", help="How to print it.")] = TraceFormat.text,
    company: Company = None,
) -> None:
    """Show the lake files, and the rows in them, that rows of a published table were made of."""
    import warnings

    from caudal.runtime.column_graph import manifests
    from caudal.transform.columns.trace import as_text, as_value
    from caudal.transform.columns.trace import trace as traced
    from caudal.warehouse.published import NothingPublished
    from caudal.warehouse.query import RefusedQuery

    env = Environment.current(company)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = traced(env, manifests(env), table, where, warn=lambda said: typer.echo(said, err=True))
    except (LookupError, RefusedQuery, NothingPublished) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(as_value(found), indent=1) if output is TraceFormat.json else as_text(found, limit))
