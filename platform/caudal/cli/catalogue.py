"""`caudal catalogue`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company


def catalogue(
    into: Annotated[
        Path | None, typer.Option("--into", help="Write the site into this folder too: a new or empty one, or an older site.")
    ] = None,
    company: Company = None,
) -> None:
    """Make the analysts' catalogue of published tables anew. The API serves it at /catalogue, and asks for it by itself."""
    from caudal.runtime.catalogue import refresh
    from caudal.serving.catalogue.site import NotOurFolder, write_site

    made = refresh(Environment.current(company))
    typer.echo(f"{len(made.tables)} tables of version {made.version or 'none: nothing is published yet'}")
    if into is not None:
        try:
            typer.echo(f"{write_site(made, into)} files in {into}; open {into / 'index.html'}")
        except NotOurFolder as refused:
            typer.echo(str(refused), err=True)
            raise typer.Exit(2) from None
