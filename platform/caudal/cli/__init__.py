"""`caudal`: one verb a line, each a thin call of the stage that does it."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from caudal.cli.catalogue import catalogue
from caudal.cli.columns import lineage, trace
from caudal.cli.lake import lake
from caudal.environment import Environment
from caudal.google_cloud import WrongSettings
from caudal.runtime.alerts.commands import alerts
from caudal.runtime.backfills.commands import backfill
from caudal.runtime.branches.commands import env as branch_environments
from caudal.runtime.doctor.commands import doctor
from caudal.runtime.erasure.commands import erasure
from caudal.runtime.migration.commands import migrate
from caudal.runtime.options import Company
from caudal.runtime.plan.commands import plan
from caudal.runtime.verify.commands import verify
from caudal.runtime.version_commands import app as version_commands

# Dagster tells developers of each use of what it may still change; versions are pinned, and tests hold what is used.
warnings.filterwarnings("ignore", message=r".* is currently in (beta|preview)")


class Commands(TyperGroup):
    """All commands. Settings that are wrong, and what BigQuery refuses, are told as what they are: something to correct,
    with no stack trace.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WrongSettings as wrong:
            typer.echo(f"caudal: {wrong}", err=True)
            raise typer.Exit(2) from None
        except RuntimeError as problem:
            from caudal.warehouse.bigquery.explained import BigQueryError

            if not isinstance(problem, BigQueryError):
                raise
            typer.echo(f"caudal: {problem}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(name="caudal", cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(lake, name="lake")
app.add_typer(alerts, name="alerts")
app.add_typer(branch_environments, name="env")
app.add_typer(version_commands)
app.add_typer(backfill, name="backfill")
app.add_typer(erasure, name="erasure")
app.command()(plan)
app.command()(migrate)
app.command()(lineage)
app.command()(trace)
app.command()(catalogue)
app.command()(doctor)
app.add_typer(verify, name="verify")


class OutputFormat(StrEnum):
    """How `caudal sql` prints."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
def up(
    company: Company = None,
    once: Annotated[bool, typer.Option("--once", help="Exit when all is materialized; 0 only if everything passed.")] = False,
    quickstart: Annotated[
        str | None, typer.Option("--quickstart", help="Call this first, such as shop.quickstart:land, with the data folder.")
    ] = None,
) -> None:
    """Bring the platform up on this machine: Dagster, the API, and progress in this terminal. Ctrl-C ends it."""
    from caudal.runtime.up import up as bring_up

    env = Environment.current(company)
    if env.branch is not None and quickstart is not None:
        raise typer.BadParameter(f"the environment of {env.branch} has production's data; leave --quickstart out")
    raise typer.Exit(bring_up(env, once=once, quickstart=quickstart))


@app.command()
def sql(
    query: Annotated[
        str | None,
        typer.Argument(help='Such as "select * from daily_sales limit 5". A single - reads it from stdin; none opens a shell.'),
    ] = None,
    output: Annotated[OutputFormat, typer.Option("--format", "-f", help="How to print the result.")] = OutputFormat.table,
    company: Company = None,
) -> None:
    """Query published tables, read-only. On a terminal and without a query: a shell."""
    from caudal.warehouse.published import NothingPublished
    from caudal.warehouse.query import RefusedQuery, run
    from caudal.warehouse.shell import shell

    if query is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("the shell needs a terminal; give a query, or - to read it from standard input")
    try:
        if query is None:
            shell(Environment.current(company))
            return
        run(Environment.current(company), sys.stdin.read() if query == "-" else query, output.value)
    except (RefusedQuery, NothingPublished) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None


@app.command()
def generate(
    company: Company = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a generated file is stale.")] = False,
) -> None:
    """Write the files that are made from contracts, such as dbt's sources."""
    from caudal.runtime.generate import generate as write

    env = Environment.current(company)
    stale = write(env, check=check)
    for path in stale:
        typer.echo(f"{'stale' if check else 'written'}: {path.relative_to(env.root)}")
    raise typer.Exit(1 if check and stale else 0)


@app.command()
def prepare(company: Company = None) -> None:
    """Parse dbt's project once for all starts to come, when an image is built. Locally each start that needs it does so."""
    from caudal.runtime.prepare import prepare as make

    env = Environment.current(company)
    for path in make(env):
        typer.echo(f"made: {path.relative_to(env.root)}")


@app.command()
def where(company: Company = None) -> None:
    """Where lake, warehouse and the rest live."""
    env = Environment.current(company)
    places = {"root": env.root, "lake": env.lake_url, "sources": env.sources}
    if env.cloud is None:
        places |= {"published": env.published, "raw": env.raw, "quarantine": env.quarantine}
    else:
        places |= {name: env.cloud.dataset(name) for name in ("loading", "raw", "marts", "quarantine")}
    places |= {name: getattr(env, name) for name in ("state", "registry", "online", "dagster_home", "logs")}
    for name, place in places.items():
        typer.echo(f"{name:<13}{place}")
