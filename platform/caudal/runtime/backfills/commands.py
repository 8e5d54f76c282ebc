"""`caudal backfill`."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

if TYPE_CHECKING:
    import dagster as dg

    from caudal.runtime.backfills.request import Request
    from caudal.runtime.backfills.targets import Targets

backfill = typer.Typer(
    help="Make again what was made before, as a file asks for that somebody else has reviewed.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(help="A file below platform/<company>/backfills, or its name.")]

_LISTED = 10


@backfill.command("list")
def list_requests(company: Company = None) -> None:
    """List the requests of the repository, and how far each has come."""
    from caudal.runtime.backfills.request import requests_in

    env = Environment.current(company)
    paths = requests_in(folder_of(env))
    if not paths:
        typer.echo(f"no requests in {folder_of(env)}")
        return
    with _instance(env) as instance:
        for path in paths:
            typer.echo(f"{path.stem}: {_state(env, path, instance)}")


@backfill.command("plan")
def plan_request(file: File, company: Company = None) -> None:
    """What a request comes to: assets, partitions, runs, and what is downstream. Launches nothing."""
    env = Environment.current(company)
    with _instance(env) as instance:
        request, targets = _found(env, file, instance)
        typer.echo(_told(request, targets))


@backfill.command()
def apply(
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and launch nothing.")] = False,
    company: Company = None,
) -> None:
    """Hand a reviewed request to Dagster, once. Its daemon does the work; `caudal backfill list` shows how far it has come."""
    from caudal.runtime.backfills.launching import Refused, applied, launch

    env = Environment.current(company)
    with _instance(env) as instance:
        request, targets = _found(env, file, instance)
        typer.echo(_told(request, targets))
        try:
            if dry_run:
                record = applied(env, request)
                if not request.reviewed_by or record is not None:
                    _refuse("it would be refused: " + ("it has been applied" if record else "it has not been reviewed"))
                typer.echo("dry run: nothing was launched")
                return
            launched = launch(env, request, targets, instance)
        except Refused as refused:
            _refuse(str(refused))
        typer.echo(f"launched as the backfill {launched.id}: {env.ui_url}/runs/b/{launched.id}")


def folder_of(env: Environment) -> Path:
    """Where the company keeps its requests."""
    from caudal.runtime.changes import package_folder

    package = package_folder(env.company)
    if package is None:
        _refuse(f"there is no package {env.company}")
    return package / "backfills"


def _found(env: Environment, file: Path, instance: dg.DagsterInstance) -> tuple[Request, Targets]:
    from caudal.declaration import DeclarationError
    from caudal.runtime.backfills.request import read_request
    from caudal.runtime.backfills.targets import find
    from caudal.runtime.location import load_definitions

    try:
        request = read_request(_place(env, file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = load_definitions(env.company).resolve_asset_graph()
        return request, find(request, graph, instance)
    except DeclarationError as wrong:
        _refuse(str(wrong))


def _place(env: Environment, file: Path) -> Path:
    if file.is_file():
        return file
    return next((p for p in (folder_of(env) / file.name, folder_of(env) / f"{file.name}.yaml") if p.is_file()), file)


def _state(env: Environment, path: Path, instance: dg.DagsterInstance) -> str:
    from caudal.declaration import DeclarationError
    from caudal.runtime.backfills.launching import applied, applied_otherwise, progress
    from caudal.runtime.backfills.request import read_request

    try:
        request = read_request(path)
    except DeclarationError as wrong:
        return f"wrong: {wrong}"
    record = applied(env, request)
    if record is not None:
        now = progress(record.id, instance)
        failed = f", {now.failed} failed" if now.failed else ""
        return f"applied {record.applied_at}: {now.status}, {now.made} of {now.targets} made{failed}"
    before = applied_otherwise(env, request)
    waits = f"reviewed by {request.reviewed_by}, not applied" if request.reviewed_by else "waits for its review"
    return f"{waits}; applied {before.applied_at} with other contents" if before else waits


def _told(request: Request, targets: Targets) -> str:
    partitions = f"{targets.partitions:,} partitions, " if targets.partitions else ""
    shown = ", ".join(targets.below[:_LISTED]) + (
        f" and {len(targets.below) - _LISTED} more" if len(targets.below) > _LISTED else ""
    )
    reviewed = f"reviewed by {request.reviewed_by}" if request.reviewed_by else "not reviewed"
    runs = f"about {targets.runs:,} {'run' if targets.runs == 1 else 'runs'}"
    lines = [
        f"{request.name}: {request.reason}",
        f"  asked for by {request.requested_by}, {reviewed}",
        f"  {len(targets.assets)} assets, {partitions}{runs}: {', '.join(targets.assets)}",
    ]
    if targets.along:
        lines.append(f"  made by the same steps: {', '.join(targets.along)}")
    if targets.below:
        lines.append(f"  downstream, refreshed by the automation policy where they have it: {shown}")
    return "\n".join(lines)


@contextmanager
def _instance(env: Environment) -> Generator[dg.DagsterInstance]:
    from caudal.runtime.instance import open_instance

    with open_instance(env) as instance:
        if instance is None:
            _refuse(f"there is no Dagster in {env.dagster_home} yet; bring the platform up once with `caudal up`")
        yield instance


def _refuse(problem: str) -> NoReturn:
    typer.echo(f"caudal backfill: {problem}", err=True)
    raise typer.Exit(2)
