"""`caudal verify`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from caudal.environment import google_cloud

verify = typer.Typer(no_args_is_help=True, help="Try what only a real service can prove.")


@verify.callback()
def _verify() -> None:
    """Try what only a real service can prove."""


@verify.command()
def gcp(
    project: Annotated[str | None, typer.Option("--project", help="Default $CAUDAL_GCP_PROJECT.")] = None,
    location: Annotated[str | None, typer.Option("--location", help="Default $CAUDAL_GCP_LOCATION, or EU.")] = None,
    bucket: Annotated[str | None, typer.Option("--bucket", help="Try it in a folder of this one; else one is made.")] = None,
    as_document: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Try loading, cost, publishing and access on a project, measure, and remove all of it. Exit 1 if something failed.

    It makes datasets (and a bucket) of its own, is billed for about 250 MiB of queries, and leaves alone what is there.
    """
    from caudal.runtime.verify.steps import as_json, good
    from caudal.runtime.verify.trial import summed, told, verified

    # The bucket of the settings is people's: it is used if it is named here.
    given = {"PROJECT": project, "LOCATION": location, "BUCKET": bucket or "caudal-verify"}
    cloud = google_cloud("verify", {f"CAUDAL_GCP_{name}": value for name, value in given.items() if value})
    results = []
    for result in verified(cloud, own_bucket=bucket is None, quiet=as_document):
        results.append(result)
        if not as_document:
            typer.echo(told(result))
    if as_document:
        typer.echo(json.dumps(as_json(results), indent=2))
    else:
        typer.echo(summed(results))
    raise typer.Exit(0 if good(results) else 1)
