"""`caudal versions`, `caudal diff` and `caudal rollback`."""

from __future__ import annotations

import getpass
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

app = typer.Typer()

Table = Annotated[str, typer.Argument(metavar="TABLE", help="Such as marts.daily_sales.")]


class DiffFormat(StrEnum):
    """How `caudal diff` prints."""

    text = "text"
    json = "json"
    markdown = "markdown"


@app.command()
def versions(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Only those in which it became another one.")] = None,
    company: Company = None,
) -> None:
    """List the published versions that are kept, the newest first, with what changed in each."""
    from caudal.warehouse.rollback import relation_named
    from caudal.warehouse.telling import listing

    env = Environment.current(company)
    try:
        typer.echo(listing(env, relation_named(env, table) if table else None))
    except LookupError as refused:
        _refuse(refused)


@app.command()
def diff(
    table: Table,
    a: Annotated[str, typer.Argument(metavar="A", help="A version, or the beginning of its name.")],
    b: Annotated[str | None, typer.Argument(metavar="B", help="Another one; default what readers see.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", "-k", help="A column that identifies rows; default as declared.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many differing rows are shown.")] = 10,
    output: Annotated[DiffFormat, typer.Option("--format", "-f", help="How to print.")] = DiffFormat.text,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Also values of classified columns. They do not belong in tickets.")
    ] = False,
    company: Company = None,
) -> None:
    """Tell how a table differs between two versions. Exit code 1 if it does."""
    from caudal.runtime.hiding import hidden_columns
    from caudal.runtime.rolling_back import key_of
    from caudal.warehouse.difference import diff as compare
    from caudal.warehouse.rollback import relation_named
    from caudal.warehouse.telling import difference
    from caudal.warehouse.versions import current

    env = Environment.current(company)
    try:
        relation = relation_named(env, table)
        found = compare(env, relation, a, b or current(env) or "", key or key_of(env, relation), limit)
    except LookupError as refused:
        _refuse(refused)
    shown = found if unmasked or not found.sample else found.masked(hidden_columns(env, relation))
    typer.echo(difference(shown, output.value))
    raise typer.Exit(0 if found.is_none else 1)


@app.command()
def rollback(
    to: Annotated[str, typer.Option("--to", help="The version, or the beginning of its name; `caudal versions` lists them.")],
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Such as marts.daily_sales.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All tables and views, instead of one.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Although tests fail beside what is published now.")] = False,
    company: Company = None,
) -> None:
    """Bring a kept version of a table back, as a new version. What is below it is refreshed; the later state stays on disk."""
    from caudal.runtime.rolling_back import roll_back
    from caudal.warehouse.rollback import RefusedRollback, relation_named

    env = Environment.current(company)
    if (table is None) != everything:
        _refuse(ValueError("name one TABLE, or say --all for everything"))
    try:
        relation = relation_named(env, table) if table else None
        done, told = roll_back(env, relation, to, getpass.getuser(), force=force)
    except (RefusedRollback, LookupError) as refused:
        _refuse(refused)
    typer.echo(f"{relation or 'everything'} is as in {done.to}; published as {done.version}")
    for name, change in done.changed.items():
        typer.echo(f"  {name}: {change}")
    typer.echo(f"to return: caudal rollback {relation or '--all'} --to {done.before}")
    if told:
        typer.echo(f"Dagster knows, and refreshes what is below: {', '.join(told)}")
    else:
        typer.echo("Dagster was not told: no asset of it is concerned, or there is no instance yet")


def _refuse(problem: Exception) -> NoReturn:
    typer.echo(str(problem.args[0] if problem.args else problem), err=True)
    raise typer.Exit(2)
