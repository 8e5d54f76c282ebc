"""`caudal alerts`."""

from __future__ import annotations

import time
from typing import Annotated, NoReturn

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

alerts = typer.Typer(help="What is wrong, and who is told.")


@alerts.callback(invoke_without_command=True)
def list_incidents(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    company: Company = None,
) -> None:
    """List open incidents. `caudal alerts test` sends a test message through each channel."""
    if context.invoked_subcommand is None:
        from caudal.runtime.alerts.listing import listing

        typer.echo(listing(Environment.current(company), everything=everything))


@alerts.command("test")
def try_channels(company: Company = None) -> None:
    """Send a test message through each declared channel. Exit code 1 if one could not be reached."""
    from caudal.runtime.alerts.component import settings_of
    from caudal.runtime.alerts.delivery import try_out
    from caudal.runtime.alerts.listing import tried
    from caudal.runtime.location import component_tree

    env = Environment.current(company)
    try:
        settings = settings_of(component_tree(env), env)
    except ValueError as refused:
        _refuse(str(refused))
    outcome = try_out(settings)
    typer.echo(tried(outcome))
    raise typer.Exit(0 if all(problem is None for problem in outcome.values()) else 1)


@alerts.command()
def close(number: Annotated[int, typer.Argument(help="As listed.")], company: Company = None) -> None:
    """Say that an incident is over, such as one of a job that nobody is going to run again. Those who were told are told so."""
    from caudal.runtime.alerts.book import Book

    if not Book.of(Environment.current(company)).close(number, time.time()):
        _refuse(f"there is no open incident {number}; `caudal alerts` lists them")


def _refuse(problem: str) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(2)
