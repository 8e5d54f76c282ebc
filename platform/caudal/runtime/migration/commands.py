"""`caudal migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caudal.environment import Environment
from caudal.google_cloud import WrongSettings
from caudal.runtime.options import Company

if TYPE_CHECKING:
    from caudal.runtime.migration.migrate import Line


def migrate(
    source: Annotated[str, typer.Argument(metavar="FROM", help="`local`.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="`gcp`, as the CAUDAL_GCP_ settings say.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="The target's folder on this machine: its ledger. Default: $CAUDAL_DATA/gcp.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Copy nothing: compare everything once more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Copy nothing: list what would be copied.")] = False,
    company: Company = None,
) -> None:
    """Copy lake, ledger, raw tables, registry and published tables to Google Cloud, and compare. Begin again after any end.

    Exit code: 0 all is there, 1 something differs, 2 refused.
    """
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree
    from caudal.runtime.migration import migrate as way
    from caudal.runtime.migration.objects import Differs
    from caudal.store import StoreError
    from caudal.warehouse.bigquery.explained import BigQueryError

    if (source, target) != ("local", "gcp"):
        _refuse(f"from {source} to {target} is no way that is known; there is: caudal migrate local gcp")
    try:
        here = Environment.current(company, name="local", branch="")
        there = way.target_of(here, Environment.current(company, name="gcp", branch=""), data)
        typer.echo(f"{'':<42}{'rows, files':>14}{'MB':>12}  checksum          ")
        if dry_run:
            for line in way.preview(here, there):
                _tell(line)
            return
        datasets = declared_datasets(component_tree(here))
        if check:
            found = way.check(here, there, datasets, _tell)
            for difference in found:
                typer.echo(difference, err=True)
            raise typer.Exit(1 if found else 0)
        way.migrate(here, there, datasets, _tell)
    except (way.MigrationRefused, WrongSettings, StoreError, BigQueryError) as refused:
        _refuse(str(refused))
    except Differs as differs:
        typer.echo(str(differs), err=True)
        raise typer.Exit(1) from None
    typer.echo(
        f"all is there. Work there with: export CAUDAL_ENV=gcp CAUDAL_DATA={there.data}\n"
        "views, profiles and the online store are made by the first run there"
    )


def _tell(line: Line) -> None:
    size = f"{line.bytes / 1e6:,.1f}" if line.bytes else ""
    typer.echo(f"{line.name:<42}{line.rows:>14,}{size:>12}  {line.checksum:<16}  {line.state}")


def _refuse(why: str) -> None:
    typer.echo(why, err=True)
    raise typer.Exit(2)
