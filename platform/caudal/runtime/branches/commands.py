"""`caudal env`: the environments of branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from caudal.branch import short_name
from caudal.environment import Environment
from caudal.google_cloud import WrongSettings
from caudal.runtime.options import Company

if TYPE_CHECKING:
    from caudal.runtime.branches.environments import Dropped
    from caudal.runtime.branches.record import BranchRecord

env = typer.Typer(no_args_is_help=True, help="Environments of git branches: cheap copies of production to work in.")

Branch = Annotated[str, typer.Argument(metavar="BRANCH", help="As git calls it, such as feature/vat.")]
T = TypeVar("T")


@env.command()
def create(branch: Branch, company: Company = None) -> None:
    """Copy production for a branch, without copying its data where that can be. Production is read, and not written to."""
    from caudal.runtime.branches import environments

    made = _or_refused(lambda: environments.create(_production(company), branch))
    typer.echo(f"{_told(made)}\nmade in {made.seconds:.1f} s; work in it with: export CAUDAL_BRANCH={branch}")


@env.command(name="list")
def listed(company: Company = None) -> None:
    """The environments that there are, one a line."""
    from caudal.runtime.branches import environments

    found = _or_refused(lambda: environments.listing(_production(company)))
    for record in found:
        typer.echo(_told(record))
    if not found:
        typer.echo("no branch has an environment; make one with: caudal env create BRANCH")


@env.command()
def show(branch: Branch, company: Company = None) -> None:
    """Where the environment of a branch has what. Exit code 1 if there is none."""
    from caudal.runtime.branches import environments

    production = _or_refused(lambda: _production(company))
    found = [r for r in _or_refused(lambda: environments.listing(production)) if r.short == short_name(branch)]
    if not found:
        typer.echo(f"{branch} has no environment; make one with: caudal env create {branch}", err=True)
        raise typer.Exit(1)
    made = production.of_branch(branch)
    typer.echo(_told(found[0]))
    typer.echo(f"data       {made.data}\nnew files  {made.own_lake_url}\nlake below {production.lake_url} (only read)")
    if made.cloud:
        typer.echo(f"datasets   {made.cloud.project}.{made.cloud.datasets}...\nbucket     {made.cloud.folder('')}")
    typer.echo(f"work in it with: export CAUDAL_BRANCH={branch}")


@env.command()
def drop(branch: Branch, company: Company = None) -> None:
    """Remove the environment of a branch, all of it; production is left as it is."""
    from caudal.runtime.branches import environments

    typer.echo(_dropped(branch, _or_refused(lambda: environments.drop(_production(company), branch))))


@env.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    company: Company = None,
) -> None:
    """Drop the environments whose branch is gone from git, here and on its remotes as they were fetched last."""
    from caudal.runtime.branches import environments

    production = _or_refused(lambda: _production(company))
    chosen = _or_refused(lambda: environments.gone(production))
    for record in chosen:
        typer.echo(_told(record))
    if chosen and not yes and not typer.confirm(f"Their branches are gone. Drop these {len(chosen)}?"):
        raise typer.Exit(1)
    told = lambda record, dropped: typer.echo(_dropped(record.branch, dropped))  # noqa: E731
    _or_refused(lambda: environments.prune(production, chosen, told))
    if not chosen:
        typer.echo("every environment has its branch")


def _production(company: str | None) -> Environment:
    return Environment.current(company, branch="")


def _told(record: BranchRecord) -> str:
    size = f"{record.own_bytes / 1e6:,.1f} MB of its own, {record.shared_bytes / 1e6:,.1f} MB shared" if record.made_at else ""
    age = f"{record.age_days:.1f} days old" if record.made_at else "made on another machine"
    return f"{record.branch}  ({record.engines}, {age})  {size}".rstrip()


def _dropped(branch: str, dropped: Dropped) -> str:
    if not dropped.anything:
        return f"{branch} has no environment"
    cloud = f", {dropped.datasets} datasets, {dropped.objects} objects" if dropped.datasets or dropped.objects else ""
    return f"{branch}: dropped{' with its data here' if dropped.local else ''}{cloud}"


def _or_refused(ask: Callable[[], T]) -> T:
    """What `ask` gives. What it refuses is told, and ends the command with exit code 2."""
    from caudal.runtime.branches.environments import BranchRefused
    from caudal.runtime.branches.git import NoBranches
    from caudal.store import StoreError
    from caudal.warehouse.bigquery.explained import BigQueryError

    try:
        return ask()
    except (BranchRefused, NoBranches, WrongSettings, StoreError, BigQueryError) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None
